"""The network of Liu et al. 2021 (arXiv 2103.01649, app. A), the reference for their CIFAR-100 results."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from hsu_core import spec
from hsu_core.models.layers import weighted
from hsu_core.models.stages import Stages


class CNN9(Stages):
    """Stages `convS_1` to `convS_3` of 64, 128, 256 channels, each ending in a pool; then `fc` and `classifier`.

    The nine convolutions are 3×3, padded, without bias, followed by batch norm (ε = 1e-3) and ReLU. `fc` is a 4×4
    convolution without padding to 256 features, without bias, norm or ReLU; the classifier is linear without bias.
    """

    def __init__(self, facts: spec.ImageFacts, model: spec.CNN9) -> None:
        *convolutions, fc, classifier = model.geometry(facts).layers
        super().__init__(convolutions, eps=1e-3)
        self.fc = weighted(fc)
        self.classifier = weighted(classifier)

    def forward(self, images: Float[Tensor, "n c 32 32"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        logits: Tensor = self.classifier(self.fc(self.through_stages(images)).flatten(start_dim=1))
        return logits
