"""The how-to docs/take_home.md: every command in it runs as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HOW_TO = Path(__file__).parents[3] / "docs" / "take_home.md"


def test_every_command_of_the_how_to_does_what_it_says(served: Any, whole: int, tmp_path: Path) -> None:
    blocks = re.findall(r"```(sh|python)\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    scripts = {"sh": "set -euo pipefail\n", "python": ""}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "HSU_URL": served.url, "HSU_API_KEY": served.key, "PATH": path}
    for language, text in blocks:
        mine = text.replace("JOB=1\n", f"JOB={whole}\n").replace("client.job(1)", f"client.job({whole})")
        scripts[language] += mine
    for command, script in ((["bash", "-c"], scripts["sh"]), ([sys.executable, "-c"], scripts["python"])):
        done = subprocess.run(
            [*command, script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "model/classifier.weight" in done.stdout
    made = {path.name for path in tmp_path.iterdir()}
    assert made >= {"best.safetensors", "weights.safetensors", "whole.safetensors", "home", "packed", "tables"}
    assert (tmp_path / "part.safetensors").read_bytes() == (tmp_path / "weights.safetensors").read_bytes()
    assert (tmp_path / "whole.safetensors").read_bytes() == next(tmp_path.glob("job-*.safetensors")).read_bytes()
