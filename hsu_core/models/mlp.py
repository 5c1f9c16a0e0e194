"""An MLP: enough for digits, and the smallest network with hidden layers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import spec
from hsu_core.models.layers import weighted


class MLP(nn.Module):
    """Flatten, then `hidden1`, `hidden2`, … with bias and ReLU, then a linear `classifier` without bias."""

    def __init__(self, facts: spec.ImageFacts, model: spec.MLP) -> None:
        super().__init__()
        *hidden, classifier = model.geometry(facts).layers
        self.names = [layer.name for layer in hidden]
        for layer in hidden:
            self.add_module(layer.name, weighted(layer))
        self.classifier = weighted(classifier)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        x = images.flatten(start_dim=1)
        for name in self.names:
            x = self.get_submodule(name)(x).relu()
        logits: Tensor = self.classifier(x)
        return logits
