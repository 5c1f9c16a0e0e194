"""Where does the loop run? The commit and what was changed since, the command line, the packages, the host, the GPUs.

Each part can be turned off. A part that cannot be found is left out.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from importlib import metadata
from typing import Any

LONGEST_PATCH = 20_000
"""Characters of the changes since the commit that are kept."""
MOST_PACKAGES = 800


def capture(without: Collection[str] = ()) -> dict[str, Any]:
    """What is found, but for the parts that are named. Raises ValueError for a name that no part has."""
    if unknown := set(without) - set(_PARTS):
        raise ValueError(f"the environment has the parts {', '.join(_PARTS)}; found {', '.join(sorted(unknown))}")
    found = {name: find() for name, find in _PARTS.items() if name not in without}
    return {name: value for name, value in found.items() if value}


def _git() -> dict[str, Any] | None:
    commit = _said("git", "rev-parse", "HEAD")
    if not commit:
        return None
    patch = _said("git", "diff", "HEAD")
    cut = {"patch_is_cut": True} if len(patch) > LONGEST_PATCH else {}
    return {"commit": commit.strip(), "patch": patch[:LONGEST_PATCH], **cut}


def _command() -> list[str]:
    return [argument[:1000] for argument in [sys.executable, *sys.argv][:100]]


def _packages() -> list[str]:
    found = {f"{each.name}=={each.version}" for each in metadata.distributions() if each.name}
    return sorted(found, key=str.lower)[:MOST_PACKAGES]


def _host() -> dict[str, str]:
    return {"name": platform.node(), "system": platform.platform(), "python": platform.python_version()}


def _gpus() -> list[str]:
    return _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()


_PARTS: dict[str, Callable[[], Any]] = {
    "git": _git,
    "command": _command,
    "packages": _packages,
    "host": _host,
    "gpus": _gpus,
}


def _said(*command: str) -> str:
    """What a program prints; nothing if it is not there, fails, or takes longer than five seconds."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        ended = subprocess.run(command, capture_output=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    text = ended.stdout.decode(errors="replace").replace("\x00", "\ufffd")
    return text if ended.returncode == 0 else ""
