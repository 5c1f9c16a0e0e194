"""What may a study ask? What is compared (arms), crossed with what (axes), how often (seeds), and by which numbers.

Knows no jobs: the trees of `base` and `arms` are read when they are put together (`plan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import AfterValidator, Discriminator, Field, StringConstraints, model_validator

from hsu_core.spec import Strength
from hsu_core.spec.values import WHOLE, Flag, Seed, Spec, at_most, fault
from hsu_jobs.spec import Name, Tag, storable
from hsu_jobs.studies.names import OF_STUDY, ArmName, MetricName, Pointer, keys_of, lies_within, overlap, sets
from hsu_jobs.studies.search.spec import Search

MOST_ARMS = 64
MOST_AXES = 8
MOST_VALUES = 64
"""Values of one axis."""
MOST_SEEDS = 1_000
MOST_MEMBERS = 5_000
"""Runs of one study."""
MOST_METRICS = 32
BASELINE = "baseline"
"""The arm without a penalty, which is added unless the study names another baseline."""

_Key = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")]
_ONLY_KEYS = {"additionalProperties": False}
"""For the schema of a map: there are only keys of the pattern."""
Patch = Annotated[
    dict[_Key, Any],
    Field(max_length=100, json_schema_extra=_ONLY_KEYS),
    at_most(100),
    AfterValidator(storable),
]
"""A part of a job's spec, as JSON."""
Axis = Annotated[list[Any], Field(min_length=1, max_length=MOST_VALUES), at_most(MOST_VALUES), AfterValidator(storable)]

_Item = TypeVar("_Item")


def _distinct(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
    if len(set(items)) < len(items):
        twice = next(item for place, item in enumerate(items) if item in items[:place])
        raise fault((), "repeated", f"expected each only once, found {twice!r} twice")
    return items


Seeds = Annotated[
    tuple[Seed, ...], Field(min_length=1, max_length=MOST_SEEDS), at_most(MOST_SEEDS), AfterValidator(_distinct)
]
Number = Annotated[int, Field(ge=1, le=MOST_SEEDS), WHOLE]
NumberOrSeeds = Annotated[
    Annotated[Number, pydantic.Tag("number")] | Annotated[Seeds, pydantic.Tag("seeds")],
    Discriminator(lambda asked: "seeds" if isinstance(asked, list | tuple) else "number"),
]
"""How many, or which."""


class StudySpec(Spec):
    """A comparison of trainings: every arm with every seed, at every point of the axes."""

    name: Name = "untitled"
    tags: Annotated[tuple[Tag, ...], Field(max_length=30), at_most(30)] = ()
    """Tags of the study's jobs, beside those that name the study and the arm."""
    base: Patch
    """The spec of a job, as far as all arms have it in common."""
    arms: Annotated[
        dict[ArmName, Patch],
        Field(min_length=1, max_length=MOST_ARMS, json_schema_extra=_ONLY_KEYS),
        at_most(MOST_ARMS),
    ]
    """What is compared: merge patches (RFC 7396) of the base. An object of another `kind` replaces the old one."""
    baseline: ArmName | None = None
    """The arm with which the others are compared; null: an arm `baseline` without a penalty is added."""
    over: Annotated[
        dict[Pointer, Axis], Field(max_length=MOST_AXES, json_schema_extra=_ONLY_KEYS), at_most(MOST_AXES)
    ] = Field(default={})
    """Axes that are crossed with every arm: JSON pointers into the spec, with the values that stand there. An axis
    below `/regularizer` or `/strength` is not crossed with an arm that has no penalty: each of its points is compared
    with that arm."""
    seeds: NumberOrSeeds = 10
    """How many (0, 1, 2, …), or which. All arms have the same seeds, and so the same first weights and batches."""
    metrics: Annotated[
        tuple[MetricName, ...],
        Field(min_length=1, max_length=MOST_METRICS),
        at_most(MOST_METRICS),
        AfterValidator(_distinct),
    ] = ("test_accuracy",)
    """What is compared. The first is the primary one; a number of the results, or a curve at its end, as in
    `mhe_s2_half@conv*`: the mean over the layers that match."""
    strength: Strength | None = None
    """How strong every arm's penalty is, whatever its own scale; null: as strong as the weights of its spec say. An arm
    that has a strength of its own keeps it."""
    value: Literal["last", "best", "best_validation"] = "last"
    """Which evaluation stands for a run: the last, the one with the best value (which is too good: it was chosen on the
    test set, and the table says so), or the one with the best validation metric."""
    search: Search | None = None
    """Fields whose values are searched: each arm, at each point of the axes, is searched by itself with the same budget
    of trials. A trial runs with every seed."""
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95
    """Of the intervals."""
    reuse: Flag = True
    """Whether your jobs with the same fingerprint stand for new ones."""
    wait: Flag = False
    """Whether a study of more jobs than may wait at once is accepted, and queues them as there is room."""

    @model_validator(mode="after")
    def _is_possible(self) -> StudySpec:
        if self.baseline is None and BASELINE in self.arms:
            raise fault(
                ("arms", BASELINE),
                "baseline_not_named",
                f"say `baseline: {BASELINE}` if this arm is the baseline; an arm of this name is added otherwise",
            )
        if self.baseline is not None and self.baseline not in self.arms:
            raise fault(
                "baseline", "unknown_arm", f"there is no arm {self.baseline!r}; there are {', '.join(self.arms)}"
            )
        for pointer in self.over:
            around = [f"it lies within the axis {other}" for other in self.over if lies_within(pointer, other)]
            self._require_free(("over", pointer), "axis_collides", f"{pointer} cannot be an axis", around)
        if self.search:
            self._require_possible(self.search)
        return self

    def _require_possible(self, search: Search) -> None:
        for pointer in search.space:
            around = [f"it lies within {other}" for other in search.space if lies_within(pointer, other)]
            around += [f"{other} is an axis" for other in self.over if overlap(pointer, other)]
            path = ("search", "space", pointer)
            self._require_free(path, "search_collides", f"{pointer} cannot be searched", around)
        if search.metric not in (None, *self.metrics):
            why = f"expected one of the study's metrics ({', '.join(self.metrics)}): add {search.metric!r} to them"
            raise fault(("search", "metric"), "unknown_metric", why)

    def _require_free(self, path: tuple[str, ...], code: str, refusal: str, around: Sequence[str]) -> None:
        """Raise if the study or an arm sets the field that ends the path; `around`: other fields in its way."""
        pointer = path[-1]
        field = keys_of(pointer)[0]
        reasons = [
            *(["the study sets it" + (": give `seeds`" if field == "seed" else "")] if field in OF_STUDY else []),
            *(f"{other}: choose one of them" for other in around),
            *(
                f"the arm {arm} sets it too: choose one of them"
                for arm, patch in self.arms.items()
                if sets(patch, pointer)
            ),
        ]
        for why in reasons:
            raise fault(path, code, f"{refusal}: {why}")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Every seed, in order."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds
