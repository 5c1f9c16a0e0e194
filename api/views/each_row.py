"""Which rows of a list can be shown? All but those of which this version cannot make a view.

Knows rows and their names. A row that cannot be shown is left out of the list, logged and counted
(`hsu_jobs/row_failures.py`), so that the others are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sqlalchemy import Row, inspect

from hsu_jobs import row_failures

_Kind = TypeVar("_Kind")
_View = TypeVar("_View")


def shown(loop: str, rows: Iterable[_Kind], view: Callable[[_Kind], _View]) -> list[_View]:
    """The view of each row, in their order."""
    views = []
    for row in rows:
        with row_failures.alone(loop, _name(row)):
            views.append(view(row))
    return views


def _name(row: Any) -> str:
    """The row's table and key; of a result with several columns, those of the first one."""
    mapped = row[0] if isinstance(row, Row) else row
    state = inspect(mapped)
    return f"{state.mapper.local_table.name} {', '.join(map(str, state.identity or ()))}"
