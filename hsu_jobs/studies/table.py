"""What does the table of a study say? Each metric of each cell, each contrast with the baseline, each run.

The shape of the answer; `tabulating` makes it.
"""

from __future__ import annotations

from typing import Any

from hsu_jobs.results import Frozen, Label


class IntervalView(Frozen):
    """Between which values the mean is."""

    low: float
    high: float


class ContrastView(Frozen):
    """A cell beside that of the baseline, paired by seed. It answers whether new seeds would show a difference."""

    baseline: str
    """The label of the cell with which it is compared."""
    pairs: int
    same_start: int
    """Of these pairs, how many began with the same weights and saw the same first batches, by the hashes of their
    certificates."""
    difference: float | None
    """The mean of cell − baseline over the pairs, in the unit of the metric."""
    interval: IntervalView | None
    """Of the difference, Student's t; of this contrast alone."""
    p: float | None
    """Two-sided, of the sign-flip test of this contrast alone; null with fewer than two pairs."""
    p_adjusted: float | None
    """The same, adjusted for all contrasts of the study by the joint maximum of the same flips: this one decides."""
    p_holm: float | None
    """The same, adjusted by Holm's method."""
    hedges_g: float | None
    """The mean difference by the standard deviation of the differences, without its bias in small samples."""
    improvement: float | None
    """The share of pairs in which the cell is better, ties counted half."""
    finding: str
    """`arm_is_better`, `baseline_is_better`, `differs`, `not_shown` or `too_few_pairs`."""
    pairs_needed: int | None
    """With which a difference as large as the one seen would be shown with a probability of 0.8."""
    detectable: float | None
    """The smallest true difference that so many pairs show with a probability of 0.8."""
    depends_on_missing: bool | None
    """Whether the finding would be another if the missing runs had the worst or the best values; null if unknown."""
    verdict: str
    """What it shows and what it does not, in words."""


class CellView(Frozen):
    """A cell's values of one metric."""

    label: str
    """The arm, and its point of the axes: `mhe`, `mhe at lr=0.05`."""
    arm: str
    at: dict[str, Any]
    n: int
    """Runs that have a value."""
    missing: int
    """Runs that have none: they failed, have not ended, or ended without it."""
    mean: float | None
    sd: float | None
    interval: IntervalView | None
    """Of the mean, Student's t."""
    warning: str | None
    """What must be known to read the interval."""
    random: float | None
    """Of a measure of layers: the value of random points, the mean over the layers."""
    optimum: float | None
    """Of a measure of layers: the proven optimum, the mean over the layers; null where none is proven."""
    contrast: ContrastView | None
    """Null for the baseline itself, and where it has no counterpart."""


class MetricView(Frozen):
    """One metric of all cells."""

    metric: str
    higher_is_better: bool | None
    """Null where no direction is the better one."""
    contrasts: int
    """For how many contrasts p-values are adjusted."""
    flips: int
    """Of signs, that were counted."""
    is_exact: bool
    """Whether these are all; otherwise they were drawn, with a fixed seed."""
    cells: list[CellView]


class RunView(Frozen):
    """A run: every one stays visible behind the means."""

    cell: str
    seed: int | None
    """Null if it is not known: such a run has no pair."""
    job: int | None
    fingerprint: str | None
    state: str
    """Of its job; `unqueued` without one."""
    origin: str
    """`queued` by the study, `reused`, `enlisted` or `retried`."""
    is_current: bool
    """False for one that was run again."""
    failure: str | None
    """Why it failed."""
    values: dict[Label, float | None]
    """By metric; null for a number that it does not have."""
    gpu_seconds: float


class CostView(Frozen):
    """What a cell's runs cost, beside what they give."""

    label: str
    gpu_seconds: float | None
    """The mean of the runs that have succeeded."""
    seconds_per_step: float | None
    """The mean of the runs that say it."""
    is_efficient: bool | None
    """Whether no other cell has a better mean of the primary metric for fewer GPU seconds; null if that is unknown."""


class TrialView(Frozen):
    """One trial of a search."""

    number: int
    """From 0 on, in the order in which they began."""
    cell: str
    """The label of its cell, whose runs and values the table has too."""
    point: dict[str, Any]
    """The values of the searched fields, by JSON pointer."""
    has_ended: bool
    value: float | None
    """The mean of the search's metric over the seeds; null until it has ended, and if a run of it has no value."""


class SearchView(Frozen):
    """The search of an arm, at a point of the axes."""

    label: str
    arm: str
    at: dict[str, Any]
    sampler: str
    metric: str
    """By which trials are compared."""
    higher_is_better: bool
    budget: int
    """How many trials it gets."""
    trials: list[TrialView]
    """That have begun, in order."""
    best: int | None
    """The number of the best trial so far; null before the first value."""
    verdict: str
    """How far it is, and what is best so far, in words."""


class Table(Frozen):
    """What a study shows."""

    study: int
    name: str
    value: str
    """Which evaluation stands for a run."""
    confidence: float
    metrics: list[MetricView]
    searches: list[SearchView]
    """Of each arm, if the study has a search: the trials are its cells, which are not tested against each other."""
    costs: list[CostView]
    runs: list[RunView]
    notes: list[str]
    """What must be known to read it: what failed, what was added when, what was chosen on the test set."""
