"""Settings: from the environment, with units, secrets hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError
from redis.connection import parse_url

from hsu_jobs import admin, names
from hsu_jobs import settings as module
from hsu_jobs.database import with_driver
from hsu_jobs.settings import BadSettings, Settings, settings, unknown


@pytest.mark.parametrize("text", ["2.5", "PT2.5S", "00:00:02.5"])
def test_a_length_of_time_has_three_spellings(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HSU_LEASE", text)
    assert Settings().lease == timedelta(seconds=2.5)


@pytest.mark.parametrize("text", ["0", "soon", "-3"])
def test_a_length_of_time_must_be_one(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HSU_LEASE", text)
    with pytest.raises(ValidationError):
        Settings()


def test_secrets_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_DATABASE_URL", "postgresql://ada:secret@db/hsu")
    assert "secret" not in repr(Settings())


def test_a_child_process_reads_the_very_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Settings(lease=timedelta(seconds=7), data_dir=Path("/sets"), slots=3)
    for name, value in mine.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == mine


@pytest.fixture
def afresh() -> Iterator[None]:
    """Settings are read anew, now and afterwards."""
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("password", ["p@ss", "%41", "a/b", "a:b", "a#b?c", "ö λ", "'$x\"", "[", "%"])
@pytest.mark.parametrize(
    "url", ["postgresql://hsu@db/hsu", "postgres://hsu:old@db:5433/hsu", "postgresql://hsu@/hsu?host=%2Frun"]
)
def test_a_password_apart_may_hold_any_character(monkeypatch: pytest.MonkeyPatch, url: str, password: str) -> None:
    monkeypatch.setenv("HSU_DATABASE_URL", url)
    monkeypatch.setenv("HSU_DATABASE_PASSWORD", password)
    whole, bare = with_driver(Settings().database_url.get_secret_value()), with_driver(url)
    assert whole.password == password
    assert whole.set(password="") == bare.set(password="")


@pytest.mark.parametrize("url", ["redis://redis:6379/2", "rediss://ada@redis/2", "unix:///run/redis.sock?db=2"])
def test_redis_takes_its_password_apart_too(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HSU_REDIS_URL", url)
    monkeypatch.setenv("HSU_REDIS_PASSWORD", "p@s/s%41")
    found = parse_url(Settings().redis_url.get_secret_value())
    assert found.pop("password") == "p@s/s%41"
    assert found == parse_url(url)


def test_an_empty_password_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_DATABASE_PASSWORD", "")
    assert Settings().database_url.get_secret_value() == "postgresql://localhost/hsu"


def test_a_child_process_reads_a_password_apart_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_DATABASE_PASSWORD", "p@ss")
    mine = Settings()
    for name, value in mine.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == mine


@pytest.mark.usefixtures("afresh")
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HSU_DATABASE_URL", "postgresql://hsu:to@psecret@db/hsu", "write %40"),
        ("HSU_DATABASE_URL", "postgresql://hsu:12/psecret@db/hsu", "write %40 or %2F"),
        ("HSU_DATABASE_URL", "postgresql://hsu:tops/ecret", "its port is no number"),
        ("HSU_DATABASE_URL", "mysql://hsu:topsecret@db/hsu", "begins with postgresql://"),
        ("HSU_DATABASE_URL", "topsecret", "begins with postgresql://"),
        ("HSU_REDIS_URL", "http://:topsecret@redis", "begins with redis://"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings, match=said) as caught:
        settings()
    assert str(caught.value).startswith(f"{name}: ")
    assert not any(part in str(caught.value) for part in ("secret", "tops", "to@", "12/"))


@pytest.mark.usefixtures("afresh")
def test_every_wrong_setting_is_told_with_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_SLOTS", "many")
    monkeypatch.setenv("HSU_LOG_FORMAT", "xml")
    with pytest.raises(BadSettings) as caught:
        settings()
    first, second = str(caught.value).splitlines()
    assert first.startswith("HSU_SLOTS: ")
    assert first.endswith("found 'many'")
    assert second == "HSU_LOG_FORMAT: Input should be 'text' or 'json', found 'xml'"


def test_a_variable_that_nobody_reads_is_told_with_what_may_be_meant() -> None:
    given = {"HSU_RATE_LIMT": "5", "HSU_LEASE": "9", "HSU_PORT": "80", "HSU_XYZZY": "", "PATH": "/bin"}
    assert unknown(given) == ["HSU_RATE_LIMT is no setting; is HSU_RATE_LIMIT meant?", "HSU_XYZZY is no setting"]


def test_every_variable_that_the_code_names_is_a_setting_or_listed() -> None:
    root = Path(module.__file__).parents[1]
    rooms = ("api", "worker", "hsu_jobs", "hsu_core", "hsu_client", "embedded")
    texts = (path.read_text(encoding="utf-8") for room in rooms for path in (root / room).rglob("*.py"))
    named = {name for text in texts for name in re.findall(r"\bHSU_[A-Z0-9_]*[A-Z0-9]\b", text)}
    assert unknown(dict.fromkeys(named, "")) == []


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "-a", "größer", "a\nb", "a" * 256])
@pytest.mark.parametrize("setting", ["WORKER_NAME", "POOL"])
def test_names_can_stand_in_a_url(monkeypatch: pytest.MonkeyPatch, setting: str, name: str) -> None:
    monkeypatch.setenv(f"HSU_{setting}", name)
    with pytest.raises(ValidationError, match=setting.lower()):
        Settings()


@pytest.mark.parametrize(
    ("host", "name"),
    [("node-7.lab.example", "node-7.lab.example"), ("Ada's PC", "Ada-s-PC"), ("..", "worker"), ("", "worker")],
)
def test_a_machines_name_becomes_one_that_can(host: str, name: str) -> None:
    assert names.of_host(host) == name
    assert Settings(worker_name=names.of_host(host)).worker_name == name


@pytest.mark.parametrize("user", ["a/b", "a b", "..", "", "a\nb", "ü"])
def test_a_key_is_made_on_the_command_line_only_for_a_name_that_can(user: str) -> None:
    refused = CliRunner().invoke(admin.main, ["create-key", "--user", user])
    assert refused.exit_code == 2
    assert "expected letters, digits" in refused.output
