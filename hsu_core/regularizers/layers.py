"""Which weights of a model are points on a sphere, and what are their present values?

Knows modules, layer names and patterns; `views` knows the kinds of modules. Knows no penalties and no training. Each
call reads a weight from its place in the model: it may be recomputed (weight norm, pruning), replaced, or exchanged for
the duration of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from hsu_core.regularizers import classifier
from hsu_core.regularizers.views import NORMS, Unread, View, views


class OwnPoints(NamedTuple):
    """Points that no kind of layer has, as a caller computes them from the model."""

    name: str
    """As that of a layer: patterns match it."""
    points: Callable[[nn.Module], Tensor]
    """From the model to one row for each point."""
    is_final: bool = False
    """Whether they count as the classifier's."""


@dataclass(frozen=True)
class Layer:
    """A layer of a model, or a part of one, seen as n neurons in d dimensions."""

    name: str
    model: nn.Module
    is_final: bool
    """Whether this layer produces the model's outputs: the classifier."""
    path: tuple[str, ...]
    """The parts of the module's name."""
    view: View
    """Where the neurons lie in the module."""

    @property
    def module(self) -> nn.Module:
        """The module that is there now."""
        module = self.model
        for part in self.path:
            module = getattr(module, part)
        return module

    @property
    def weight(self) -> Tensor:
        """The present parameter. RuntimeError if another kind of module has taken the layer's place."""
        return _weight(self.module, self.view.parameter, self.name)

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """The parameters from which the weight is computed; usually the weight itself."""
        return _sources(self.module, self.view.parameter)

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for two layers that are the same neurons."""
        return (*map(id, self.sources), self.view.part)

    @property
    def is_frozen(self) -> bool:
        """Whether its parameters get no gradient."""
        return all(isinstance(source, nn.Parameter) and not source.requires_grad for source in self.sources)

    @property
    def shape(self) -> tuple[int, int]:
        """Neurons and dimensions."""
        n, d = self.view.rows(self.weight).shape
        return n, d

    def points(self) -> Float[Tensor, "n d"]:
        """One row for each neuron (output channel), with flattened kernels; in float32 or wider."""
        weight = self.view.rows(self.weight)
        return weight.to(torch.promote_types(weight.dtype, torch.float32))


@dataclass(frozen=True)
class OwnLayer(Layer):
    """Points that a caller computes from the model."""

    compute: Callable[[nn.Module], Tensor]

    @property
    def weight(self) -> Tensor:
        """The present points. ValueError unless they are an (n, d) tensor of real numbers."""
        found = self.compute(self.model)
        if not isinstance(found, Tensor) or found.ndim != 2 or not found.is_floating_point():
            is_tensor = isinstance(found, Tensor)
            shown = f"{found.dtype} of shape {tuple(found.shape)}" if is_tensor else type(found).__name__
            raise ValueError(f"{self.name}: expected an (n, d) tensor of real numbers, found {shown}")
        return found

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """All parameters of the model: which of them are used is not known."""
        return tuple(self.model.parameters())

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for two layers of one function."""
        return (self.compute,)

    @property
    def is_frozen(self) -> bool:
        """Whether no gradient comes back from them."""
        return not self.weight.requires_grad


def own_layers(model: nn.Module, points: Iterable[OwnPoints]) -> list[Layer]:
    """The layers of a caller's own points."""
    whole = View("", lambda found: found)
    return [OwnLayer(each.name, model, each.is_final, (), whole, each.points) for each in points]


def layers(model: nn.Module, *, final: Collection[str] | None = None) -> list[Layer]:
    """Every layer of the model whose neurons are points, in module order. ValueError if there is none.

    `final` are the names of the layers whose outputs are the model's. By default they are found by the data flow; where
    that cannot be followed, the last layer in module order is final.
    """
    names = read(model)
    if not names:
        raise ValueError(f"{type(model).__name__} has no layer whose neurons are read, as linear ones")
    if final is None:
        final = classifier.find(model, names).names
    return [
        Layer(f"{name}.{view.part}".strip("."), model, is_final=name in final, path=_path(name), view=view)
        for name in names
        for view in _read_views(model.get_submodule(name))
    ]


def read(model: nn.Module) -> list[str]:
    """The names of the modules that are read. ValueError for a lazy one, which has no weight yet."""
    found = [(name, module) for name, module in model.named_modules() if _read_views(module)]
    for name, module in found:
        if any(is_lazy(source) for view in _read_views(module) for source in _sources(module, view.parameter)):
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
        for view in _read_views(module)
        for source in _sources(module, view.parameter)
    }
    reasons = {}
    for name, module in model.named_modules():
        if isinstance(module, (*NORMS, ParametrizationList)) or ".parametrizations." in f".{name}.":
            continue
        known = views(module)
        read_here = {view.parameter for view in _read_views(module)}
        behind = {id(source) for parameter in read_here for source in _sources(module, parameter)}
        for own, weight in _matrices(module):
            if own in read_here or id(weight) in behind:
                continue
            label = name if own == "weight" and name else f"{name}.{own}".lstrip(".")
            if isinstance(known, Unread):
                reasons[label] = known.reason
            elif (shared := counted.get(id(weight))) is not None:
                reasons[label] = f"shares its weight with {shared}, where it counts"
            else:
                reasons[label] = f"is {own} of {type(module).__name__}, which is not read as neurons"
    return reasons


def _read_views(module: nn.Module) -> tuple[View, ...]:
    found = views(module)
    return () if isinstance(found, Unread) else found


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


def _weight(module: nn.Module, parameter: str, layer: str) -> Tensor:
    if "parametrizations" in module._modules:
        with _looking(module):
            return _attribute(module, parameter, layer)
    for hook in module._forward_pre_hooks.values():
        # torch.nn.utils.prune and the older weight_norm and spectral_norm recompute this only before a forward.
        if getattr(hook, "_tensor_name", None) == parameter and hasattr(hook, "apply_mask"):
            pruned: Tensor = hook.apply_mask(module)
            return pruned
        if getattr(hook, "name", None) == parameter and hasattr(hook, "compute_weight"):
            still = {"do_power_iteration": False} if hasattr(hook, "n_power_iterations") else {}
            made: Tensor = hook.compute_weight(module, **still)
            return made
    return _attribute(module, parameter, layer)


def _attribute(module: nn.Module, parameter: str, layer: str) -> Tensor:
    weight = getattr(module, parameter, None)
    if not isinstance(weight, Tensor):
        raise RuntimeError(
            f"{layer}: expected a layer with {parameter}, as there was when the penalty was built, "
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


def _sources(module: nn.Module, parameter: str) -> tuple[Tensor, ...]:
    parametrizations = module._modules.get("parametrizations")
    if parametrizations is not None and parameter in parametrizations._modules:
        return tuple(parametrizations.get_submodule(parameter).parameters())
    if (own := module._parameters.get(parameter)) is not None:
        return (own,)
    named = module.named_parameters(recurse=False)
    behind = tuple(own for name, own in named if name.startswith(f"{parameter}_"))
    return behind or (_attribute(module, parameter, type(module).__name__),)


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
