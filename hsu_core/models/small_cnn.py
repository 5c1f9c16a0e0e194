"""A CNN for small images that trains in seconds on a CPU."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from hsu_core import spec
from hsu_core.models.layers import normed, weighted


class SmallCNN(nn.Module):
    """`conv1`, pool, `conv2`, pool, `conv3`, mean over the image, `classifier`.

    Convolutions are 3×3 without bias, each followed by batch norm and ReLU; the classifier has no bias.
    """

    def __init__(self, facts: spec.ImageFacts, model: spec.SmallCNN) -> None:
        super().__init__()
        conv1, conv2, conv3, classifier = model.geometry(facts).layers
        self.conv1, self.norm1 = weighted(conv1), normed(conv1)
        self.conv2, self.norm2 = weighted(conv2), normed(conv2)
        self.conv3, self.norm3 = weighted(conv3), normed(conv3)
        self.classifier = weighted(classifier)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        # ReLU after the pool gives the same result, as both are monotone, on a quarter of the values.
        x = max_pool2d(self.norm1(self.conv1(images)), 2).relu()
        x = max_pool2d(self.norm2(self.conv2(x)), 2).relu()
        x = self.norm3(self.conv3(x)).relu().mean(dim=(2, 3))
        logits: Tensor = self.classifier(x)
        return logits
