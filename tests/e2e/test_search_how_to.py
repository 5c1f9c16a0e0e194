"""docs/search.md on the whole service: every command of it, and what its tables must hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from hsu_client.client import Client

PAGE = Path(__file__).parents[2] / "docs/search.md"
FOLDER = Path(sys.executable).parent


def test_every_command_of_the_how_to_works(new_service: dict[str, str], tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in blocks} == {"sh"}
    environment = {
        **os.environ,
        "HSU_URL": new_service["url"],
        "HSU_API_KEY": new_service["key"],
        "PATH": f"{FOLDER}{os.pathsep}{os.environ['PATH']}",
    }
    script = "set -eu -o pipefail\n" + "\n".join(text for _, text in blocks)
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    baseline, mhe = json.loads(tmp_path.joinpath("search.json").read_text(encoding="utf-8"))["searches"]
    assert (len(baseline["trials"][0]["point"]), len(mhe["trials"][0]["point"])) == (2, 3)
    for search in (baseline, mhe):
        losses = [trial["value"] for trial in search["trials"]]
        assert len(losses) == 12
        assert search["best"] == losses.index(min(losses))
    assert "mhe: 12 of 12 trials have ended; the best so far is trial" in ran.stdout
    assert "chosen on the data that they are measured on" in ran.stdout
    with Client(new_service["url"], new_service["key"]) as client:
        assert [cell["n"] for cell in client.studies.table(2)["metrics"][0]["cells"]] == [7, 7]
