"""Which loops over many rows found rows that they could not process?"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from hsu_jobs.tables.base import NOW, Row


class RowFailure(Row):
    """A loop's count of rows that failed, and the last of them."""

    __tablename__ = "row_failures"

    loop: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(BigInteger, server_default="1")
    """A row that stays as it is counts each time that the loop finds it."""
    last_row: Mapped[str]
    last_error: Mapped[str]
    last_at: Mapped[datetime] = mapped_column(server_default=NOW)
