"""`hsu download` as people type it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hsu_client.cli.checkpoints import progress
from hsu_client.cli.main import main
from hsu_core.outcomes import Saved
from hsu_jobs.attempts import Claim

pytestmark = pytest.mark.usefixtures("saved")


@pytest.fixture
def hsu(served: Any) -> Any:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"HSU_URL": served.url, "HSU_API_KEY": served.key})

    return run


def test_it_prints_where_the_file_is_and_the_progress_beside_it(
    hsu: Any, claim: Claim, saved: list[Saved], tmp_path: Path
) -> None:
    done = hsu("download", str(claim.job_id), "--to", str(tmp_path))
    path = tmp_path / f"job-{claim.job_id}-step-6.safetensors"
    assert (done.exit_code, done.stdout) == (0, f"{path}\n")
    size = f"{saved[-1].bytes / 1e3:.1f} kB"
    assert done.stderr == f"{size} of {size}\n"
    assert path.stat().st_size == saved[-1].bytes
    for option in (["--best", "--weights"], ["--step", "2"]):
        assert hsu("download", str(claim.job_id), "--to", str(tmp_path), *option).exit_code == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_it_never_replaces_a_file_unasked(hsu: Any, claim: Claim, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine", encoding="utf-8")
    refused = hsu("download", str(claim.job_id), "--to", str(mine))
    assert refused.exit_code == 1
    assert f"{mine} is already there, with other content: give another name (--to), or --overwrite" in refused.stderr
    assert mine.read_text(encoding="utf-8") == "mine"
    assert hsu("download", str(claim.job_id), "--to", str(mine), "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--step", "2", "--best"], 2, "give --step or --best, not both"),
        (["--step", "5"], 1, "there are those of steps 2, 4, 6"),
        (["--to", "/nowhere/file"], 1, "there is no folder /nowhere"),
    ],
)
def test_what_is_not_possible_is_said(hsu: Any, claim: Claim, arguments: list[str], code: int, said: str) -> None:
    refused = hsu("download", str(claim.job_id), *arguments)
    assert (refused.exit_code, said in refused.stderr) == (code, True)


def test_a_terminal_sees_how_much_is_there() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    report = progress(out := Terminal())
    report(500, 2000)
    report(2000, 2000)
    assert out.getvalue() == "\r\x1b[K0.5 kB of 2.0 kB\r\x1b[K2.0 kB of 2.0 kB\n"
