"""How is a point in time written? As in RFC 3339, with its offset; a bare number is not accepted."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError


def _written_out(value: object) -> object:
    if not isinstance(value, str) or value.replace(".", "").strip("+- ").isdigit():
        raise PydanticCustomError("datetime_type", "Input should be a time like 2026-11-25T09:30:00Z")
    return value


Timestamp = Annotated[AwareDatetime, BeforeValidator(_written_out)]
