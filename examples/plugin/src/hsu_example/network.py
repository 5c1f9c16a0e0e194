"""Which module is the network? Its layers have the names and sizes that the spec's geometry tells."""

from __future__ import annotations

from torch import Tensor, nn

from hsu_core.spec.facts import ImageFacts
from hsu_example.specs import HsuExampleNet


class Network(nn.Module):
    """`conv` and `classifier`."""

    def __init__(self, facts: ImageFacts, model: HsuExampleNet) -> None:
        super().__init__()
        self.conv = nn.Conv2d(facts.shape[0], model.width, kernel_size=3, padding=1, bias=False)
        self.classifier = nn.Linear(4 * model.width, facts.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images (n, channels, height, width)."""
        features = nn.functional.adaptive_max_pool2d(self.conv(images).relu(), 2)
        logits: Tensor = self.classifier(features.flatten(start_dim=1))
        return logits
