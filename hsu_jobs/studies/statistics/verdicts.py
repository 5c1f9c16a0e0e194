"""What is said of a result in words? All sentences about statistics stand here.

A difference is shown, or not shown with so many pairs; no sentence says that there is none. Each has its numbers, and
says what they cannot show.
"""

from __future__ import annotations

from hsu_jobs.studies.statistics.cells import Cell
from hsu_jobs.studies.statistics.contrasts import Comparison, Contrast, Finding
from hsu_jobs.studies.statistics.examples import LEAST_P, ExamplesCompared
from hsu_jobs.studies.statistics.intervals import Interval
from hsu_jobs.studies.statistics.power import MOST_PAIRS, POWER
from hsu_jobs.studies.statistics.ranks import Ranking


def verdict(contrast: Contrast, comparison: Comparison, *, metric: str) -> str:
    """What a contrast shows about new seeds, and what it cannot, in one to three sentences."""
    match contrast.finding:
        case Finding.TOO_FEW_PAIRS:
            said = _too_few(contrast, comparison)
        case Finding.NOT_SHOWN:
            said = _not_shown(contrast, comparison, metric)
        case Finding.ARM_IS_BETTER | Finding.BASELINE_IS_BETTER | Finding.DIFFERS:
            said = _shown(contrast, comparison, metric)
    return " ".join(filter(None, [said, _missing(contrast)]))


def skewness_warning(cell: Cell) -> str | None:
    """What to say beside the interval of skewed values; None if nothing is noticed, which with few values means little.

    The shares are those of exponential values, measured by `benchmarks/study_statistics.py` (docs/statistics.md).
    """
    if not cell.is_skewed:
        return None
    return (
        f"These {cell.n} values are skewed (skewness {cell.skewness:.1f}): their 95 % interval may contain the true"
        f" mean less often than 95 %. Of exponential values, whose skewness is 2, it does in {_COVERED_IF_EXPONENTIAL}."
    )


_COVERED_IF_EXPONENTIAL = "88 % (5 values), 90 % (10) or 93 % (30)"


def examples_verdict(compared: ExamplesCompared, *, first: str, other: str, level: float = 0.95) -> str:
    """What the same test examples show of two arms' networks, and which question that answers."""
    networks = "its network" if compared.networks == 1 else f"its {compared.networks} networks"
    if compared.only_first_right == compared.only_other_right == 0:
        said = f"{first} and {other} are right on the same {compared.examples} test examples."
    else:
        numbers = (
            f"{100 * compared.difference:+.3g} percentage points, {_interval(compared.interval, scale=100)},"
            f" {_p(compared.p, least=LEAST_P)}, {compared.examples} examples"
        )
        if compared.p <= 1 - level:
            better, worse = (first, other) if compared.difference > 0 else (other, first)
            said = f"On new examples {better} with {networks} is shown to be right more often than {worse} ({numbers})."
        else:
            said = f"{compared.examples} examples do not show that {first} or {other} is right more often ({numbers})."
    return f"{said} This is about new examples for the networks as they are, not about new seeds."


def ranking_verdict(ranking: Ranking) -> str:
    """What the ranks over several data sets show."""
    arms, n = len(ranking.arms), len(ranking.datasets)
    p = f"Friedman's test with Iman and Davenport's correction, {_p(ranking.p_iman_davenport)}"
    said = (
        f"Over {n} data sets the ranks of the {arms} arms are shown to differ ({p})."
        if ranking.p_iman_davenport <= 1 - ranking.level
        else f"{n} data sets do not show that the ranks of the {arms} arms differ ({p})."
    )
    if ranking.critical_difference > arms - 1:
        return (
            f"{said} No two of them could be told apart by Nemenyi's test: their average ranks would have to differ by"
            f" {ranking.critical_difference:.2f}, and can differ by {arms - 1}."
        )
    return (
        f"{said} Two arms are told apart if their average ranks differ by more than {ranking.critical_difference:.2f}"
        f" (Nemenyi's test)."
    )


def _shown(contrast: Contrast, comparison: Comparison, metric: str) -> str:
    is_higher = (contrast.difference.mean or 0) > 0
    said = (
        f"{contrast.arm} is shown to have a {'higher' if is_higher else 'lower'} {metric} than {contrast.baseline}"
        f" ({contrast.difference.n} pairs, {_numbers(contrast, comparison)})"
    )
    if contrast.finding is Finding.DIFFERS:
        return f"{said}."
    better = contrast.arm if contrast.finding is Finding.ARM_IS_BETTER else contrast.baseline
    return f"{said}; {'higher' if comparison.higher_is_better else 'lower'} is better, so {better} is the better one."


def _not_shown(contrast: Contrast, comparison: Comparison, metric: str) -> str:
    n = contrast.difference.n
    if contrast.difference.mean == 0 == contrast.difference.sd:
        return f"{contrast.arm} and {contrast.baseline} have the same {metric} in all {n} pairs."
    said = (
        f"{n} pairs do not show a difference in {metric} between {contrast.arm} and {contrast.baseline}"
        f" ({_numbers(contrast, comparison)})."
    )
    return " ".join(filter(None, [said, _alone(contrast, comparison), _detectable(contrast), _needed(contrast)]))


def _alone(contrast: Contrast, comparison: Comparison) -> str:
    """Why an interval may leave 0 out though nothing is shown."""
    assert contrast.p_values is not None
    if comparison.tested < 2 or contrast.p_values.p > 1 - comparison.level:
        return ""
    return f"Not adjusted for the {comparison.tested} contrasts of the study, {_p(contrast.p_values.p)}."


def _detectable(contrast: Contrast) -> str:
    if contrast.reach.detectable is not None:
        return (
            f"A true difference of {contrast.reach.detectable:.3g} would have been shown with a probability of {POWER}."
        )
    if contrast.difference.sd == 0:
        return ""
    return f"{contrast.difference.n} pairs are so few that every pair would have had to agree."


def _needed(contrast: Contrast) -> str:
    pairs = contrast.reach.pairs_needed
    if not contrast.difference.sd:
        return ""
    if contrast.difference.mean == 0:
        return "The mean difference seen is 0, which no number of pairs would show."
    if pairs is None:
        return f"If the difference truly is as small as seen, it would take more than {MOST_PAIRS:,} pairs to show it."
    if pairs > contrast.difference.n:
        return (
            f"If the difference truly is as large as seen, about {_rounded(pairs):,} pairs would show it with a"
            f" probability of {POWER}."
        )
    return ""


def _too_few(contrast: Contrast, comparison: Comparison) -> str:
    n, reach = contrast.difference.n, contrast.reach
    pairs = f"{contrast.arm} and {contrast.baseline} have {_counted(n, 'pair')}"
    alpha = 1 - comparison.level
    if n == 0:
        return f"{pairs} of runs with the same seed, so nothing can be compared."
    return (
        f"{pairs}: too few to test, as no p-value of so few is below {reach.smallest_p:.3g}."
        f" From {reach.fewest_pairs} pairs on, it can be {alpha:.3g} or less."
    )


def _missing(contrast: Contrast) -> str:
    if contrast.depends_on_missing is False:
        return ""
    if contrast.depends_on_missing is None:
        return f"{_absent(contrast)}, and as the metric has no bounds it is not known what they could change."
    return f"{_absent(contrast)}: with the worst or the best values in their place, the result would be another."


def _absent(contrast: Contrast) -> str:
    count = len(contrast.seeds_without_pair)
    if not count:
        return "Members of other arms are missing"
    of_all = count + contrast.difference.n
    return f"{_counted(count, 'pair')} of {of_all} {'is' if count == 1 else 'are'} missing"


def _numbers(contrast: Contrast, comparison: Comparison) -> str:
    difference, p_values = contrast.difference, contrast.p_values
    assert difference.mean is not None
    assert p_values is not None
    interval = "all differences are equal" if difference.sd == 0 else _interval(difference.interval)
    adjusted = "adjusted " if comparison.tested > 1 else ""
    return f"mean difference {difference.mean:+.3g}, {interval}, {adjusted}{_p(p_values.p_max_t)}"


def _interval(interval: Interval | None, *, scale: float = 1) -> str:
    assert interval is not None
    return f"{100 * interval.level:.3g} % interval {scale * interval.low:+.3g} to {scale * interval.high:+.3g}"


def _p(p: float, *, least: float = 1e-4) -> str:
    return f"p = {p:.3g}" if p > least else f"p ≤ {least:g}"


def _rounded(count: int) -> int:
    """To two digits: more would promise too much."""
    return round(count, -max(0, len(str(count)) - 2))


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
