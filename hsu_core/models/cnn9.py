"""The network of Liu et al. 2021 (arXiv 2103.01649, app. A), the reference for their CIFAR-100 results."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from hsu_core import spec
from hsu_core.models.layers import normed, weighted


class CNN9(nn.Module):
    """Stages `convS_1` to `convS_3` of 64, 128, 256 channels, each ending in a pool; then `fc` and `classifier`.

    The nine convolutions are 3×3, padded, without bias, followed by batch norm (ε = 1e-3) and ReLU. `fc` is a 4×4
    convolution without padding to 256 features, without bias, norm or ReLU; the classifier is linear without bias.
    """

    def __init__(self, facts: spec.ImageFacts, model: spec.CNN9) -> None:
        super().__init__()
        *convolutions, fc, classifier = model.geometry(facts).layers
        self.steps = [(layer.name, layer.name.replace("conv", "norm"), "pool" in layer.then) for layer in convolutions]
        for layer, (convolution, norm, _) in zip(convolutions, self.steps, strict=True):
            self.add_module(convolution, weighted(layer))
            self.add_module(norm, normed(layer, eps=1e-3))
        self.fc = weighted(fc)
        self.classifier = weighted(classifier)

    def forward(self, images: Float[Tensor, "n c 32 32"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        x = images
        for convolution, norm, is_pooled in self.steps:
            x = self.get_submodule(norm)(self.get_submodule(convolution)(x)).relu()
            if is_pooled:
                x = max_pool2d(x, 2)
        logits: Tensor = self.classifier(self.fc(x).flatten(start_dim=1))
        return logits
