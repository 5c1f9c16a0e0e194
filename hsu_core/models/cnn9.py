"""The network of Liu et al. 2021 (arXiv 2103.01649, app. A), the yardstick of their CIFAR-100 results."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from hsu_core import spec

STAGES = ((1, 64), (2, 128), (3, 256))


class CNN9(nn.Module):
    """Stages `convS_1` to `convS_3` of 64, 128, 256 channels, each ending in a pool; then `fc` and `classifier`.

    The nine convolutions are 3×3, padded, without bias, followed by batch norm (ε = 1e-3) and ReLU. `fc` is a 4×4
    convolution without padding to 256 features, without bias, norm or ReLU; the classifier is linear without bias.
    """

    def __init__(self, facts: spec.Facts, model: spec.CNN9) -> None:  # noqa: ARG002 - there is nothing to choose
        super().__init__()
        channels = facts.shape[0]
        for stage, width in STAGES:
            for place in (1, 2, 3):
                self.add_module(f"conv{stage}_{place}", nn.Conv2d(channels, width, 3, padding="same", bias=False))
                self.add_module(f"norm{stage}_{place}", nn.BatchNorm2d(width, eps=1e-3))
                channels = width
        self.fc = nn.Conv2d(channels, 256, 4, bias=False)
        self.classifier = nn.Linear(256, facts.classes, bias=False)

    def forward(self, images: Float[Tensor, "n c 32 32"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        x = images
        for stage, _ in STAGES:
            for place in (1, 2, 3):
                convolved = self.get_submodule(f"conv{stage}_{place}")(x)
                x = self.get_submodule(f"norm{stage}_{place}")(convolved).relu()
            x = max_pool2d(x, 2)
        logits: Tensor = self.classifier(self.fc(x).flatten(start_dim=1))
        return logits
