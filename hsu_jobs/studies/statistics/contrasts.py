"""Does an arm differ from the baseline? Runs of the same seed are compared, and all arms of a study together."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from hsu_jobs.studies.statistics import cells, effects, holm, intervals, missing, pairing, power, sign_flips
from hsu_jobs.studies.statistics.cells import Cell
from hsu_jobs.studies.statistics.effects import Effect
from hsu_jobs.studies.statistics.intervals import Floats
from hsu_jobs.studies.statistics.missing import Bounds
from hsu_jobs.studies.statistics.pairing import Members, Values
from hsu_jobs.studies.statistics.power import Reach


class Finding(StrEnum):
    """What a contrast shows. That there is no difference is never shown."""

    ARM_IS_BETTER = "arm_is_better"
    BASELINE_IS_BETTER = "baseline_is_better"
    DIFFERS = "differs"
    """They differ, in a metric of which no direction is the better one."""
    NOT_SHOWN = "not_shown"
    TOO_FEW_PAIRS = "too_few_pairs"
    """So few that no differences whatever could be shown."""


class PValues(NamedTuple):
    """Two-sided p-values of the sign-flip test; their sources: `sign_flips` and `holm`."""

    p: float
    """Of this contrast alone."""
    p_max_t: float
    """Adjusted for all contrasts of the study by the joint maximum of the same flips: this one decides."""
    p_holm: float
    """Adjusted by Holm's method, which needs no joint flips and seldom shows more."""


class Contrast(NamedTuple):
    """An arm beside its baseline."""

    arm: str
    baseline: str
    difference: Cell
    """Of the differences arm − baseline, one a pair, in the unit of the metric: positive where the arm's value is
    higher, be that better or not. Its interval is of this contrast alone, not adjusted for the others."""
    seeds_without_pair: tuple[int, ...]
    """Seeds that some arm names, but of which this arm or the baseline has no usable value."""
    p_values: PValues | None
    """None with fewer than two pairs."""
    effect: Effect
    reach: Reach
    finding: Finding
    depends_on_missing: bool | None
    """Whether the finding would be another if the missing members, of other arms too, had the worst or the best values
    (see `missing`); None if members of its own are missing and the metric has no bounds."""


class Comparison(NamedTuple):
    """All contrasts of a study, for one metric."""

    contrasts: tuple[Contrast, ...]
    """In the order in which the arms were given."""
    tested: int
    """Contrasts in the family for which p-values are adjusted: those with two pairs or more."""
    is_exact: bool
    """Whether all flips of signs were tried, and not a sample drawn."""
    flips: int
    higher_is_better: bool | None
    level: float
    """Of the intervals; a difference is shown if the adjusted p is at most 1 − level."""


def compare(
    values: Values,
    baseline: str | Mapping[str, str],
    *,
    higher_is_better: bool | None,
    bounds: Bounds | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare every arm with the baseline, or with its own one where `baseline` maps arms to theirs, paired by seed.

    Where no direction is known to be better, `higher_is_better` is None. `bounds` are the metric's own, for
    `depends_on_missing`. `seed` is for the flips that are drawn where there are more than `sign_flips.EXACT_UP_TO`
    seeds. ValueError: no such baseline, a level that is none, values outside the bounds.
    """
    intervals.checked_level(level)
    members = pairing.members(values, baseline)
    flipped = sign_flips.p_values(members.differences, seed=seed)
    family = _Family(flipped.p, flipped.p_max_t, holm.adjusted(flipped.p), higher_is_better, level)
    findings = family.findings(members.differences)
    depend = _depend_on_missing(members, findings, bounds, family, seed)
    contrasts = [
        family.contrast(members, row, finding=found, depends_on_missing=depends)
        for row, (found, depends) in enumerate(zip(findings, depend, strict=True))
    ]
    return Comparison(tuple(contrasts), family.size, flipped.is_exact, flipped.flips, higher_is_better, level)


class _Family(NamedTuple):
    """The p-values of all contrasts, and what is made of them."""

    p: Floats
    p_max_t: Floats
    p_holm: Floats
    higher_is_better: bool | None
    level: float

    @property
    def size(self) -> int:
        return int(np.isfinite(self.p).sum())

    @property
    def alpha(self) -> float:
        return 1 - self.level

    def findings(self, differences: Floats) -> list[Finding]:
        return [self._finding(row[np.isfinite(row)], p) for row, p in zip(differences, self.p_max_t, strict=True)]

    def _finding(self, differences: Floats, p: float) -> Finding:
        if len(differences) < power.fewest_pairs(alpha=self.alpha):
            return Finding.TOO_FEW_PAIRS
        if not p <= self.alpha:
            return Finding.NOT_SHOWN
        if self.higher_is_better is None:
            return Finding.DIFFERS
        is_higher = bool(differences.mean() > 0)
        return Finding.ARM_IS_BETTER if is_higher == self.higher_is_better else Finding.BASELINE_IS_BETTER

    def contrast(self, members: Members, row: int, *, finding: Finding, depends_on_missing: bool | None) -> Contrast:
        differences = members.differences[row]
        has_pair = np.isfinite(differences)
        paired = differences[has_pair]
        cell = cells.describe(differences, level=self.level)
        size = effects.effect(paired, cell.sd, higher_is_better=self.higher_is_better is not False, level=self.level)
        seeds = zip(members.seeds, has_pair.tolist(), strict=True)
        return Contrast(
            arm=members.arms[row],
            baseline=members.baselines[row],
            difference=cell,
            seeds_without_pair=tuple(seed for seed, has in seeds if not has),
            p_values=self._p_values(row),
            effect=size,
            reach=self._reach(cell, size),
            finding=finding,
            depends_on_missing=depends_on_missing,
        )

    def _p_values(self, row: int) -> PValues | None:
        p, p_max_t, p_holm = (float(every[row]) for every in (self.p, self.p_max_t, self.p_holm))
        return PValues(p, p_max_t, p_holm) if np.isfinite(p) else None

    def _reach(self, cell: Cell, size: Effect) -> Reach:
        dz = size.dz if size.hedges_g is None else size.hedges_g
        return power.reach(cell.n, dz=dz, sd=cell.sd, contrasts=max(1, self.size), alpha=self.alpha)


def _depend_on_missing(
    members: Members, findings: list[Finding], bounds: Bounds | None, family: _Family, seed: int
) -> list[bool | None]:
    """Of each contrast whether its finding is another where the missing members have extreme values."""
    is_complete = [bool(row.all()) for row in np.isfinite(members.differences)]
    if bounds is None:
        return [False if complete else None for complete in is_complete]
    extremes = missing.extremes(members, bounds)
    if all(is_complete):
        return [False] * len(findings)
    others = [_findings_of(every, family, seed) for every in extremes]
    return [any(found != finding for found in row) for finding, *row in zip(findings, *others, strict=True)]


def _findings_of(members: Members, family: _Family, seed: int) -> list[Finding]:
    flipped = sign_flips.p_values(members.differences, seed=seed)
    return family._replace(p_max_t=flipped.p_max_t).findings(members.differences)
