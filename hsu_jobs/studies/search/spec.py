"""What may be searched, and how? A space of values of fields, how many trials it gets, and who draws them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from hsu_core.spec.values import LARGEST, WHOLE, Flag, Real, Seed, Spec, at_most, fault
from hsu_jobs.spec import storable
from hsu_jobs.studies.names import MetricName, Pointer, keys_of, pointer_of

MOST_FIELDS = 16
MOST_CHOICES = 64
MOST_TRIALS = 1_000
"""Of one arm."""
MOST_AT_ONCE = 64
NOT_SEARCHED = ("dataset", "task")
"""Fields that say which question is asked: values on other data cannot be compared."""

_Bound = Annotated[Real, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
_WholeBound = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), WHOLE]


class FloatRange(Spec):
    """Any number between two, of six significant digits."""

    kind: Literal["float"] = "float"
    low: _Bound
    high: _Bound
    log: Flag = False
    """Whether each power of ten is as probable as the next one; `low` is above 0 then."""

    @model_validator(mode="after")
    def _has_room(self) -> FloatRange:
        _require_room(self.low, self.high, log=self.log)
        return self

    @property
    def ends(self) -> dict[str, Any]:
        """The values that are checked before the search begins, by where they stand."""
        return {"/low": float(self.low), "/high": float(self.high)}


class IntRange(Spec):
    """Any whole number between two."""

    kind: Literal["int"] = "int"
    low: _WholeBound
    high: _WholeBound
    log: Flag = False
    """Whether small numbers are as probable as large ones, by their logarithms; `low` is above 0 then."""

    @model_validator(mode="after")
    def _has_room(self) -> IntRange:
        _require_room(self.low, self.high, log=self.log)
        return self

    @property
    def ends(self) -> dict[str, Any]:
        """The values that are checked before the search begins, by where they stand."""
        return {"/low": self.low, "/high": self.high}


class Choices(Spec):
    """One of some values, which have no order."""

    kind: Literal["choice"] = "choice"
    choices: Annotated[
        tuple[Any, ...],
        Field(min_length=2, max_length=MOST_CHOICES),
        at_most(MOST_CHOICES),
        AfterValidator(storable),
    ]

    @model_validator(mode="after")
    def _are_distinct(self) -> Choices:
        places: dict[str, int] = {}
        for place, choice in enumerate(self.choices):
            if places.setdefault(as_text(choice), place) != place:
                why = f"expected each only once, found {as_text(choice)} twice"
                raise fault("choices", "repeated", why)
        return self

    @property
    def ends(self) -> dict[str, Any]:
        """The values that are checked before the search begins, by where they stand."""
        return {f"/choices/{place}": choice for place, choice in enumerate(self.choices)}


Range = Annotated[FloatRange | IntRange | Choices, Field(discriminator="kind")]
Space = dict[str, FloatRange | IntRange | Choices]
"""Which values a field may have, by its JSON pointer."""


class Search(Spec):
    """Which fields are searched, with how many trials, and by which metric."""

    space: Annotated[
        dict[Pointer, Range],
        Field(min_length=1, max_length=MOST_FIELDS, json_schema_extra={"additionalProperties": False}),
        at_most(MOST_FIELDS),
    ]
    """JSON pointers into the spec, each with the values that the field may have. A field below `/regularizer` or
    `/strength` is not searched in an arm that has no penalty."""
    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS), WHOLE]
    """Of each arm, at each point of the axes. An arm in which no field is searched has one."""
    at_once: Annotated[int, Field(ge=1, le=MOST_AT_ONCE), WHOLE] = 4
    """How many trials of an arm run at the same time. Trial n begins when all up to trial n − `at_once` have ended, and
    is chosen by their values alone: so the trials do not depend on which job is faster."""
    sampler: Literal["random", "tpe"] = "tpe"
    """Who draws the points: `random`, or the tree-structured Parzen estimator, which learns after ten trials."""
    metric: MetricName | None = None
    """By which of the study's metrics trials are compared: the mean over the seeds; null: by the first. Where the task
    has one, choose a metric of the validation data: on the test set, the value of a winner is too good."""
    seed: Seed = 0
    """Another one draws other points. All arms draw with the same seeds."""

    @model_validator(mode="after")
    def _asks_one_question(self) -> Search:
        for pointer in self.space:
            if keys_of(pointer)[0] in NOT_SEARCHED:
                why = f"{pointer} cannot be searched: values on other data cannot be compared. Make it an axis"
                raise fault(("space", pointer), "not_searchable", why)
        return self


def place_of(pointer: str, searched: FloatRange | IntRange | Choices, value: Any) -> str:
    """Where a study says that a searched field may have a value: a JSON pointer into the study."""
    end = next((end for end, each in searched.ends.items() if as_text(each) == as_text(value)), "")
    return pointer_of("search", "space", pointer) + end


def as_text(value: Any) -> str:
    """A value as JSON, in which 1, 1.0 and true differ, and the order of keys does not matter."""
    return json.dumps(value, sort_keys=True)


def _require_room(low: float, high: float, *, log: bool) -> None:
    if low >= high:
        raise fault("low", "not_below_high", f"expected less than high = {high:g}, found {low:g}")
    if log and low <= 0:
        raise fault("low", "log_of_zero", f"with `log: true` expected more than 0, found {low:g}")
