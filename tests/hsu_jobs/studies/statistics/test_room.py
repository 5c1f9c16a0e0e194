"""What the room loads, and who loads the room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("module", ["torch", "scipy.stats", "sqlalchemy", "fastapi"])
def test_the_room_does_not_load(module: str) -> None:
    question = f"import hsu_jobs.studies.statistics, sys; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", question], cwd=ROOT, check=False).returncode == 0


def test_the_api_starts_without_it() -> None:
    question = "import api.app, sys; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", question], cwd=ROOT, check=False).returncode == 0
