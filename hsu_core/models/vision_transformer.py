"""Which module is ViT-Tiny? Squares of an image as tokens, blocks of a transformer, and the first token's class."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import spec
from hsu_core.models.layers import weighted
from hsu_core.models.transformer import DEVIATION, Block, draw


class ViTTiny(nn.Module):
    """`patches`, `blocks`, a norm, and `classifier` of the token that is no square."""

    def __init__(self, facts: spec.ImageFacts, model: spec.ViTTiny) -> None:
        super().__init__()
        patches, *_, classifier = model.geometry(facts).layers
        self.patches = weighted(patches)
        self.own_token = nn.Parameter(torch.zeros(model.width))
        self.positions = nn.Parameter(torch.empty(patches.positions + 1, model.width))
        self.blocks = nn.ModuleList(Block(model.width, model.heads) for _ in range(model.depth))
        self.norm = nn.LayerNorm(model.width, eps=1e-6)
        self.classifier = weighted(classifier)
        draw(self)
        for own in (self.own_token, self.positions):
            nn.init.normal_(own, std=DEVIATION)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        squares = self.patches(images).flatten(start_dim=2).mT
        x = torch.cat([self.own_token.to(squares.dtype).expand(len(squares), 1, -1), squares], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.classifier(self.norm(x[:, 0]))
        return logits
