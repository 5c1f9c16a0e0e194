"""Which published trainings can be submitted by name? Specs in the YAML files of `recipes/`.

A file has a version, its source, a spec that its recipes share, and for each of them the change to it. `short` is a
further change: each recipe also exists as NAME-short.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hsu_jobs.forks import merged
from hsu_jobs.spec import parse

FOLDER = "recipes"
SHORT = "-short"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]


class Recipe(NamedTuple):
    """A spec with a name, as it can be submitted."""

    name: str
    version: int
    """Rises when a number of its file changes: results of different versions are not of one recipe."""
    summary: str
    source: str
    reported: dict[str, float]
    """Results that the source reports; none for a short form."""
    spec: dict[str, Any]


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid")

    summary: str
    reported: dict[str, float] = {}
    change: dict[str, Any] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=1)]
    source: str
    spec: dict[str, Any]
    short: dict[str, Any]
    recipes: dict[Name, _Change]

    def all(self) -> Iterator[Recipe]:
        """Every recipe of the file, each followed by its short form."""
        for name, one in self.recipes.items():
            whole = merged(self.spec, one.change)
            yield Recipe(name, self.version, one.summary, self.source, one.reported, whole)
            yield Recipe(
                name + SHORT, self.version, f"{one.summary}; short", self.source, {}, merged(whole, self.short)
            )


@cache
def recipes() -> tuple[Recipe, ...]:
    """All of them, by file and in the order of the file. Raises ValidationError or SpecRejected for what is wrong."""
    files = {
        path.name: path.read_text(encoding="utf-8")
        for path in resources.files(FOLDER).iterdir()
        if path.name.endswith(".yaml")
    }
    found = tuple(
        recipe for _, text in sorted(files.items()) for recipe in _File.model_validate(yaml.safe_load(text)).all()
    )
    for recipe in found:
        parse(recipe.spec)
    return found
