"""Where are n points placed on a sphere? At the best configuration of many random starts, for any objective.

Knows objectives, starts and schedules. Knows no models and no jobs. No known configuration is built in: every start is
random, and known optima serve only for comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, assert_never, overload

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core import energies
from hsu_core.measures import panel
from hsu_core.measures.optima import Optimum, best_known
from hsu_core.outcomes import Series, Stopped
from hsu_core.spec.objectives import Covering, GramDeterminant, Objective, Polarization, Riesz, Separation
from hsu_core.sphere.descent import unit
from hsu_core.sphere.energy import enlarge, spread
from hsu_core.sphere.interruption import Interrupted, interruptible, never
from hsu_core.sphere.minimax import raise_poles, separate, shrink_holes
from hsu_core.sphere.worst_pole import Method, covering_pole, polarization_pole

LARGEST_BATCH = 4_000_000
"""Numbers in the largest matrix of a batch; the other starts are in the next batches."""
VALUE = Series(None, "value")

Report = Callable[[int, Mapping[Series, float]], None]


@dataclass(frozen=True)
class Configuration:
    """Points on a sphere, their value, and the best known value."""

    objective: Objective
    half_space: bool
    points: Float[Tensor, "n d"]
    """Unit vectors of the best start, in float64."""
    value: float
    """The plain quantity of `hsu_core.energies`; for polarization and covering at the worst pole."""
    values: tuple[float, ...]
    """The value of each start. Starts that were worse, or in the basin of another start, were not optimised fully."""
    inner: Method | None
    """How the worst pole was found, for polarization and covering."""
    best_known: Optimum | None

    @property
    def gap(self) -> float | None:
        """How much worse the value is than the best known one, in its unit; negative if it is better."""
        if self.best_known is None:
            return None
        difference = self.value - self.best_known.value
        return -difference if self.objective.higher_is_better else difference


@overload
def optimize(
    n: int,
    d: int,
    objective: Objective,
    *,
    half_space: bool = False,
    starts: int | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> Configuration: ...


@overload
def optimize(
    n: int,
    d: int,
    objective: Objective,
    *,
    half_space: bool = False,
    starts: int | None = None,
    seed: int = 0,
    report: Report | None = None,
    should_stop: Callable[[], bool],
) -> Configuration | Stopped: ...


def optimize(
    n: int,
    d: int,
    objective: Objective,
    *,
    half_space: bool = False,
    starts: int | None = None,
    seed: int = 0,
    report: Report | None = None,
    should_stop: Callable[[], bool] = never,
) -> Configuration | Stopped:
    """Place n points on the unit sphere of ℝᵈ; in half space their mirror images count too.

    `starts` random configurations are optimised together: by default some tens, or one if every start reaches a proven
    optimum (n ≤ d + 1, in half space n ≤ d). The same arguments on the same machine give the same points. The result is
    the best of several local optima: only `best_known` can show that it is global.

    A step is a start. `report` gets the best `value` so far at step 0 (the first start as it was drawn), after every
    batch of starts and at the end; at step 0 and at the end with the panel's measures of those points as the layer
    `points`. `should_stop` is called in the inner loops, about every second or more often. ValueError for n, d or
    starts out of range, or an energy of pairs with one point.
    """
    _check(n, d, objective, half_space=half_space, starts=starts)
    count = starts or objective.starts(n, d, half_space=half_space)
    easy = objective.has_regular_optimum(n, d, half_space=half_space)
    aim = Riesz() if easy else objective
    drawn = unit(torch.randn(count, n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    better = max if objective.higher_is_better else min
    points: list[Tensor] = []
    worths: list[Worth] = []
    try:
        with interruptible(should_stop):
            if report:
                start = drawn[0]
                report(0, {VALUE: evaluate(start, objective, half_space=half_space).value, **_measured(start)})
            for some in torch.split(drawn, max(1, LARGEST_BATCH // (2 * n) ** 2)):
                points += _place(some, aim, half_space=half_space)
                worths += [evaluate(x, objective, half_space=half_space) for x in points[len(worths) :]]
                if report and len(points) < count:
                    report(len(points), {VALUE: better(worth.value for worth in worths)})
    except Interrupted:
        return Stopped(len(worths))
    values = tuple(worth.value for worth in worths)
    best = values.index(better(values))
    if report:
        report(count, {VALUE: values[best], **_measured(points[best])})
    known = best_known(objective, n, d, half_space=half_space)
    return Configuration(objective, half_space, points[best], values[best], values, worths[best].inner, known)


class Worth(NamedTuple):
    """The value of an objective, and how its inner problem was solved if it has one."""

    value: float
    inner: Method | None = None


def evaluate(points: Float[Tensor, "n d"], objective: Objective, *, half_space: bool = False) -> Worth:
    """The value of given points under an objective, in the plain unit of `hsu_core.energies`."""
    match objective:
        case Riesz(s=s, angular=angular):
            return Worth(float(energies.riesz(points, s, angular=angular, half_space=half_space)))
        case Separation():
            return Worth(float(energies.separation(points, half_space=half_space)))
        case GramDeterminant():
            return Worth(float(energies.gram_determinant(points, half_space=half_space)))
        case Polarization():
            pole = polarization_pole(points, half_space=half_space)
        case Covering():
            pole = covering_pole(points, half_space=half_space)
        case _:
            assert_never(objective)
    return Worth(pole.value, pole.method)


def _measured(points: Float[Tensor, "n d"]) -> dict[Series, float]:
    return {Series("points", name): value for name, value in panel.measure(points).items()}


def _place(x: Float[Tensor, "b n d"], objective: Objective, *, half_space: bool) -> Float[Tensor, "b n d"]:
    if x.shape[1] == 1:
        return x
    match objective:
        case Riesz(s=s, angular=angular):
            return spread(x, s, angular=angular, half_space=half_space)
        case GramDeterminant():
            return enlarge(x, half_space=half_space)
        case Separation():
            return separate(x, half_space=half_space)
        case Covering():
            return shrink_holes(x, half_space=half_space)
        case Polarization():
            return raise_poles(x, half_space=half_space)
        case _:
            assert_never(objective)


def _check(n: int, d: int, objective: Objective, *, half_space: bool, starts: int | None) -> None:
    if n < 1:
        raise ValueError(f"expected at least 1 point, found n = {n}")
    if d < 2:
        raise ValueError(f"expected a sphere in at least 2 dimensions, found d = {d}")
    if starts is not None and starts < 1:
        raise ValueError(f"expected at least 1 start, found starts = {starts}")
    if reason := objective.misfit(n, half_space=half_space):
        raise ValueError(reason)
