"""How are Python's types stored? The base of every table.

Relationships raise when touched unloaded: a query by accident is an error.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Double, Enum, Identity, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase


class Row(DeclarativeBase):
    """Every table's base: how Python's types are stored."""

    type_annotation_map = {  # noqa: RUF012
        str: Text,
        float: Double,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        list[str]: ARRAY(Text),
        StrEnum: Enum(
            StrEnum, native_enum=False, length=16, values_callable=lambda kind: [each.value for each in kind]
        ),
    }


ID = BigInteger, Identity()
"""The arguments of a generated key's column."""
NOW = func.now()
