"""What a terminal or a pipe gets to see, as processes of their own with an encoding of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from samples import DIGITS

from hsu_client import escapes
from hsu_client.cli import render
from hsu_client.cli.main import main
from hsu_client.client import Client

HOSTILE = "a\nb\x1b[31mred\x07\u202eright to left\u2028\x9b"
SHOWN = r"a\nb\x1b[31mred\x07\u202eright to left\u2028\x9b"


def run(served: Any, *arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> Any:
    """`hsu` in a process of its own; what it printed, as bytes."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_", "LANG"))}
    return subprocess.run(
        [Path(sys.executable).with_name("hsu"), *arguments],
        env={**inherited, "HSU_URL": served.url, "HSU_API_KEY": served.key, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )


@pytest.fixture
def hsu(served: Any) -> Any:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"HSU_URL": served.url, "HSU_API_KEY": served.key})

    return invoke


def spec_file(folder: Path, content: bytes) -> str:
    file = folder / "spec.json"
    file.write_bytes(content)
    return str(file)


# --- what leaves ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp1252:strict", "utf-8"])
def test_a_job_with_any_name_is_submitted_on_a_terminal_of_any_encoding(
    served: Any, tmp_path: Path, encoding: str
) -> None:
    spec = json.dumps(DIGITS | {"name": "λ → ∞ 学"}, ensure_ascii=False).encode()
    done = run(served, "submit", spec_file(tmp_path, spec), PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"queued" in done.stdout
    as_it_is = encoding in ("utf-8", "ascii")  # for which click takes UTF-8
    assert ("λ".encode() if as_it_is else rb"\u03bb") in done.stdout


@pytest.mark.parametrize("command", [("catalog",), ("list",), ("queue",), ("keys",)])
def test_every_command_prints_on_a_terminal_without_unicode(served: Any, command: tuple[str, ...]) -> None:
    done = run(served, *command, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr


def test_json_is_json_whatever_the_encoding(served: Any) -> None:
    whole, narrow = (run(served, "catalog", PYTHONIOENCODING=encoding).stdout for encoding in ("utf-8", "cp1252"))
    assert json.loads(whole) == json.loads(narrow)
    assert narrow.isascii()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", [("keys", "create", "--name", "full"), ("retry",), ("submit",)])
def test_what_cannot_be_asked_for_again_reaches_the_other_stream(
    served: Any, client: Client, tmp_path: Path, command: tuple[str, ...]
) -> None:
    if command == ("submit",):
        command = ("submit", spec_file(tmp_path, json.dumps(DIGITS).encode()))
    if command == ("retry",):
        job = client.submit(DIGITS)["id"]
        client.cancel(job)
        command = ("retry", str(job))
    with Path("/dev/full").open("wb") as full:
        done = run(served, *command, stdout=full.fileno())
    assert done.returncode == 1
    assert b"standard output does not take this: " in done.stderr
    assert b"\nhsu_" in done.stderr if "keys" in command else b"\njob " in done.stderr


def test_names_of_others_do_not_move_a_terminal(hsu: Any, client: Client) -> None:
    job = client.submit(DIGITS | {"name": HOSTILE})
    for command in (("list", "--limit", "1"), ("show", str(job["id"])), ("cancel", str(job["id"]))):
        printed = hsu(*command).stdout
        assert SHOWN in printed
        assert not set(printed) & set("\x1b\x07\u202e\u2028\x9b")


def test_a_line_shows_what_a_terminal_would_obey() -> None:
    assert escapes.visible(HOSTILE) == SHOWN
    assert escapes.visible(SHOWN) == SHOWN
    assert escapes.visible("naïve λ 学 👩‍🔬\u200c") == "naïve λ 学 👩‍🔬\u200c"


def test_a_text_keeps_its_lines() -> None:
    assert escapes.visible_text("step 1\r\n\tstep 2\x1b[2J\rgone") == "step 1\n\tstep 2\\x1b[2J\\rgone"


def test_a_table_is_aligned_by_what_is_shown() -> None:
    top, first, second = render.table([["name", "n"], ["\x1b", "1"], ["plain", "22"]])
    assert [len(line) for line in (top, first, second)] == [9, 9, 9]
    assert first == r"\x1b    1"


def test_progress_shows_names_as_text() -> None:
    job = {"id": 1, "name": HOSTILE, "state": "queued", "wanted": "run", "step": 0, "total_steps": 10}
    out = io.StringIO()
    render.progress([job], out)
    assert SHOWN in out.getvalue()


# --- what comes in ----------------------------------------------------------------------------------------------------

NAMED = json.dumps(DIGITS | {"name": "größe"}, ensure_ascii=False)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1"])
def test_a_spec_is_read_in_any_unicode_encoding_whatever_the_locale(
    served: Any, tmp_path: Path, encoding: str, locale: str
) -> None:
    file = spec_file(tmp_path, NAMED.encode(encoding))
    done = run(served, "submit", "--json", file, LC_ALL=locale, PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "größe"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (NAMED.encode("latin-1"), "is neither UTF-8 nor UTF-16 nor UTF-32"),
        (b"{", "is not valid JSON"),
        (b"", "is not valid JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"\x1f\x8b\x08\x00", "is neither UTF-8 nor UTF-16 nor UTF-32"),
    ],
)
def test_what_is_no_json_is_refused_by_name(hsu: Any, tmp_path: Path, content: bytes, said: str) -> None:
    done = hsu("submit", spec_file(tmp_path, content))
    assert done.exit_code == 1
    assert f"spec.json {said}" in done.stderr


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
def test_times_are_in_utc_and_say_so(served: Any, client: Client, zone: str) -> None:
    job = client.submit(DIGITS)
    client.cancel(job["id"])
    first, *_ = run(served, "events", str(job["id"]), TZ=zone).stdout.decode().splitlines()
    assert first.startswith(f"{job['created_at'][:19]}Z")
    shown = run(served, "show", str(job["id"]), TZ=zone).stdout.decode()
    assert f"created    {job['created_at'][:19]}Z" in shown


def test_a_time_with_any_offset_is_shown_in_utc() -> None:
    assert render.utc("2026-11-27T01:30:00.25+05:30") == "2026-11-26T20:00:00Z"
    assert render.utc(None) == ""
