"""What does the spec of a points task contain? How many points, on which sphere, and for which objective.

The bounds limit the size of a result, the memory of a start to some gigabytes, and the time of its steps to a second or
two, so that a job notices a cancellation. The library (`hsu_core.sphere`) has no bounds.
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
    """Place n points on the unit sphere of ℝᵈ."""

    task: Literal["points"]
    n: Annotated[int, Field(ge=1, le=MOST_POINTS), WHOLE]
    """At most half as many in half space. n·d is at most 40,000. An objective of pairs needs at least 2 points, in half
    space 1."""
    d: Annotated[int, Field(ge=2, le=MOST_COORDINATES), WHOLE]
    objective: Objective
    half_space: Flag = False
    """Also count the mirror images −x."""
    starts: Annotated[int, Field(ge=1, le=1000), WHOLE] | None = None
    """Number of random configurations that are optimised; the best one is the result. By default some tens, fewer for
    many points, and 1 where every start reaches a proven optimum."""
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
