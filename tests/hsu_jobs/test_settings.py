"""Settings: from the environment, with units, secrets hidden."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from hsu_jobs import admin, names
from hsu_jobs.settings import Settings


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
