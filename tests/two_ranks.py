"""Two processes that train together: a test's own file, started twice."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from hsu_core.training import launch

PATIENCE = 500
"""Seconds until both must have ended."""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
"""Of a test's own file that is run as a script: it imports what tests share."""


def run_both(script: str, folder: Path, *words: str) -> None:
    """Run a script as ranks 0 and 1: `python script *words rank port listening folder`."""
    with socket.create_server((launch.HOST, 0)) as listening:
        meeting = (str(listening.getsockname()[1]), str(listening.fileno()), str(folder))
        ranks = [
            subprocess.Popen(
                [sys.executable, "-W", "error", script, *words, rank, *meeting], pass_fds=pass_fds, env=ENVIRONMENT
            )
            for rank, pass_fds in (("0", [listening.fileno()]), ("1", []))
        ]
    try:
        assert [rank.wait(timeout=PATIENCE) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
