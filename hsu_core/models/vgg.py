"""Which module is VGG-16 with batch norm?"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from hsu_core import spec
from hsu_core.models.layers import normed, weighted


class VGG16(nn.Module):
    """`convS_1`, `convS_2`, … of five stages, each ending in a pool, and `classifier`."""

    def __init__(self, facts: spec.ImageFacts, model: spec.VGG16) -> None:
        super().__init__()
        *convolutions, classifier = model.geometry(facts).layers
        self.steps = [(layer.name, layer.name.replace("conv", "norm"), "pool" in layer.then) for layer in convolutions]
        for layer, (convolution, norm, _) in zip(convolutions, self.steps, strict=True):
            self.add_module(convolution, weighted(layer))
            self.add_module(norm, normed(layer))
        self.classifier = weighted(classifier)

    def forward(self, images: Float[Tensor, "n c 32 32"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        x = images
        for convolution, norm, is_pooled in self.steps:
            x = self.get_submodule(norm)(self.get_submodule(convolution)(x)).relu()
            if is_pooled:
                x = max_pool2d(x, 2)
        logits: Tensor = self.classifier(x.flatten(start_dim=1))
        return logits
