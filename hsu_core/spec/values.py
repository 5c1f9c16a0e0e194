"""What are specs built from? A frozen base class without unknown keys, numbers with ranges, errors with a path."""

from __future__ import annotations

from collections.abc import Sized
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError

__all__ = [
    "Spec",
]

EXACT = 2**53 - 1
"""The largest whole number that every JSON parser can represent exactly (RFC 8259, section 6)."""
LARGEST = 1e38
"""The largest power of ten that a float32 can represent."""
LONGEST = 10 * 366 * 86400.0
"""Ten years, in seconds. No job takes longer, and databases and calendars can represent a date that far away."""
WIDEST = 2**17
"""The largest number of neurons of a layer: their Gram matrix takes 64 GiB in float32."""
MOST_PATTERNS = 64
"""The largest number of names or patterns of layers in one list: twice the hidden layers of the deepest MLP."""


def _no_stand_in(value: object) -> object:
    if isinstance(value, bool | str | bytes):
        raise PydanticKnownError("int_type")
    return value


WHOLE = BeforeValidator(_no_stand_in)
"""For an `int`, after its bounds: refuses `true` and `"3"`, which pydantic would convert. JSON's 3.0 is read as 3."""
Real = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]

Positive = Annotated[Real, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
NonNegative = Annotated[Real, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Seconds = Annotated[Real, Field(gt=0, le=LONGEST, allow_inf_nan=False)]
Exponent = Annotated[Real, Field(ge=0, le=64, allow_inf_nan=False)]
"""The exponent of a Riesz energy."""
Fraction = Annotated[Real, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE]
Width = Annotated[int, Field(ge=1, le=WIDEST), WHOLE]
Seed = Annotated[int, Field(ge=0, le=EXACT), WHOLE]


def left_out_at(default: object) -> Any:
    """For a field that specs did not always have: the canonical spec leaves it out where it has this value.

    So the fingerprints and checkpoints of specs from before stay valid.
    """
    return Field(exclude_if=lambda value: value == default)


def at_most(most: int) -> BeforeValidator:
    """For a list or a map with `Field(max_length=most)`: its items are counted before any of them is validated.

    pydantic alone counts only the valid items of a tuple or a map: 20,000 invalid ones gave 20,000 errors.
    """

    def counted(value: object) -> object:
        if isinstance(value, Sized) and not isinstance(value, str | bytes) and len(value) > most:
            kind = "Dictionary" if isinstance(value, dict) else "List"
            about = {"field_type": kind, "max_length": most, "actual_length": len(value)}
            raise PydanticKnownError("too_long", about)
        return value

    return BeforeValidator(counted)


Pattern = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
"""A layer's name, or a pattern of names like in a shell (`conv1_*`)."""
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=MOST_PATTERNS), at_most(MOST_PATTERNS)]
Factors = Annotated[
    dict[Pattern, NonNegative],
    Field(max_length=MOST_PATTERNS, json_schema_extra={"additionalProperties": False}),  # only keys of the pattern
    at_most(MOST_PATTERNS),
]


def _kind_is_needed(schema: dict[str, Any]) -> None:
    """Make `kind` required: a value in a union must name its member, although the member has a default for it."""
    if "kind" in schema.get("properties", {}):
        schema["required"] = sorted({"kind", *schema.get("required", ())})


class Spec(BaseModel):
    """A frozen value that rejects unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, json_schema_extra=_kind_is_needed
    )


def fault(field: str | tuple[str, ...], code: str, message: str) -> ValidationError:
    """An error that pydantic merges into the surrounding one, with a path to `field`."""
    error = PydanticCustomError(code, "{message}", {"message": message})
    path = (field,) if isinstance(field, str) else field
    return ValidationError.from_exception_data("Spec", [InitErrorDetails(type=error, loc=path, input=None)])
