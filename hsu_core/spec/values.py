"""What is every spec made of? A frozen value that knows its keys, numbers with ranges, and errors with a path."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Spec(BaseModel):
    """A frozen value that rejects keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def fault(field: str, code: str, message: str) -> ValidationError:
    """An error that pydantic merges into the surrounding one, with a path to `field`."""
    error = PydanticCustomError(code, "{message}", {"message": message})
    return ValidationError.from_exception_data("Spec", [InitErrorDetails(type=error, loc=(field,), input=None)])
