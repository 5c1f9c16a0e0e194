"""How is the table of a study made of its runs? Values by cell, contrasts by seed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from hsu_jobs import queries
from hsu_jobs.studies import costs, evidence, metrics, notes, plan
from hsu_jobs.studies.evidence import Evidence
from hsu_jobs.studies.members import Member
from hsu_jobs.studies.metrics import Metric
from hsu_jobs.studies.search import report
from hsu_jobs.studies.table import CellView, ContrastView, IntervalView, MetricView, RunView, Table
from hsu_jobs.tables import StudyRow

if TYPE_CHECKING:
    from hsu_jobs.studies.statistics import Comparison, Contrast, Interval


def tabulate(session: Session, study: StudyRow) -> Table:
    """The table of a study, as far as its runs have ended."""
    found = evidence.gather(session, study)
    compared = [_metric(session, found, metric) for metric in metrics.of(found.spec)]
    labels = found.labels
    return Table(
        study=study.id,
        name=study.name,
        value=found.spec.value,
        confidence=found.spec.confidence,
        metrics=compared,
        searches=report.of(found),
        costs=costs.of(found, compared[0]),
        runs=[_run(found, run, labels[run.cell]) for run in found.runs],
        notes=notes.of(found, [cell.contrast for cell in compared[0].cells if cell.contrast]),
    )


def _metric(session: Session, found: Evidence, metric: Metric) -> MetricView:
    from hsu_jobs.studies import statistics

    paired = {
        label: {run.seed: found.value(run, metric) for run in found.of_cell(number) if run.seed is not None}
        for number, label in found.labels.items()
    }
    compared = statistics.compare(
        paired,
        baselines(found),
        higher_is_better=metric.higher_is_better,
        bounds=statistics.Bounds(*metric.bounds) if metric.bounds else None,
        level=found.spec.confidence,
    )
    starts = _starts(found)
    contrasts = {contrast.arm: _contrast(contrast, compared, metric, starts) for contrast in compared.contrasts}
    return MetricView(
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        contrasts=compared.tested,
        flips=compared.flips,
        is_exact=compared.is_exact,
        cells=[_cell(session, found, number, metric, contrasts.get(label)) for number, label in found.labels.items()],
    )


def baselines(found: Evidence) -> dict[str, str]:
    """The labels of the cells that are compared, each with that of the baseline at the same point of their axes.

    Trials of a search are not: they were chosen by what the earlier ones have given.
    """
    if found.spec.search:
        return {}
    name, labels = plan.baseline_of(found.spec), found.labels
    of_baseline = [(number, cell) for number, cell in found.cells.items() if cell.arm == name]
    return {
        labels[number]: labels[like]
        for number, cell in found.cells.items()
        if cell.arm != name
        for like, baseline in of_baseline
        if baseline.at.items() <= cell.at.items()
    }


def _cell(session: Session, found: Evidence, number: int, metric: Metric, contrast: ContrastView | None) -> CellView:
    from hsu_jobs.studies import statistics

    cell = found.cells[number]
    values = [found.value(run, metric) for run in found.of_cell(number)]
    described = statistics.describe(values, level=found.spec.confidence)
    random, optimum = _references(session, found, number, metric)
    return CellView(
        label=evidence.label(cell),
        arm=cell.arm,
        at=cell.at,
        n=described.n,
        missing=described.missing,
        mean=described.mean,
        sd=described.sd,
        interval=_interval(described.interval),
        warning=statistics.skewness_warning(described),
        random=random,
        optimum=optimum,
        contrast=contrast,
    )


def _interval(interval: Interval | None) -> IntervalView | None:
    return IntervalView(low=interval.low, high=interval.high) if interval else None


_Starts = dict[str, dict[int | None, tuple[object, object]]]
"""By cell and seed: the hashes of the first weights and of the first batches."""


def _starts(found: Evidence) -> _Starts:
    starts: _Starts = {label: {} for label in found.labels.values()}
    for number, label in found.labels.items():
        for run in found.done(number):
            certificate = (run.result or {}).get("certificate") or {}
            hashes = certificate.get("initial_weights"), certificate.get("first_batches")
            if None not in hashes:
                starts[label][run.seed] = hashes
    return starts


def _contrast(contrast: Contrast, compared: Comparison, metric: Metric, starts: _Starts) -> ContrastView:
    from hsu_jobs.studies import statistics

    found, improvement = contrast.p_values, contrast.effect.improvement
    own, others = starts[contrast.arm], starts[contrast.baseline]
    return ContrastView(
        baseline=contrast.baseline,
        pairs=contrast.difference.n,
        same_start=sum(own[seed] == others.get(seed) for seed in own if seed not in contrast.seeds_without_pair),
        difference=contrast.difference.mean,
        interval=_interval(contrast.difference.interval),
        p=found and found.p,
        p_adjusted=found and found.p_max_t,
        p_holm=found and found.p_holm,
        hedges_g=contrast.effect.hedges_g,
        improvement=improvement and improvement.share,
        finding=contrast.finding,
        pairs_needed=contrast.reach.pairs_needed,
        detectable=contrast.reach.detectable,
        depends_on_missing=contrast.depends_on_missing,
        verdict=statistics.verdict(contrast, compared, metric=metric.name),
    )


def _references(session: Session, found: Evidence, number: int, metric: Metric) -> tuple[float | None, float | None]:
    """Of a measure of layers: the mean of random points' values and of proven optima, over the layers that match."""
    done = found.done(number)
    if metric.layers is None or not done or done[0].job_id is None:
        return None, None
    rows = [
        row
        for row in session.execute(queries.series_of(done[0].job_id)).scalars()
        if row.measure == metric.measure and row.layer is not None and fnmatchcase(row.layer, metric.layers)
    ]
    return costs.mean(row.random for row in rows), costs.mean(row.optimum for row in rows)


def _run(found: Evidence, run: Member, label: str) -> RunView:
    failure = run.failure
    return RunView(
        cell=label,
        seed=run.seed,
        job=run.job_id,
        fingerprint=run.fingerprint,
        state=run.state,
        origin=run.origin,
        is_current=run.is_current,
        failure=f"{failure.get('code')}: {failure.get('message')}" if failure else None,
        values=found.numbers.get(run.id, {}),
        gpu_seconds=run.gpu_seconds,
    )
