"""What is asked for when points are placed on a sphere? How many, where, and what they shall optimise.

The bounds keep a result readable, a start within some gigabytes of memory and a step of it within a second or two, so
that a job hears of a cancellation; the library (`hsu_core.sphere`) has none.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsu_core.spec.objectives import Objective
from hsu_core.spec.task import TaskSpec
from hsu_core.spec.values import WHOLE, Flag, Seed, fault

__all__ = [
    "PointsSpec",
]

MOST_POINTS = 2_000
"""Mirror images included."""
MOST_COORDINATES = 40_000


class PointsSpec(TaskSpec):
    """n points to be placed on the unit sphere of ℝᵈ."""

    task: Literal["points"]
    n: Annotated[int, Field(ge=1, le=MOST_POINTS), WHOLE]
    """At most half as many in half space, and n·d at most 40,000; where pairs count, at least 2, in half space 1."""
    d: Annotated[int, Field(ge=2, le=MOST_COORDINATES), WHOLE]
    objective: Objective
    half_space: Flag = False
    """Also count the mirror images −x."""
    starts: Annotated[int, Field(ge=1, le=1000), WHOLE] | None = None
    """Random configurations that are improved; the best is the result. By default some tens, fewer for many points,
    and one where every start leads to a proven optimum."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _is_possible(self) -> PointsSpec:
        if self.half_space and 2 * self.n > MOST_POINTS:
            raise fault("n", "too_many_points", f"n may be {MOST_POINTS // 2} at most in half space, found {self.n}")
        if self.n * self.d > MOST_COORDINATES:
            raise fault(
                "n",
                "too_many_coordinates",
                f"n·d may be {MOST_COORDINATES} at most, found {self.n}·{self.d} = {self.n * self.d}",
            )
        if reason := self.objective.misfit(self.n, half_space=self.half_space):
            raise fault("n", "objective_does_not_fit", reason)
        return self

    @property
    def total_steps(self) -> int:
        """The number of starts."""
        return self.starts or self.objective.starts(self.n, self.d, half_space=self.half_space)
