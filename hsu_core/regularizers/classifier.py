"""Which layer produces a model's outputs? Found by the data flow, not by the order of definition.

Knows modules and torch.fx. Knows no penalties. The forward is run once with placeholders for tensors, without an input;
its changes to the modules are undone.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import jaxtyping
import torch
from torch import fx, nn
from torch.nn import functional

PRODUCTS = frozenset(
    {
        *(functional.linear, functional.bilinear, functional.conv1d, functional.conv2d, functional.conv3d),
        *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.einsum, operator.matmul, "matmul", "mm", "addmm"),
        torch.cdist,
    }
)
"""Functions with a parameter that may be a weight."""
WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}
"""torch's own modules that only call another one, and where they keep it."""


class Final(NamedTuple):
    """The layers that produce a model's outputs."""

    names: frozenset[str]
    """One; several for a model with several heads; or none if the outputs come from something other than a layer."""
    doubt: str | None = None
    """Why the data flow could not be followed; then `names` is the last layer in the order of definition."""


def find(model: nn.Module, layers: Sequence[str]) -> Final:
    """Which of these layers, given by name in module order, produce the outputs."""
    if (place := _wrapped(model)) is not None:
        inside = find(model.get_submodule(place), [name[len(place) + 1 :] for name in layers])
        return inside._replace(names=frozenset(f"{place}.{name}".rstrip(".") for name in inside.names))
    known = set(layers)
    try:
        graph = _traced(model, known)
        return Final(_last(graph, model, known))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        doubt = f"{type(error).__name__}: {reason}" if len(layers) > 1 else None
        return Final(frozenset(layers[-1:]), doubt)


def _wrapped(model: nn.Module) -> str | None:
    kind = type(model)
    return WRAPPERS.get(kind.__name__) if kind.__module__.startswith("torch.") else None


class _Tracer(fx.Tracer):
    """Traces into every module that contains layers and is not torch's own; others are one step of the flow."""

    proxy_buffer_attributes = True  # so that the model's counters do not change

    def __init__(self, layers: set[str]) -> None:
        super().__init__()
        self.layers = layers

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        holds = any(name.startswith(f"{module_qualified_name}.") for name in self.layers)
        return not holds or super().is_leaf_module(m, module_qualified_name)


def _traced(model: nn.Module, layers: set[str]) -> fx.Graph:
    """The data flow of the model's first call, with all optional arguments at their defaults."""
    parameters = inspect.signature(model.forward).parameters.values()
    defaults = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.default is not inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    with _untouched(model), _unchecked(), torch.random.fork_rng(devices=[]):
        return _Tracer(layers).trace(model, concrete_args=defaults or None)


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Undo what a forward sets on its modules: it would be a placeholder."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)


@contextmanager
def _unchecked() -> Iterator[None]:
    """Switch off checks of annotated shapes, which do not accept placeholders."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)  # noqa: FBT003 - the name of the option is the first argument
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def _last(graph: fx.Graph, model: nn.Module, layers: set[str]) -> frozenset[str]:
    """The layers with no other layer between them and an output."""
    (output,) = (node for node in graph.nodes if node.op == "output")
    weighing = {node: name for node in graph.nodes if (name := _weighing(node, model)) is not None}
    first_met = _met(output, weighing)
    behind = {earlier for node in first_met for earlier in _before(node)}
    last = first_met - behind
    if not last:
        raise LookupError("no weight lies on the way to the outputs")
    return frozenset(name for node in last if (name := _layer(weighing[node], layers)) is not None)


def _weighing(node: fx.Node, model: nn.Module) -> str | None:
    """The name of the module whose weights this step multiplies by, or None."""
    if node.op == "call_module":
        name = str(node.target)
        weights = (weight for weight in model.get_submodule(name).parameters() if weight.ndim > 1)
        return name if next(weights, None) is not None and not _is_norm(model.get_submodule(name)) else None
    if node.target in PRODUCTS:
        owned = [parameter for given in node.all_input_nodes if (parameter := _behind(given)) is not None]
        return owned[0].rpartition(".")[0] if owned else None
    return None


def _behind(node: fx.Node) -> str | None:
    """The parameter from which alone this tensor is made, as a transposed or a normalized weight is; None if others."""
    sources = [each for each in (node, *_before(node)) if not each.all_input_nodes]
    own = [str(each.target) for each in sources if each.op == "get_attr"]
    return own[0] if len(own) == len(sources) else None


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, (nn.LayerNorm, nn.RMSNorm))  # their weights may have several dimensions


def _met(output: fx.Node, weighing: dict[fx.Node, str]) -> set[fx.Node]:
    """The first steps with weights on each path back from the output."""
    met, seen, ways = set(), set(), [output]
    while ways:
        node = ways.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in weighing:
            met.add(node)
            continue
        ways.extend(node.all_input_nodes)
    return met


def _before(node: fx.Node) -> set[fx.Node]:
    seen: set[fx.Node] = set()
    ways = list(node.all_input_nodes)
    while ways:
        earlier = ways.pop()
        if earlier not in seen:
            seen.add(earlier)
            ways.extend(earlier.all_input_nodes)
    return seen


def _layer(name: str, layers: set[str]) -> str | None:
    """The layer of a step; for torch's own blocks the one layer inside. LookupError if there are several."""
    inside = [layer for layer in layers if layer.startswith(f"{name}.")]
    if len(inside) > 1:
        raise LookupError(f"the outputs come out of {name}, of which the inside is not known")
    if inside:
        return inside[0]
    return name if name in layers else None
