"""docs/search.md on the whole service: every command of it, and what its tables must hold."""

from __future__ import annotations

import json
from pathlib import Path

from how_to import follow

from hsu_client.client import Client


def test_every_command_of_the_how_to_works(new_service: dict[str, str], tmp_path: Path) -> None:
    said = follow("search.md", new_service, tmp_path)
    baseline, mhe = json.loads(tmp_path.joinpath("search.json").read_text(encoding="utf-8"))["searches"]
    assert (len(baseline["trials"][0]["point"]), len(mhe["trials"][0]["point"])) == (2, 3)
    for search in (baseline, mhe):
        losses = [trial["value"] for trial in search["trials"]]
        assert len(losses) == 12
        assert search["best"] == losses.index(min(losses))
    assert "mhe: 12 of 12 trials have ended; the best so far is trial" in said
    assert "chosen on the data that they are measured on" in said
    with Client(new_service["url"], new_service["key"]) as client:
        assert [cell["n"] for cell in client.studies.table(2)["metrics"][0]["cells"]] == [7, 7]
