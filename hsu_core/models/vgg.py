"""Which module is VGG-16 with batch norm?"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from hsu_core import spec
from hsu_core.models.layers import weighted
from hsu_core.models.stages import Stages


class VGG16(Stages):
    """`convS_1`, `convS_2`, … of five stages, each ending in a pool, and `classifier`."""

    def __init__(self, facts: spec.ImageFacts, model: spec.VGG16) -> None:
        *convolutions, classifier = model.geometry(facts).layers
        super().__init__(convolutions)
        self.classifier = weighted(classifier)

    def forward(self, images: Float[Tensor, "n c 32 32"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        logits: Tensor = self.classifier(self.through_stages(images).flatten(start_dim=1))
        return logits
