"""Which modules classify texts? A weighted bag of embeddings, and a small pre-norm transformer."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import dropout

from hsu_core import spec
from hsu_core.models.transformer import Block, draw

VOCABULARY = "vocabulary"
"""The buffer with what was learned from the training texts: so it is kept with the weights."""


class BagOfNgrams(nn.Module):
    """`embedding`, a table with a row for each n-gram, and `classifier`."""

    def __init__(self, facts: spec.TextFacts, model: spec.BagOfNgrams) -> None:
        super().__init__()
        self.embedding = nn.Embedding(model.vocabulary, model.width)
        self.classifier = nn.Linear(model.width, facts.classes)
        nn.init.normal_(self.embedding.weight, std=model.width**-0.5)

    def forward(self, ngrams: Int64[Tensor, "n k"], weights: Float[Tensor, "n k"]) -> Float[Tensor, "n classes"]:
        """Logits. `weights` are those of the n-grams in their text, 0 where it has fewer than k."""
        logits: Tensor = self.classifier((self.embedding(ngrams) * weights[..., None]).sum(dim=1))
        return logits


class TextTransformer(nn.Module):
    """`tokens` and `positions`, `blocks`, and `classifier` of the mean over a text's tokens."""

    def __init__(self, facts: spec.TextFacts, model: spec.TextTransformer) -> None:
        super().__init__()
        self.dropout = model.dropout
        self.tokens = nn.Embedding(model.vocabulary, model.width)
        self.positions = nn.Embedding(model.length, model.width)
        self.blocks = nn.ModuleList(Block(model.width, model.heads, dropout=model.dropout) for _ in range(model.depth))
        self.norm = nn.LayerNorm(model.width)
        self.classifier = nn.Linear(model.width, facts.classes)
        draw(self)

    def forward(self, tokens: Int64[Tensor, "n k"], is_token: Bool[Tensor, "n k"]) -> Float[Tensor, "n classes"]:
        """Logits. `is_token` is false behind a text's end."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        x = dropout(x, self.dropout, training=self.training)
        for block in self.blocks:
            x = block(x, is_token)
        shares = is_token.to(x.dtype) / is_token.sum(dim=1, keepdim=True)
        logits: Tensor = self.classifier((self.norm(x) * shares[..., None]).sum(dim=1))
        return logits
