"""The operator's commands: what is in the way is told in a line, without a traceback and without a secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import NullPool, create_engine, make_url, select

from hsu_jobs import database
from hsu_jobs.admin import main
from hsu_jobs.database import with_driver
from hsu_jobs.settings import settings
from hsu_jobs.tables import AuditRow

COMMANDS = [("migrate",), ("create-key", "--user", "ada")]


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    """Each command reads its settings, as a process of its own does."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    if database.engine.cache_info().currsize:
        database.engine().dispose()
    for cached in (database.engine, settings):
        cached.cache_clear()


def admin(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environment)


def refusal(*arguments: str, **environment: str) -> str:
    done = admin(*arguments, **environment)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) <= 2
    return done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_not_there_is_one_line(command: tuple[str, ...]) -> None:
    said = refusal(*command, HSU_DATABASE_URL="postgresql://ada:topsecret@127.0.0.1:1/hsu")
    assert "postgresql://ada:***@127.0.0.1:1/hsu does not answer (HSU_DATABASE_URL): " in said
    assert "topsecret" not in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password_is_one_line_without_it(command: tuple[str, ...]) -> None:
    said = refusal(*command, HSU_DATABASE_URL="postgresql://ada@127.0.0.1:1/hsu", HSU_DATABASE_PASSWORD="top@secret")
    assert "secret" not in said


def test_a_database_without_tables_is_told_what_to_do(database_url: str) -> None:
    database.migrate(database_url, "base")
    said = refusal("create-key", "--user", "ada", HSU_DATABASE_URL=database_url)
    assert "run `python -m hsu_jobs.admin migrate`" in said


def test_a_revision_that_is_none_is_one_line(database_url: str) -> None:
    assert "Can't locate revision" in refusal("migrate", "9999", HSU_DATABASE_URL=database_url)


def test_a_password_apart_opens_the_database(database_url: str) -> None:
    bare = make_url(database_url).set(password=None).render_as_string(hide_password=False)
    done = admin("create-key", "--user", "ada", HSU_DATABASE_URL=bare, HSU_DATABASE_PASSWORD="any@%41/")
    assert done.stdout.startswith("hsu_"), done.stderr


def test_a_setting_that_cannot_be_meant_and_one_that_is_none_are_told() -> None:
    assert "HSU_SLOTS: " in refusal("config", HSU_SLOTS="many")
    done = admin("config", HSU_RATE_LIMT="5")
    assert done.stderr == "HSU_RATE_LIMT is no setting; is HSU_RATE_LIMIT meant?\n"


def test_a_key_that_an_operator_makes_leaves_a_line_in_the_audit_log(database_url: str) -> None:
    key = admin("create-key", "--user", "ada", "--role", "viewer", HSU_DATABASE_URL=database_url).stdout.strip()
    with create_engine(with_driver(database_url), poolclass=NullPool).connect() as connection:
        line = connection.execute(select(AuditRow.user, AuditRow.action, AuditRow.subject)).one()
    assert line.action == "admin create-key"
    assert line.user
    assert line.subject == {"user": "ada", "role": "viewer", "key": key.split("_")[1]}
