"""What does the table of a study say of a search? Its trials in order, the best so far, and what that does not say."""

from __future__ import annotations

from collections.abc import Iterator

from hsu_jobs.studies import metrics, plan
from hsu_jobs.studies.evidence import Evidence, label, label_of
from hsu_jobs.studies.search import trials
from hsu_jobs.studies.search.spec import Search
from hsu_jobs.studies.search.trials import Trial
from hsu_jobs.studies.table import SearchView, TrialView
from hsu_jobs.tables import SearchRow


def of(found: Evidence) -> list[SearchView]:
    """The searches of a study."""
    search = found.spec.search
    return [_view(found, search, row) for row in found.searches] if search else []


def notes(found: Evidence) -> Iterator[str]:
    """What must be known of the winners."""
    search = found.spec.search
    if search is None:
        return
    metric = metrics.searched(found.spec)
    if metric.is_of_test_set:
        yield (
            f"The trials were compared by {metric.name}, on the test set. The winners were chosen on the data that "
            "they are measured on, and their values are too good: do not compare them with other work."
        )
    yield (
        f"The winner of a search has the best of many noisy values of {metric.name}: part of what makes it the best "
        "is chance. Nothing is tested between the winners. To compare them, submit a study with their points as arms "
        f"and other seeds than {', '.join(map(str, found.spec.all_seeds[:10]))}"
        f"{', …' if len(found.spec.all_seeds) > 10 else ''}."
    )
    if impossible := [label(cell) for cell in found.cells.values() if cell.trial is not None and cell.spec is None]:
        yield f"No spec has the values of these trials together, and they have no run: {', '.join(impossible[:20])}."


def _view(found: Evidence, search: Search, row: SearchRow) -> SearchView:
    metric = metrics.searched(found.spec)
    every = trials.of(row, found.cells.values(), found.runs, found.numbers, metric)
    best = trials.best(every, higher_is_better=bool(metric.higher_is_better))
    budget = trials.budget(search, trials.space_of(search, row))
    name = label_of(row.arm, row.at)
    return SearchView(
        label=name,
        arm=row.arm,
        at=row.at,
        sampler=search.sampler,
        metric=metric.name,
        higher_is_better=bool(metric.higher_is_better),
        budget=budget,
        trials=[_trial(found, trial) for trial in every],
        best=best and best.number,
        verdict=_verdict(name, metric.name, every, best, budget),
    )


def _trial(found: Evidence, trial: Trial) -> TrialView:
    assert trial.cell is not None
    return TrialView(
        number=trial.number,
        cell=found.labels[trial.cell],
        point=trial.point,
        has_ended=trial.has_ended,
        value=trial.value,
    )


def _verdict(name: str, metric: str, every: list[Trial], best: Trial | None, budget: int) -> str:
    ended = sum(trial.has_ended for trial in every)
    far = f"{name}: {ended} of {budget} trials have ended"
    if best is None:
        return f"{far}, and none has a value of {metric}."
    where = f" at {plan.shown(best.point)}" if best.point else ""
    return f"{far}; the best so far is trial {best.number}{where}, with {metric} = {best.value:.6g}."
