"""Lists of many jobs: each common one is read through an index. What they hold is in tests/api/routes/test_lists.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from databases import plain
from samples import DIGITS
from sqlalchemy import event
from sqlalchemy.orm import Session
from stored_jobs import store

from hsu_jobs import database, listing, queries
from hsu_jobs.listing import Listing
from hsu_jobs.tables import ApiKey, Role, User

JOBS, USERS = 20_000, 20
COMMON: tuple[dict[str, Any], ...] = (
    {},
    {"state": ["queued"]},
    {"tag": ["sweep-7"]},
    {"regularizer": ["mhe"]},
    {"regularizer": ["srip"]},
    {"fingerprint": "0" * 64},
    {"sort": "-test_accuracy"},
    {"sort": "-test_accuracy", "where": ["test_accuracy:gt:0.999"]},
    {"where": ["test_accuracy:ge:0.999"]},
    {"created_before": "2000-01-01T00:00:00Z"},
)


pytestmark = pytest.mark.new_database  # plans depend on what was deleted from a table


@pytest.fixture
def filled(session: Session, database_url: str) -> Session:
    session.add_all(User(name=f"user {n}") for n in range(USERS))
    session.commit()
    store(plain(database_url), jobs=JOBS, users=USERS, spec=json.dumps(DIGITS | {"task": "classification"}))
    return session


def scans(session: Session, asked: Listing, holder: ApiKey, *, cursor: str | None = None) -> set[str]:
    """The ways in which Postgres would read the jobs of a page."""
    asked_for: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        asked_for.append((statement, values))

    event.listen(database.engine(), "before_cursor_execute", note)
    listing.page(session, queries.jobs_visible_to(holder), asked, cursor=cursor, limit=50)
    event.remove(database.engine(), "before_cursor_execute", note)
    statement, values = asked_for[0]
    explained = session.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values)
    return set(_scans(explained.scalar_one()[0]["Plan"]))


def _scans(node: dict[str, Any]) -> list[str]:
    here = [node["Node Type"]] if node.get("Relation Name") == "jobs" else []
    return here + [kind for child in node.get("Plans", []) for kind in _scans(child)]


def test_every_common_list_is_read_through_an_index(filled: Session) -> None:
    for role in (Role.ADMIN, Role.MEMBER):
        for asked in COMMON:
            found = scans(filled, Listing(**asked), ApiKey(user_id=1, role=role))
            assert found <= {"Index Scan", "Bitmap Heap Scan"}, (role, asked)
            assert found, (role, asked)


def test_a_later_page_is_read_through_the_index_too(filled: Session) -> None:
    admin = ApiKey(user_id=1, role=Role.ADMIN)
    for asked in (Listing(), Listing(sort="-test_accuracy"), Listing(state=["queued"])):
        first = listing.page(filled, queries.jobs_visible_to(admin), asked, cursor=None, limit=5)
        assert scans(filled, asked, admin, cursor=first.next_cursor) == {"Index Scan"}
