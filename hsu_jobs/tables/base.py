"""How are Python's types stored? The base of every table.

A relationship raises if it is read before it is loaded: an accidental query is an error.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Double, Enum, Identity, String, Text, TypeDecorator, func
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


class OpenEnum(TypeDecorator[StrEnum | str]):
    """An enumeration that a newer version may have extended: a value unknown to this one is read as it is stored."""

    impl = String(16)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self._members = {member.value: member for member in kind}

    def process_bind_param(self, value: StrEnum | str | None, _dialect: Dialect) -> str | None:
        """As it is stored."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> StrEnum | str | None:
        """As it is read."""
        return self._members.get(value, value) if value is not None else None


ID = BigInteger, Identity()
"""The arguments of a generated key's column."""
NOW = func.now()
