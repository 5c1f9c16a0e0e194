"""What is compared, where does it come from, and which direction is better?

A metric is a number of the results (`test_accuracy`), or a measure of layers at the end of a run (`mhe_s2@conv*`).
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from hsu_core.spec import ALL_MEASURES, TrainingSpec, plugins
from hsu_jobs import near_matches, spec_faults
from hsu_jobs.errors import Fault
from hsu_jobs.results import METRICS, numbers_of
from hsu_jobs.spec import JobSpec
from hsu_jobs.studies.plan import Cell
from hsu_jobs.studies.spec import StudySpec


class Metric(NamedTuple):
    """A number that every run of a study should have."""

    name: str

    @property
    def measure(self) -> str:
        """The curve, or the field of the result."""
        return self.name.partition("@")[0]

    @property
    def layers(self) -> str | None:
        """The pattern of the layers whose mean is taken; None for a number of the whole run."""
        _, at, pattern = self.name.partition("@")
        return pattern if at else None

    @property
    def higher_is_better(self) -> bool | None:
        """None where nothing says so."""
        plugin = plugins.find(plugins.MEASURES, self.measure) if self.layers else None
        return plugin.spec.higher_is_better if plugin else _DIRECTIONS.get(self.measure)

    @property
    def is_of_test_set(self) -> bool:
        """Whether it is measured on the test set: neither on other data, nor on the weights."""
        return self.layers is None and self.name not in _NOT_OF_TEST_SET

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Between which values it always is; None where there are no such."""
        return (0.0, 1.0) if self.layers is None and self.name in _FRACTIONS else None


def of(study: StudySpec) -> list[Metric]:
    """The metrics of a study, the primary one first."""
    return [Metric(name) for name in study.metrics]


def searched(study: StudySpec) -> Metric:
    """The metric by which the trials of a study's search are compared."""
    return Metric((study.search and study.search.metric) or study.metrics[0])


def require(study: StudySpec, cells: Sequence[Cell]) -> None:
    """Raise `SpecRejected` for a metric that the jobs of a cell will not have, with those that are like it."""
    faults = []
    for place, metric in enumerate(of(study)):
        refusals = (_refusal(metric, cell.spec) for cell in cells)
        if reason := next(filter(None, refusals), None):
            faults.append(Fault(pointer=f"/metrics/{place}", code="unknown_metric", detail=reason))
    if study.value == "best_validation":
        faults += _without_validation(cells)
    if study.search and searched(study).higher_is_better is None:
        detail = f"it is not known whether higher or lower values of {searched(study).name!r} are better"
        faults.append(Fault(pointer="/search/metric", code="no_direction", detail=detail))
    if faults:
        raise spec_faults.rejected(tuple(faults))


def _refusal(metric: Metric, spec: JobSpec) -> str | None:
    """Why a job will not have a metric; None if it will."""
    if metric.layers is None:
        known = numbers_of(spec.task)
        if metric.name in known:
            return None
        hint = "; of a layer, write MEASURE@LAYER" if "@" not in metric.name else ""
        return near_matches.refusal("metric", metric.name, known) + hint
    if not isinstance(spec, TrainingSpec):
        return f"the task {spec.task} has no layers: leave out {metric.name!r}"
    if metric.measure not in spec.record.measures:
        return near_matches.refusal("recorded measure", metric.measure, spec.record.measures)
    layers = [layer.name for layer in spec.geometry.layers]
    if not any(fnmatchcase(layer, metric.layers) for layer in layers):
        return near_matches.refusal("layer", metric.layers, layers)
    return None


def _without_validation(cells: Sequence[Cell]) -> list[Fault]:
    missing = [cell.arm for cell in cells if VALIDATION not in getattr(cell.spec, "evaluated", ())]
    if not missing:
        return []
    detail = f"the jobs of the arm {missing[0]} have no {VALIDATION}: with `value: last` the last evaluation counts"
    return [Fault(pointer="/value", code="no_validation", detail=detail)]


VALIDATION = "validation_accuracy"
"""The curve whose maximum decides which evaluation stands for a run, with `value: best_validation`."""


_DIRECTIONS: dict[str, bool] = {
    **dict.fromkeys((name for name in METRICS if "accuracy" in name), True),
    **dict.fromkeys(("recall_at_20", "ndcg_at_20", "steps_per_second"), True),
    **dict.fromkeys(("test_loss", "train_loss", "validation_loss", "nll", "ece", "brier", "seconds"), False),
    **dict.fromkeys(("nc1", "nc2_norms", "nc2_angles", "nc3", "nc4", "alignment", "uniformity"), False),
    **dict.fromkeys((name for name in ALL_MEASURES if name.startswith("mhe_")), False),
    **dict.fromkeys(("resultant_length", "coherence", "covering", "wasserstein_uniformity"), False),
    **dict.fromkeys(("separation", "min_angle", "log_det", "effective_rank"), True),
}
"""Whether higher is better, of numbers of results and of measures of layers: of these, what is more uniform."""
_FRACTIONS = frozenset({"recall_at_20", "ndcg_at_20", "ece"} | {name for name in METRICS if "accuracy" in name})
_NOT_OF_TEST_SET = frozenset(
    {"seconds", "steps_per_second"} | {name for name in METRICS if name.startswith(("train_", "validation_"))}
)
