"""Which code does this worker run? The version of its distribution, and the commit if it runs from a git checkout."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PATIENCE = 10.0
"""Seconds that git may take."""


class CodeVersion(NamedTuple):
    """The code of this process."""

    version: str
    commit: str | None
    """With `-dirty` added if files were changed since."""


@cache
def code_version() -> CodeVersion:
    """The code of this process. Runs git once, where runners are forked from, and not in each runner."""
    return CodeVersion(metadata.version("hsu-service"), _commit(ROOT))


def _commit(root: Path) -> str | None:
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        said = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):  # as for a folder of another user, which git does not read
        return None
    return said.stdout.strip() or None
