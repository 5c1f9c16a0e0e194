"""Which modules are the residual networks? Blocks of two convolutions with a way around them, built from geometry."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from hsu_core import spec
from hsu_core.models.layers import normed, weighted


class Residual(nn.Module):
    """`stem` and its norm, the blocks, and `classifier` of the mean over the image."""

    def __init__(
        self, facts: spec.ImageFacts, model: spec.ResNetCIFAR | spec.ResNet18, *, widens_with_zeros: bool
    ) -> None:
        super().__init__()
        layers = {layer.name: layer for layer in model.geometry(facts).layers}
        self.names = [block.name for block in model.blocks]
        self.stem, self.norm = weighted(layers["stem"]), normed(layers["stem"])
        for block in model.blocks:
            self.add_module(block.name, NormedBehind(block, layers, widens_with_zeros=widens_with_zeros))
        self.classifier = weighted(layers["classifier"])

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        x = self.norm(self.stem(images)).relu()
        for name in self.names:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def resnet_cifar(facts: spec.ImageFacts, model: spec.ResNetCIFAR) -> Residual:
    """ResNet-20 and its like."""
    return Residual(facts, model, widens_with_zeros=True)


def resnet18(facts: spec.ImageFacts, model: spec.ResNet18) -> Residual:
    """ResNet-18."""
    return Residual(facts, model, widens_with_zeros=False)


class NormedBehind(nn.Module):
    """A block with a norm behind each convolution."""

    def __init__(self, block: spec.Block, layers: dict[str, spec.Layer], *, widens_with_zeros: bool) -> None:
        super().__init__()
        conv1, conv2 = layers[f"{block.name}.conv1"], layers[f"{block.name}.conv2"]
        self.conv1, self.norm1 = weighted(conv1), normed(conv1)
        self.conv2, self.norm2 = weighted(conv2), normed(conv2)
        self.stride, self.added = block.stride, block.out - block.inputs
        if block.changes_shape and not widens_with_zeros:
            shortcut = layers[f"{block.name}.shortcut"]
            self.shortcut, self.norm3 = weighted(shortcut), normed(shortcut)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k p q"]:
        """The sum of both ways."""
        way: Tensor = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (way + self._around(x)).relu()

    def _around(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k p q"]:
        if hasattr(self, "shortcut"):
            around: Tensor = self.norm3(self.shortcut(x))
            return around
        if self.added == 0:
            return x
        before = self.added // 2
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))


class WideResNet(nn.Module):
    """`stem`, the blocks, a norm, and `classifier` of the mean over the image."""

    def __init__(self, facts: spec.ImageFacts, model: spec.WideResNet) -> None:
        super().__init__()
        layers = {layer.name: layer for layer in model.geometry(facts).layers}
        self.names = [block.name for block in model.blocks]
        self.stem = weighted(layers["stem"])
        before = layers["stem"]
        for block in model.blocks:
            self.add_module(block.name, NormedBefore(block, layers, before))
            before = layers[f"{block.name}.conv2"]
        self.norm = normed(before)
        self.classifier = weighted(layers["classifier"])

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        x = self.stem(images)
        for name in self.names:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.classifier(self.norm(x).relu().mean(dim=(2, 3)))
        return logits


class NormedBefore(nn.Module):
    """A block with a norm before each convolution."""

    def __init__(self, block: spec.Block, layers: dict[str, spec.Layer], before: spec.Layer) -> None:
        """`before` is the layer whose outputs come in."""
        super().__init__()
        conv1, conv2 = layers[f"{block.name}.conv1"], layers[f"{block.name}.conv2"]
        self.norm1, self.conv1 = normed(before), weighted(conv1)
        self.norm2, self.conv2 = normed(conv1), weighted(conv2)
        self.shortcut = weighted(layers[f"{block.name}.shortcut"]) if block.changes_shape else None

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k p q"]:
        """The sum of both ways; where the shape changes, both begin behind the first norm."""
        active = self.norm1(x).relu()
        around = x if self.shortcut is None else self.shortcut(active)
        way: Tensor = self.conv2(self.norm2(self.conv1(active)).relu())
        return way + around
