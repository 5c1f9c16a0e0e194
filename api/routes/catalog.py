"""The catalog: what a spec can ask for, with the JSON Schema of each choice."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, Literal, get_args

from fastapi import APIRouter
from sqlalchemy import orm

from api.dependencies.auth import Viewer
from api.dependencies.session import Session
from api.problems import problems
from api.views.jobs import View
from hsu_core import spec
from hsu_core.spec import plugins
from hsu_jobs import recipes
from hsu_jobs.cluster import admission
from hsu_jobs.errors import Unauthorized
from hsu_jobs.settings import settings
from hsu_jobs.spec import JobSpec

router = APIRouter(prefix="/v1/catalog", tags=["catalog"])


class PluginView(View):
    """The plug-in that brings a choice."""

    distribution: str
    version: str


class Entry(View):
    """One choice: its kind, what it is, and its parameters as JSON Schema."""

    kind: str
    summary: str
    parameters: dict[str, Any]
    plugin: PluginView | None = None
    """The installed distribution that brings it; null for what is built in."""


class MeasureEntry(Entry):
    """A measure that a plug-in brings."""

    higher_is_better: bool
    """Whether more uniform neurons have a higher value."""


class BrokenPluginView(View):
    """What an installed plug-in would bring to a menu of the API, and why it does not."""

    group: str
    """The group of its entry point, as `hsu.models`."""
    kind: str
    distribution: str
    version: str
    reason: str


class RegularizerEntry(Entry):
    """A regularizer, what it computes and what is known of it."""

    formula: str
    """The penalty of one layer before its weight, in plain text; lower is better."""
    latex: str
    source: str
    acts_on: Literal["nothing", "weights", "features"]
    caution: str
    """When it does not do what a user might expect; empty if nothing is known."""
    differs: str
    """Where the defaults differ from the authors' code, and why."""
    presets: dict[str, dict[str, Any]]
    """By name, as `preset` in a spec: the values that each sets in place of the defaults. They may depend on given
    ones, as on `s` and `angular` of `mhe` and on `projection` of `comhe`; the stored spec states each value."""
    relative_cost: float
    """The whole penalty of `cnn9`, forward and backward, in units of `mhe`'s: benchmarks/catalog.py, one thread."""


class DatasetEntry(Entry):
    """A data set, and whether a worker can read it."""

    facts: dict[str, int | tuple[int, ...]]
    """Its sizes: of images `shape` (channels, height, width), `classes`, `train` and `test`; of a graph also `nodes`,
    `edges` and `features`; of interactions `users` and `items`."""
    available: bool


class ObjectiveEntry(Entry):
    """What points on a sphere can optimise."""

    formula: str
    """In plain text, for unit vectors xᵢ; in half space for the points xᵢ and −xᵢ."""
    higher_is_better: bool
    is_of_pairs: bool
    """Whether it is a quantity of pairs, which is refused for a single point that is not in half space."""
    caution: str
    """When it does not distinguish good points from bad ones; empty if nothing is known."""


class RecipeEntry(View):
    """A published training that can be submitted as it is."""

    name: str
    version: int
    """Rises when a number of the recipe changes."""
    summary: str
    source: str
    reported: dict[str, float]
    """Results that the source reports, with the names of this service's results; empty for a short form."""
    spec: dict[str, Any]
    """The body of a submission. Fields that it leaves out have their defaults."""


class Catalog(View):
    """Everything that a spec may hold."""

    tasks: list[Entry]
    """The tasks of jobs, with the schema of the whole spec; `kind` is the value of `task` in a spec."""
    objectives: list[ObjectiveEntry]
    """For the task `points`; the other menus are for trainings. Which data sets and models a task takes is in its
    schema."""
    regularizers: list[RegularizerEntry]
    models: list[Entry]
    datasets: list[DatasetEntry]
    parametrizations: list[Entry]
    """How hidden weights can be bound."""
    classifiers: list[Entry]
    """Classifiers that are not trained."""
    optimizers: list[Entry]
    schedules: list[Entry]
    measures: list[str]
    """What can be recorded for every chosen layer, whatever the job optimises."""
    plugin_measures: list[MeasureEntry]
    """Those of them that plug-ins bring."""
    broken_plugins: list[BrokenPluginView]
    """What is installed here but cannot be used. The workers tell what they have themselves."""
    recipes: list[RecipeEntry]
    """Published trainings, each followed by its short form."""


@router.get("", responses=problems(Unauthorized))
def show_catalog(_key: Viewer, session: Session) -> Catalog:
    """Tasks, objectives for points, regularizers, models, data sets, optimizers, schedules and recipes."""
    return Catalog(**_fixed_menus(), datasets=[_dataset(kind, session) for kind in spec.members(spec.PublishedDataset)])


@cache
def _fixed_menus() -> dict[str, Any]:
    """All menus but the data sets: which of those are available changes. Their schemas are costly, and made once."""
    return {
        "tasks": [Entry(**_described(kind, tag="task")) for kind in spec.members(JobSpec)],
        "objectives": [_objective(kind) for kind in spec.members(spec.Objective)],
        "regularizers": [_regularizer(kind) for kind in spec.members(spec.Regularizer)],
        "models": _entries(spec.Model),
        "parametrizations": _entries(spec.Parametrization),
        "classifiers": _entries(spec.Classifier),
        "optimizers": _entries(spec.Optimizer),
        "schedules": _entries(spec.Schedule),
        "measures": list(spec.ALL_MEASURES),
        "plugin_measures": [_measure(plugin) for plugin in plugins.installed(plugins.MEASURES)],
        "broken_plugins": [BrokenPluginView(**broken._asdict()) for broken in plugins.broken()],
        "recipes": [RecipeEntry(**recipe._asdict()) for recipe in recipes.recipes()],
    }


def _entries(union: object) -> list[Entry]:
    return [Entry(**_described(kind)) for kind in spec.members(union)]


def _regularizer(kind: type[spec.Spec]) -> RegularizerEntry:
    about: spec.About = kind.about  # type: ignore[attr-defined]
    return RegularizerEntry(
        **_described(kind),
        formula=about.plain,
        latex=about.latex,
        source=about.source,
        acts_on=about.acts_on,
        caution=about.caution,
        differs=about.differs,
        presets=_presets(kind),
        relative_cost=about.relative_cost,
    )


def _presets(kind: type[spec.Spec]) -> dict[str, dict[str, Any]]:
    if "preset" not in kind.model_fields:
        return {}
    default = kind().model_dump(mode="json")
    filled = kind.model_validate({"preset": "authors"}).model_dump(mode="json")
    return {"authors": {name: value for name, value in filled.items() if default.get(name) != value}}


def _objective(kind: type[spec.Spec]) -> ObjectiveEntry:
    facts = {name: getattr(kind, name) for name in ("formula", "higher_is_better", "is_of_pairs", "caution")}
    return ObjectiveEntry(**_described(kind), **facts)


def _measure(plugin: plugins.Plugin) -> MeasureEntry:
    return MeasureEntry(**_described(plugin.spec), higher_is_better=plugin.spec.higher_is_better)


def _dataset(kind: type[spec.Spec], session: orm.Session) -> DatasetEntry:
    dataset = kind()
    facts: dict[str, Any] = dataset.facts._asdict()  # type: ignore[attr-defined]
    available = admission.is_readable(session, dataset, settings())  # type: ignore[arg-type]
    return DatasetEntry(**_described(kind), facts=facts, available=available)


def _described(kind: type[spec.Spec], *, tag: str = "kind") -> dict[str, Any]:
    (name,) = get_args(kind.model_fields[tag].annotation)
    summary = " ".join((inspect.getdoc(kind) or "").split())
    brought = next((each for each in plugins.installed() if each.kind == name and issubclass(kind, each.spec)), None)
    plugin = brought and PluginView(distribution=brought.distribution, version=brought.version)
    return {"kind": name, "summary": summary, "parameters": kind.model_json_schema(), "plugin": plugin}
