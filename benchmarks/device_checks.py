"""Does the library compute on this device what its tests assert on a CPU?

Values and gradients against the plain formulas in float64, the laws, the authors' values, stacks of equal layers
against single layers, and a stopped run against one that was not. Every check is an error and the largest right one.
Knows devices and the library. Knows no pytest: `gpu.py` runs it where there may be none.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks import authors, launches
from hsu_core import baselines, energies, fast, regularizers, spec
from hsu_core.fast.directions import computable
from hsu_core.measures import panel
from hsu_core.outcomes import Stopped
from hsu_core.training import checkpoint
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

Energy = Callable[[Tensor], Tensor]


class Check(NamedTuple):
    """How far something is from what is right, and how far it may be."""

    group: str
    name: str
    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether it is right; NaN never is."""
        return self.error <= self.tolerance


class Pair(NamedTuple):
    """One energy, as the library computes it in training and as the plain formula says."""

    fast: Energy
    exact: Energy


def _pole(w: Tensor) -> Tensor:
    return torch.linspace(-1, 2, w.shape[-1], dtype=torch.float64).to(w)


def _at_pole(energy: Callable[..., Tensor], *, half_space: bool) -> Energy:
    return lambda w: energy(w, _pole(w), half_space=half_space)


BASELINES = ("so", "dso", "mutual coherence", "srip", "mma", "uniformity", "koleo")
"""Others' losses have one form each: it is compared with itself in float64 on the CPU."""


def _pairs() -> dict[str, Pair]:
    found = {}
    for half in (False, True):
        space = "half" if half else "full"
        for s, angular in product((0.0, 1.0, 2.0, 3.5), (False, True)):
            how = {"s": s, "angular": angular, "half_space": half}
            found[f"riesz s={s:g}{' angular' * angular}, {space}"] = Pair(
                partial(fast.riesz, **how), partial(energies.riesz, **how)
            )
        for name in ("separation", "gram_determinant"):
            found[f"{name}, {space}"] = Pair(
                partial(getattr(fast, name), half_space=half), partial(getattr(energies, name), half_space=half)
            )
        for name in ("polarization", "covering"):
            found[f"{name}, {space}"] = Pair(
                _at_pole(getattr(fast, name), half_space=half), _at_pole(getattr(energies, name), half_space=half)
            )
    found["resultant"] = Pair(fast.resultant, energies.resultant)
    losses: tuple[Energy, ...] = (
        baselines.soft_orthogonality,
        baselines.double_soft_orthogonality,
        baselines.mutual_coherence,
        lambda w: baselines.spectral_isometry(w, torch.linspace(-1, 2, len(w), dtype=torch.float64).to(w)),
        baselines.minimal_angles,
        baselines.uniformity,
        baselines.koleo,
    )
    return found | {name: Pair(_of_points(loss), loss) for name, loss in zip(BASELINES, losses, strict=True)}


def _of_points(loss: Energy) -> Energy:
    """In at least float32, as a layer gives its points."""
    return lambda w: loss(computable(w))


PAIRS = _pairs()
SHAPES = ((64, 27), (150, 60), (12, 300))
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 1e-2}
"""Of values and gradients, relative. A gradient by bfloat16 weights is itself rounded to bfloat16, to 4·10⁻³."""


def all_checks(device: torch.device, *, small: bool) -> Iterator[Check]:
    """Every check, group by group; `small`: one shape, two regularizers to resume."""
    shapes = SHAPES[:1] if small else SHAPES
    yield from values_and_gradients(device, shapes)
    yield from nearly_coinciding(device)
    yield from panel_measures(device, shapes)
    yield from laws(device, shapes)
    yield from authors_values(device)
    yield from stacks_against_single_layers(device)
    yield from autocast_is_kept_out(device)
    yield from resuming(device, small=small)


def values_and_gradients(device: torch.device, shapes: tuple[tuple[int, int], ...]) -> Iterator[Check]:
    """In float64, float32 and bfloat16, against the formula in float64 on the CPU, at the same weights."""
    for (name, pair), shape, (dtype, tolerance) in product(PAIRS.items(), shapes, TOLERANCES.items()):
        w = _points(*shape).to(dtype)
        error = _distance(_evaluated(pair.fast, w.to(device)), _evaluated(pair.exact, w.double()))
        yield Check("values and gradients", f"{name}, {shape[0]} × {shape[1]}, {_short(dtype)}", error, tolerance)
    w = _points(*shapes[0]).float()
    error = _distance(
        _evaluated(partial(fast.riesz, low_precision=True), w.to(device)), _evaluated(energies.riesz, w.double())
    )
    yield Check("values and gradients", "riesz s=2, full, products in bf16", error, 3e-2)


def nearly_coinciding(device: torch.device) -> Iterator[Check]:
    """Two rows whose angle is 10⁻³: 2 − 2cos has lost every digit there in float32."""
    w = _points(40, 27)
    w[3] = 2 * w[5] + 1e-3 * w[3]
    w = w.float()
    for name in ("riesz s=2, half", "riesz s=1 angular, half", "separation, half", "gram_determinant, half"):
        error = _distance(_evaluated(PAIRS[name].fast, w.to(device)), _evaluated(PAIRS[name].exact, w.double()))
        yield Check("nearly coinciding rows", name, error, 1e-3)


def panel_measures(device: torch.device, shapes: tuple[tuple[int, int], ...]) -> Iterator[Check]:
    """What every run records, against the same on the CPU. The covering estimate draws its poles on the device."""
    for shape in shapes:
        w = _points(*shape).float()
        found, right = (panel.measure(each) for each in (w.to(device), w))
        for measure, value in right.items():
            error = abs(found[measure] - value) / max(1.0, abs(value))
            yield Check("panel", f"{measure}, {shape[0]} × {shape[1]}", error, 0.2 if measure == "covering" else 1e-6)


LENGTHS_COUNT = ("resultant", "so", "dso", "mutual coherence", "srip")
"""Functions of the raw weights."""
KEEPS_TO_AXES = ("polarization", "covering", "srip")
"""A fixed pole or start does not turn with the rows; `srip`'s start does not move with their order either."""


def laws(device: torch.device, shapes: tuple[tuple[int, int], ...]) -> Iterator[Check]:
    """Rotating or reordering all rows changes no value, nor do other lengths where only directions count."""
    for (name, pair), shape in product(PAIRS.items(), shapes):
        w, kind = _points(*shape), name.partition(",")[0]
        changed = {}
        if kind != "srip":
            changed["another order"] = w[torch.randperm(len(w), generator=torch.Generator().manual_seed(1))]
        if kind not in KEEPS_TO_AXES:
            changed["a rotation"] = w @ torch.linalg.qr(_points(shape[1], shape[1], seed=2))[0]
        if kind not in LENGTHS_COUNT:
            changed["other lengths"] = w * torch.logspace(-3, 3, len(w), dtype=w.dtype)[:, None]
        value = pair.fast(w.float().to(device)).item()
        for change, other in changed.items():
            error = abs(pair.fast(other.float().to(device)).item() - value) / max(1.0, abs(value))
            yield Check("laws", f"{name}, {shape[0]} × {shape[1]}, {change}", error, 1e-4)


def authors_values(device: torch.device) -> Iterator[Check]:
    """Losses and norms of gradients, as the authors' own code returned them."""
    for entry in authors.ENTRIES:
        found, right = authors.transcribed(entry, device), authors.expected(entry)
        error = max(abs(mine - theirs) / abs(theirs) for mine, theirs in zip(found, right, strict=True))
        yield Check("authors' values", entry, error, 1e-4)


EQUAL = [(12, 30), (9, 12), (12, 30), (12, 30), (9, 12), (12, 30)]
"""Layers of two shapes, so that there are stacks; the last one is the classifier."""


def stacks_against_single_layers(device: torch.device) -> Iterator[Check]:
    """Gradients of two steps of the whole penalty, taken together and layer by layer."""
    for name, chosen in launches.KINDS.items():
        together, alone = (_penalized(chosen, device, stacked=stacked) for stacked in (True, False))
        error = ((together - alone).norm() / alone.norm()).item()
        yield Check("stacks against single layers", name, error, 1e-2 if "bf16" in name else 1e-4)


def autocast_is_kept_out(device: torch.device) -> Iterator[Check]:
    """A penalty under autocast is the same to the bit."""
    for name, chosen in launches.KINDS.items():
        penalty = regularizers.build(chosen, _network(device))
        plain = penalty(0, lr=0.0).item()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            same = penalty(0, lr=0.0).item()
        yield Check("autocast is kept out", name, abs(plain - same), 0.0)


RESUMED: dict[str, spec.Regularizer] = {
    "none": spec.NoRegularizer(),
    "mhp, authors' pole": spec.MHP(inner=spec.AuthorsPole()),
    "mhe": spec.MHE(),
    "comhe, adversarial": spec.CoMHE(projection="adversarial", dimension=5),
    "mgd": spec.MGD(),
}


def resuming(device: torch.device, *, small: bool) -> Iterator[Check]:
    """The last checkpoint of a run that was stopped half-way and resumed, against one that was not.

    On a CPU to the bit. On a GPU some of torch's backward passes add up in any order.
    """
    tolerance = 0.0 if device.type == "cpu" else 1e-2
    kinds = list(RESUMED.items())[: 2 if small else None]
    for (name, chosen), precision in product(kinds, ("fp32", "bf16")):
        asked = spec.ClassificationSpec(
            dataset=spec.Digits(),
            model=spec.SmallCNN(),
            regularizer=chosen,
            duration=spec.Duration(steps=12),
            batch_size=64,
            precision=precision,
        )
        whole, again, resumed = (_last_state(asked, device, stop_at=step) for step in (None, None, 5))
        for what, state in (("the same run again", again), ("a stopped and resumed run", resumed)):
            yield Check("resuming", f"{name}, {precision}: {what}", _apart(state, whole), tolerance)


def _last_state(asked: spec.ClassificationSpec, device: torch.device, *, stop_at: int | None) -> dict[str, Tensor]:
    """Weights, optimizer and what a penalty keeps after the last step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        resume_from = None
        if stop_at is not None:
            asked_to_stop = iter([False] * stop_at + [True])
            stopped = train(
                asked,
                device=device,
                callbacks=Callbacks(checkpoint_dir=folder, should_stop=lambda: next(asked_to_stop)),
            )
            assert isinstance(stopped, Stopped), f"expected a run that was stopped, found {stopped}"
            resume_from = checkpoint.latest(folder)
        train(asked, device=device, resume_from=resume_from, callbacks=Callbacks(checkpoint_dir=folder))
        last = checkpoint.latest(folder)
        assert last is not None
        return load_file(last)


def _apart(found: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """The largest relative distance of a tensor."""
    if found.keys() != right.keys():
        return math.inf
    return max(
        ((found[name].double() - value.double()).norm() / value.double().norm().clamp_min(1e-12)).item()
        for name, value in right.items()
    )


def _penalized(chosen: spec.LayerPenalty, device: torch.device, *, stacked: bool) -> Tensor:
    network = _network(device)
    penalty = regularizers.build(chosen, network)
    with launches.stacking(wanted=stacked):
        for step in range(2):
            penalty(step, lr=0.1).backward()
    return torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])


def _network(device: torch.device) -> torch.nn.Module:
    torch.manual_seed(0)
    return launches.network(EQUAL, "cpu").to(device)


def _evaluated(energy: Energy, w: Tensor) -> tuple[Tensor, Tensor]:
    """The value and its gradient, on the CPU in float64."""
    leaf = w.detach().clone().requires_grad_()
    value = energy(leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach().double().cpu(), gradient.double().cpu()


def _distance(found: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> float:
    """The larger of the relative errors; of a value near 0 the absolute one."""
    (value, gradient), (exact, exact_gradient) = found, right
    of_value = ((value - exact).abs() / exact.abs().clamp_min(1)).item()
    return max(of_value, ((gradient - exact_gradient).norm() / exact_gradient.norm()).item())


def _points(n: int, d: int, *, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _short(dtype: torch.dtype) -> str:
    return {torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]
