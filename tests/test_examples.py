"""The example specs of the docs are what the service takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hsu_jobs.spec import parse

EXAMPLES = sorted(Path(__file__).parents[1].joinpath("examples").glob("*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_spec(path: Path) -> None:
    assert parse(json.loads(path.read_text(encoding="utf-8"))).name
