"""The example specs of the docs are what the service takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hsu_core.spec import AnyTraining, members
from hsu_jobs.spec import parse

EXAMPLES = sorted(Path(__file__).parents[1].joinpath("examples").glob("*.json"))


DOCS = sorted(Path(__file__).parents[1].joinpath("docs").glob("*.md"))


def test_a_whole_spec_in_the_docs_is_one() -> None:
    blocks = [block.partition("```")[0] for path in DOCS for block in path.read_text().split("```json\n")[1:]]
    found = [json.loads(block) for block in blocks if block.startswith("{") and '"duration"' in block]
    assert found
    for spec in found:
        assert parse(spec).total_steps


def test_every_task_has_an_example_in_the_docs() -> None:
    named = set(re.findall(r"@examples/(\S+)\.json", (DOCS[0].parent / "tasks.md").read_text()))
    tasks = {parse(json.loads(path.read_text(encoding="utf-8"))).task for path in EXAMPLES if path.stem in named}
    assert {each.model_fields["task"].default for each in members(AnyTraining)} == tasks


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_spec(path: Path) -> None:
    assert parse(json.loads(path.read_text(encoding="utf-8"))).name
