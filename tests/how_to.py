"""Run a page of docs as a reader does: all of its shell blocks, one after the other, against a service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def follow(page: str, service: dict[str, str], folder: Path) -> str:
    """What the commands of a page of docs/ print, run in a folder; fails at the first that fails."""
    text = DOCS.joinpath(page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in blocks} == {"sh"}
    environment = {
        **os.environ,
        "HSU_URL": service["url"],
        "HSU_API_KEY": service["key"],
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    script = "set -eu -o pipefail\n" + "\n".join(block for _, block in blocks)
    command = ["bash", "-c", script]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
