"""How do 3×3 convolutions in stages run? Each with its norm and ReLU, and a pool at the end of a stage."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from hsu_core import spec
from hsu_core.models.layers import normed, weighted


class Stages(nn.Module):
    """`convS_1`, `convS_2` and so on for each stage S, with `normS_1`, `normS_2` and so on."""

    def __init__(self, convolutions: Sequence[spec.Layer], *, eps: float = 1e-5) -> None:
        super().__init__()
        self.steps = [(layer.name, layer.name.replace("conv", "norm"), "pool" in layer.then) for layer in convolutions]
        for layer, (convolution, norm, _) in zip(convolutions, self.steps, strict=True):
            self.add_module(convolution, weighted(layer))
            self.add_module(norm, normed(layer, eps=eps))

    def through_stages(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k p q"]:
        """What comes out of the last stage."""
        x = images
        for convolution, norm, is_pooled in self.steps:
            x = self.get_submodule(norm)(self.get_submodule(convolution)(x)).relu()
            if is_pooled:
                x = max_pool2d(x, 2)
        return x
