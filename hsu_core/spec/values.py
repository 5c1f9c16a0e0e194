"""What is every spec made of? A frozen value that knows its keys, numbers with ranges, and errors with a path."""

from __future__ import annotations

from collections.abc import Sized
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError

__all__ = [
    "Spec",
]

EXACT = 2**53 - 1
"""The largest whole number that every reader of JSON holds exactly (RFC 8259, section 6)."""
LARGEST = 1e38
"""The largest power of ten that a float32 holds."""
LONGEST = 10 * 366 * 86400.0
"""Ten years, in seconds: no job takes longer, and a date that far away is one that databases and calendars know."""
WIDEST = 2**17
"""Neurons of a layer: the Gram matrix of that many takes 64 GiB in float32."""
MOST_PATTERNS = 64
"""Names or patterns of layers in one list: twice as many as a model has layers at most."""


def _no_stand_in(value: object) -> object:
    if isinstance(value, bool | str | bytes):
        raise PydanticKnownError("int_type")
    return value


WHOLE = BeforeValidator(_no_stand_in)
"""Beside an `int`, behind its bounds: nothing that could stand for one, neither `true` nor `"3"`. JSON's 3.0 is 3."""
Real = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]

Positive = Annotated[Real, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
NonNegative = Annotated[Real, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Seconds = Annotated[Real, Field(gt=0, le=LONGEST, allow_inf_nan=False)]
Exponent = Annotated[Real, Field(ge=0, le=64, allow_inf_nan=False)]
"""Of a Riesz energy."""
Fraction = Annotated[Real, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE]
Width = Annotated[int, Field(ge=1, le=WIDEST), WHOLE]
Seed = Annotated[int, Field(ge=0, le=EXACT), WHOLE]


def at_most(most: int) -> BeforeValidator:
    """Beside `Field(max_length=most)` of a list or a map: its items are counted before the first one is looked at.

    pydantic counts the items of a tuple and of a map that are right: 20,000 wrong ones were 20,000 errors.
    """

    def counted(value: object) -> object:
        if isinstance(value, Sized) and not isinstance(value, str | bytes) and len(value) > most:
            kind = "Dictionary" if isinstance(value, dict) else "List"
            about = {"field_type": kind, "max_length": most, "actual_length": len(value)}
            raise PydanticKnownError("too_long", about)
        return value

    return BeforeValidator(counted)


Pattern = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
"""A layer's name, or a pattern of names as in a shell (`conv1_*`)."""
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=MOST_PATTERNS), at_most(MOST_PATTERNS)]
Factors = Annotated[
    dict[Pattern, NonNegative],
    Field(max_length=MOST_PATTERNS, json_schema_extra={"additionalProperties": False}),  # beside those of the pattern
    at_most(MOST_PATTERNS),
]


def _kind_is_needed(schema: dict[str, Any]) -> None:
    """What stands in a union has to say which member it is, though the member itself knows."""
    if "kind" in schema.get("properties", {}):
        schema["required"] = sorted({"kind", *schema.get("required", ())})


class Spec(BaseModel):
    """A frozen value that rejects keys it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, json_schema_extra=_kind_is_needed
    )


def fault(field: str, code: str, message: str) -> ValidationError:
    """An error that pydantic merges into the surrounding one, with a path to `field`."""
    error = PydanticCustomError(code, "{message}", {"message": message})
    return ValidationError.from_exception_data("Spec", [InitErrorDetails(type=error, loc=(field,), input=None)])
