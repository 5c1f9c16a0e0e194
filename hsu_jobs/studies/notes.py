"""What must somebody know before they trust the table of a study?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hsu_jobs.states import State
from hsu_jobs.studies.evidence import Evidence
from hsu_jobs.studies.search import report
from hsu_jobs.studies.table import ContrastView

MOST_NAMED = 20
"""Runs that one note names."""


def of(evidence: Evidence, contrasts: Sequence[ContrastView]) -> list[str]:
    """The notes, in sentences; `contrasts`: of the primary metric."""
    return [
        *_on_values(evidence),
        *report.notes(evidence),
        *_on_seeds(evidence),
        *_on_pairs(contrasts),
        *_on_extensions(evidence),
        *_on_missing(evidence),
    ]


def _on_values(evidence: Evidence) -> Iterator[str]:
    if evidence.spec.value == "best":
        yield (
            "A run's best evaluation stands for it. It was chosen on the data that it is measured on, so the values "
            "are too good: compare them with each other, and not with other work."
        )


def _on_seeds(evidence: Evidence) -> Iterator[str]:
    if len({run.seed for run in evidence.runs}) < 2:
        yield "There is one seed: how much a value depends on the seed is not known, and nothing can be tested."


def _on_pairs(contrasts: Sequence[ContrastView]) -> Iterator[str]:
    pairs, same = sum(each.pairs for each in contrasts), sum(each.same_start for each in contrasts)
    if not pairs:
        return
    if same == pairs:
        yield f"In all {pairs} pairs both runs began with the same weights and saw the same batches (by their hashes)."
    else:
        yield (
            f"In {same} of {pairs} pairs both runs began with the same weights and saw the same batches (by their "
            "hashes). In the others they did not, or it is not known: their seeds have less in common."
        )


def _on_extensions(evidence: Evidence) -> Iterator[str]:
    for extension in evidence.study.extensions:
        added = [f"{what} {', '.join(map(str, extension[what]))}" for what in ("seeds", "arms") if extension[what]]
        yield (
            f"Extended by {' and '.join(added)} on {extension['at'][:10]}, after {extension['ended']} of "
            f"{extension['runs']} runs had ended: whoever extends a study because of what it shows will find more "
            "differences than there are."
        )


def _on_missing(evidence: Evidence) -> Iterator[str]:
    labels = evidence.labels
    for state, what in ((State.FAILED, "failed"), (State.CANCELLED, "were cancelled")):
        missing = [run for run in evidence.runs if run.is_current and run.state == state]
        named = [f"{labels[run.cell]} with seed {run.seed} (job {run.job_id})" for run in missing[:MOST_NAMED]]
        if missing:
            more = f", and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
            yield f"Missing, because they {what}: {', '.join(named)}{more}."
    if again := sum(not run.is_current for run in evidence.runs):
        yield f"Run again: {again}. Of each such run the last one counts."
