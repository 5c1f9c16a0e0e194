"""Do the statistics of studies keep what they promise? Simulated, where the truth is known.

    python benchmarks/study_statistics.py [--studies 2000] [--samples 20000] [--seed 0]

prints the tables of docs/statistics.md, with the functions that reports use: how often a 95 % interval contains the
mean, and how often a cell is called skewed; how often a study of 7 arms calls a false difference shown; which share of
true ones it shows, by the joint maximum and by Holm's method; whether a difference that is called detectable is shown 8
times in 10; how often two alike arms are said to differ on new examples; and what a study takes. Exit status 1 if, of
normal values, an interval covers less than 94 or more than 97 %, or a false difference is shown in more than 5.5 % of
the studies.

A run's value is what its seed does (standard deviation 1, the same for all arms), plus its own part (1), plus its arm's
effect, so effects are in standard deviations of a run's own part; what seeds do cancels in the pairs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hsu_jobs.studies import statistics
from hsu_jobs.studies.statistics import Comparison, Finding, Values
from hsu_jobs.studies.statistics.examples import mcnemar

Draw = Callable[[Generator, tuple[int, ...]], NDArray[np.float64]]

LEVEL, ALPHA = 0.95, 0.05
SIZES = (5, 10, 30)
ARMS = 7
"""The baseline is one of them."""
EFFECT = 1.5
SHOWN = (Finding.ARM_IS_BETTER, Finding.BASELINE_IS_BETTER)


def _normal(random: Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return random.normal(size=shape)


def _exponential(random: Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return random.exponential(size=shape) - 1


def _difference(random: Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return random.exponential(size=shape) - random.exponential(size=shape)


CELLS: dict[str, Draw] = {"normal": _normal, "exponential": _exponential, "exp. − exp.": _difference}
"""Each with the mean 0. The last is what the difference of two runs is whose values are exponential."""
RUNS: dict[str, Draw] = {"normal": _normal, "exponential": _exponential}
"""The own part of a run."""


class Covered(NamedTuple):
    """Shares of cells."""

    covered: float
    skewed: float


def coverage(draw: Draw, n: int, *, samples: int, random: Generator) -> Covered:
    """How often an interval of n values contains the mean, and how often they are called skewed."""
    cells = [statistics.describe(row, level=LEVEL) for row in draw(random, (samples, n)).tolist()]
    inside = [cell.interval is not None and cell.interval.low <= 0 <= cell.interval.high for cell in cells]
    return Covered(float(np.mean(inside)), float(np.mean([cell.is_skewed for cell in cells])))


def studies(draw: Draw, effects: Iterable[float], seeds: int, *, count: int, random: Generator) -> Iterator[Comparison]:
    """So many studies of a baseline and an arm for each effect."""
    shifts = np.array([0.0, *effects])[:, None]
    for number in range(count):
        values = random.normal(size=seeds) + draw(random, (len(shifts), seeds)) + shifts
        yield statistics.compare(_named(values), "arm0", higher_is_better=True, level=LEVEL, seed=number)


def _named(values: NDArray[np.float64]) -> Values:
    return {f"arm{arm}": dict(enumerate(row)) for arm, row in enumerate(values.tolist())}


class Rates(NamedTuple):
    """Of the first arms, which have no effect: the share of studies that show one. Of the others: the share shown."""

    errors: float
    errors_holm: float
    power: float
    power_holm: float


def rates(draw: Draw, effects: tuple[float, ...], seeds: int, *, count: int, random: Generator) -> Rates:
    """What the joint maximum and Holm's method show in so many studies."""
    shown, shown_holm = [], []
    for study in studies(draw, effects, seeds, count=count, random=random):
        shown.append([one.finding in SHOWN for one in study.contrasts])
        shown_holm.append([one.p_values is not None and one.p_values.p_holm <= ALPHA for one in study.contrasts])
    is_null = np.array(effects) == 0
    found = [np.array(each, dtype=bool) for each in (shown, shown_holm)]
    errors = [float(each[:, is_null].any(axis=1).mean()) for each in found]
    powers = [float(each[:, ~is_null].mean()) if not is_null.all() else 0.0 for each in found]
    return Rates(errors[0], errors[1], powers[0], powers[1])


class ExamplesRates(NamedTuple):
    """Of two arms that are alike over new examples: shares of comparisons."""

    covered: float
    """Whose interval contains 0."""
    errors: float
    errors_of_sums: float
    """The same of one McNemar's test of the counts of all networks, which nobody should do."""


def example_rates(networks: int, *, count: int, examples: int = 1000, random: Generator) -> ExamplesRates:
    """Compare arms whose networks share what is hard: for both arms, and by chance for one of them."""
    found = []
    for number in range(count):
        ease = random.beta(4, 1, examples) + 0.2 * random.normal(size=(2, 1, examples))
        first, other = random.random((2, networks, examples)) < ease
        one = statistics.compare_examples(first, other, resamples=999, seed=number)
        summed = mcnemar(one.only_first_right, one.only_other_right)
        found.append((one.interval.low <= 0 <= one.interval.high, one.p <= ALPHA, summed <= ALPHA))
    return ExamplesRates(*np.mean(found, axis=0).tolist())


def milliseconds(arms: int, seeds: int, *, missing: int, random: Generator) -> float:
    """Of the fastest of five comparisons, with their verdicts."""
    values: dict[str, dict[int, float | None]] = {
        f"arm{arm}": dict(enumerate((0.5 + 0.01 * random.normal(size=seeds)).tolist())) for arm in range(arms)
    }
    for seed in range(missing):
        values["arm1"][seed] = None
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        study = statistics.compare(values, "arm0", higher_is_better=True, bounds=statistics.Bounds(0, 1))
        for contrast in study.contrasts:
            statistics.verdict(contrast, study, metric="test_accuracy")
        taken.append(1e3 * (time.perf_counter() - began))
    return min(taken)


def main() -> int:
    """Print the tables; the status says whether the promises are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    kept = [*_print_coverage(options.samples, random), *_print_errors(options.studies, random)]
    _print_power(options.studies, random)
    _print_detectable(options.studies, random)
    _print_examples(options.studies, random)
    _print_times(random)
    return 0 if all(kept) else 1


def _print_coverage(samples: int, random: Generator) -> Iterator[bool]:
    print(f"95 % intervals of a cell's mean, {samples} samples: contain it %, called skewed %")
    for name, draw in CELLS.items():
        found = [coverage(draw, n, samples=samples, random=random) for n in SIZES]
        row = "  ".join(f"n={n} {of(one.covered)} {of(one.skewed)}" for n, one in zip(SIZES, found, strict=True))
        print(f"  {name:<12} {row}", flush=True)
        yield name != "normal" or all(0.94 <= one.covered <= 0.97 for one in found)


def _print_errors(count: int, random: Generator) -> Iterator[bool]:
    print(f"false differences in studies of {ARMS} arms, {count} studies: joint maximum %, Holm %")
    for name, draw in RUNS.items():
        for half in (0, 3):
            effects = (0.0,) * (ARMS - 1 - half) + (EFFECT,) * half
            for seeds in (6, 8, 10, 20):
                found = rates(draw, effects, seeds, count=count, random=random)
                print(
                    f"  {name:<12} {half} arms with an effect, {seeds:>2} seeds"
                    f" {of(found.errors)} {of(found.errors_holm)}",
                    flush=True,
                )
                yield name != "normal" or found.errors <= 0.055


def _print_power(count: int, random: Generator) -> None:
    print(f"true differences shown, 3 of 6 arms with an effect of {EFFECT}, {count} studies: joint maximum %, Holm %")
    for seeds in (6, 8, 10, 20):
        found = rates(_normal, (0.0,) * 3 + (EFFECT,) * 3, seeds, count=count, random=random)
        print(f"  {seeds:>2} pairs {of(found.power)} {of(found.power_holm)}", flush=True)


def _print_detectable(count: int, random: Generator) -> None:
    print(f"a difference that is called detectable is shown, {count} studies: % with 1 contrast, with 6")
    for seeds in (7, 8, 10, 20):
        row = []
        for contrasts in (1, 6):
            dz = statistics.detectable_dz(seeds, contrasts=contrasts)
            assert dz is not None
            effects = (0.0,) * (contrasts - 1) + (dz * 2**0.5,)  # a difference has √2 of a run's own deviation
            row.append(of(rates(_normal, effects, seeds, count=count, random=random).power))
        print(f"  {seeds:>2} pairs {' '.join(row)}", flush=True)


def _print_examples(count: int, random: Generator) -> None:
    print(f"alike arms, 1000 examples, {count} pairs: interval contains 0 %, said to differ %, if counts were summed %")
    for networks in (1, 5, 10):
        found = example_rates(networks, count=count, random=random)
        print(f"  {networks:>2} networks {of(found.covered)} {of(found.errors)} {of(found.errors_of_sums)}", flush=True)


def _print_times(random: Generator) -> None:
    print("milliseconds of a comparison with its sentences: all members there, two missing")
    for arms, seeds in ((7, 10), (7, 16), (20, 50)):
        row = [milliseconds(arms, seeds, missing=missing, random=random) for missing in (0, 2)]
        print(f"  {arms:>2} arms, {seeds} seeds {row[0]:>6.1f} {row[1]:>6.1f}")


def of(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:>5.1f}"


if __name__ == "__main__":
    sys.exit(main())
