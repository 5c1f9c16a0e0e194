"""What is every spec made of? A frozen value that knows its keys, numbers with ranges, and errors with a path."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError

EXACT = 2**53 - 1
"""The largest whole number that every reader of JSON holds exactly (RFC 8259, section 6)."""


def _no_stand_in(value: object) -> object:
    if isinstance(value, bool | str | bytes):
        raise PydanticKnownError("int_type")
    return value


WHOLE = BeforeValidator(_no_stand_in)
"""Beside an `int`, behind its bounds: nothing that could stand for one, neither `true` nor `"3"`. JSON's 3.0 is 3."""
Real = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]

Positive = Annotated[Real, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[Real, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[Real, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE]
Seed = Annotated[int, Field(ge=0, le=EXACT), WHOLE]


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
