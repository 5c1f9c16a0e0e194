"""How does somebody write down a moment? As RFC 3339 does, with its offset; a bare number is not taken for one."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError


def _written_out(value: object) -> object:
    if not isinstance(value, str) or value.replace(".", "").strip("+- ").isdigit():
        raise PydanticCustomError("datetime_type", "Input should be a time like 2026-11-25T09:30:00Z")
    return value


Timestamp = Annotated[AwareDatetime, BeforeValidator(_written_out)]
