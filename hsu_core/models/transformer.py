"""Which module is a block of a transformer, and how do its weights begin?"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, scaled_dot_product_attention

DEVIATION = 0.02
"""Of the initial weights of a transformer, as in BERT, GPT-2 and ViT."""


def draw(network: nn.Module) -> None:
    """Draw the weights of all linear layers, convolutions and tables from N(0, 0.02²); biases begin at 0."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Embedding, nn.Conv2d)):
            nn.init.normal_(module.weight, std=DEVIATION)
        if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
            nn.init.zeros_(module.bias)


class Block(nn.Module):
    """Attention and two linear layers, each behind a norm and beside a way around it."""

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "n k w"], is_token: Bool[Tensor, "n k"] | None = None) -> Float[Tensor, "n k w"]:
        """The tokens, each having looked at all of its example, or at those that `is_token` names."""
        x = x + self._left_out(self.out(self._attended(self.norm1(x), is_token)))
        return x + self._left_out(self.down(gelu(self.up(self.norm2(x)))))

    def _attended(self, x: Float[Tensor, "n k w"], is_token: Bool[Tensor, "n k"] | None) -> Float[Tensor, "n k w"]:
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        share = self.dropout if self.training else 0.0
        mask = None if is_token is None else is_token[:, None, None]
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=share)
        return mixed.transpose(1, 2).flatten(start_dim=2)

    def _left_out(self, x: Float[Tensor, "n k w"]) -> Float[Tensor, "n k w"]:
        return dropout(x, self.dropout, training=self.training)
