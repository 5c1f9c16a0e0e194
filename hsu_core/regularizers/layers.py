"""Which weights of a model are points on a sphere, and what are their present values?

Knows modules, layer names and patterns. Knows no penalties and no training. Each call reads a weight from its place in
the model: it may be recomputed (weight norm, pruning), replaced, or exchanged for the duration of a call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from hsu_core.regularizers import classifier

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""The kinds of layers that are read. A new kind starts here and in `Layer.points`."""

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
"""Their weights are scales and not directions, whatever their number of dimensions."""

UNREAD: dict[type[nn.Module], str] = {
    nn.ConvTranspose1d: "a transposed convolution",
    nn.ConvTranspose2d: "a transposed convolution",
    nn.ConvTranspose3d: "a transposed convolution",
    nn.Embedding: "an embedding table",
    nn.EmbeddingBag: "an embedding table",
    nn.MultiheadAttention: "projections of attention",
    nn.RNNBase: "recurrent weights",
    nn.RNNCellBase: "recurrent weights",
}
"""Kinds of layers that have neurons but are not read, in words."""


@dataclass(frozen=True)
class Layer:
    """A linear or convolutional layer of a model, seen as n neurons in d dimensions."""

    name: str
    model: nn.Module
    is_final: bool
    """Whether this layer produces the model's outputs: the classifier."""
    path: tuple[str, ...]
    """The parts of the name."""

    @property
    def module(self) -> nn.Module:
        """The module that is there now."""
        module = self.model
        for part in self.path:
            module = getattr(module, part)
        return module

    @property
    def weight(self) -> Tensor:
        """The present weight. RuntimeError if another kind of module has taken the layer's place."""
        return _weight(self.module, self.name)

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """The parameters from which the weight is computed; usually the weight itself."""
        return _sources(self.module)

    @property
    def is_frozen(self) -> bool:
        """Whether its parameters get no gradient."""
        return all(isinstance(source, nn.Parameter) and not source.requires_grad for source in self.sources)

    @property
    def shape(self) -> tuple[int, int]:
        """Neurons and dimensions."""
        weight = self.weight
        return len(weight), weight[0].numel()

    def points(self) -> Float[Tensor, "n d"]:
        """One row for each neuron (output channel), with flattened kernels; in float32 or wider."""
        weight = self.weight
        return weight.flatten(start_dim=1).to(torch.promote_types(weight.dtype, torch.float32))


def layers(model: nn.Module, *, final: Collection[str] | None = None) -> list[Layer]:
    """Every linear and convolutional layer of the model, in module order. ValueError if there is none.

    `final` are the names of the layers whose outputs are the model's. By default they are found by the data flow; where
    that cannot be followed, the last layer in module order is final.
    """
    names = read(model)
    if not names:
        raise ValueError(f"{type(model).__name__} has no linear and no convolutional layer")
    if final is None:
        final = classifier.find(model, names).names
    return [Layer(name, model, is_final=name in final, path=_path(name)) for name in names]


def read(model: nn.Module) -> list[str]:
    """The names of the layers that are read. ValueError for a lazy one, which has no weight yet."""
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, LAYERS)]
    for name, module in found:
        if any(is_lazy(source) for source in _sources(module)):
            raise ValueError(
                f"{name} is a lazy layer and has no weight yet: "
                "expected a model that has seen a batch, call it once before"
            )
    return [name for name, _ in found]


def unread(model: nn.Module) -> dict[str, str]:
    """Weights of two or more dimensions that are not read as points, by the name of their module, and why."""
    counted = {
        id(source): name
        for name, module in model.named_modules()
        if isinstance(module, LAYERS)
        for source in _sources(module)
    }
    reasons = {}
    for name, module in model.named_modules():
        if isinstance(module, (*LAYERS, *NORMS, ParametrizationList)) or ".parametrizations." in f".{name}.":
            continue
        for own, weight in _matrices(module):
            label = name if own == "weight" and name else f"{name}.{own}".lstrip(".")
            shared = counted.get(id(weight))
            reasons[label] = (
                f"shares its weight with {shared}, where it counts" if shared is not None else _why(module, own)
            )
    return reasons


def chosen(found: Sequence[Layer], patterns: Iterable[str], *, field: str) -> list[Layer]:
    """The layers that match any of the patterns. ValueError, naming the spec's field, for one that matches none."""
    patterns = tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(layer.name, pattern) for layer in found):
            names = ", ".join(layer.name for layer in found)
            raise ValueError(f"{field}: {pattern!r} matches no layer; there are {names}")
    return [layer for layer in found if any(fnmatchcase(layer.name, pattern) for pattern in patterns)]


def _path(name: str) -> tuple[str, ...]:
    return tuple(name.split(".")) if name else ()


def _weight(module: nn.Module, name: str) -> Tensor:
    if "parametrizations" in module._modules:
        with _looking(module):
            return _attribute(module, name)
    for hook in module._forward_pre_hooks.values():
        # torch.nn.utils.prune and the older weight_norm and spectral_norm recompute this only before a forward.
        if getattr(hook, "_tensor_name", None) == "weight" and hasattr(hook, "apply_mask"):
            pruned: Tensor = hook.apply_mask(module)
            return pruned
        if getattr(hook, "name", None) == "weight" and hasattr(hook, "compute_weight"):
            still = {"do_power_iteration": False} if hasattr(hook, "n_power_iterations") else {}
            made: Tensor = hook.compute_weight(module, **still)
            return made
    return _attribute(module, name)


def _attribute(module: nn.Module, name: str) -> Tensor:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        raise RuntimeError(
            f"{name}: expected a linear or convolutional layer, as there was when the penalty was built, "
            f"found {type(module).__name__}: build the penalty again"
        )
    return weight


@contextmanager
def _looking(module: nn.Module) -> Iterator[None]:
    """Read a parametrized weight as in evaluation: its kept state (spectral norm's vectors) changes only in forwards.

    The result is then exactly the weight that the last forward used.
    """
    if torch.compiler.is_compiling():
        yield
        return
    parts = [part for part in module.parametrizations.modules() if part.training]  # type: ignore[union-attr]
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True


def _sources(module: nn.Module) -> tuple[Tensor, ...]:
    parametrizations = module._modules.get("parametrizations")
    if parametrizations is not None and "weight" in parametrizations._modules:
        return tuple(parametrizations.get_submodule("weight").parameters())
    if "weight" in module._parameters:
        return (module.weight,)  # type: ignore[return-value]
    behind = tuple(own for name, own in module.named_parameters(recurse=False) if name.startswith("weight_"))
    return behind or (_attribute(module, type(module).__name__),)


def _matrices(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A module's own parameters of two or more dimensions, by name; lazy ones are included."""
    for name, own in module.named_parameters(recurse=False):
        if is_lazy(own) or own.ndim > 1:
            yield name, own
    made_of = module._modules.get("parametrizations")
    for name in made_of._modules if made_of is not None else ():
        made = getattr(module, name)
        if made.ndim > 1:
            yield name, made


def _why(module: nn.Module, own: str) -> str:
    words = next((words for kind, words in UNREAD.items() if isinstance(module, kind)), None)
    return f"is {words or f'{own} of {type(module).__name__}'}, which is not read as neurons"
