"""An MLP: what digits need, and the smallest network with hidden layers."""

from __future__ import annotations

import math
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import spec


class MLP(nn.Module):
    """Flatten, then `hidden1`, `hidden2`, … with bias and ReLU, then a linear `classifier` without bias."""

    def __init__(self, facts: spec.Facts, model: spec.MLP) -> None:
        super().__init__()
        widths = (math.prod(facts.shape), *model.hidden)
        self.names = [f"hidden{number}" for number in range(1, len(widths))]
        for name, (inputs, outputs) in zip(self.names, pairwise(widths), strict=True):
            self.add_module(name, nn.Linear(inputs, outputs))
        self.classifier = nn.Linear(widths[-1], facts.classes, bias=False)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        x = images.flatten(start_dim=1)
        for name in self.names:
            x = self.get_submodule(name)(x).relu()
        logits: Tensor = self.classifier(x)
        return logits
