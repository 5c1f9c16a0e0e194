"""Settings: from the environment, with units, secrets hidden."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

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
