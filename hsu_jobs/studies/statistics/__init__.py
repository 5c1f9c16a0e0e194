"""What do the runs of a study show? Numbers go in, and numbers and sentences come out.

    intervals    between which values is a mean, or a share?
    cells        what do the values of one cell say?
    pairing      which values stand beside each other?
    sign_flips   how often would chance alone give such differences?
    holm         how are p-values adjusted if nothing is known of what they have in common?
    effects      how large is a difference, and how often is it one for the better?
    power        what can n pairs show?
    missing      could the members that are missing change a result?
    contrasts    does an arm differ from the baseline?
    ranks        which arms are better over several data sets?
    examples     would new test examples show a difference?
    verdicts     what is said of a result in words?

Knows arrays; knows no jobs, rows, HTTP or torch. It imports `scipy.special`, which takes a quarter of a second: import
the room where a report is made, not at the top of a module that the API loads.
"""

from hsu_jobs.studies.statistics.cells import Cell, describe
from hsu_jobs.studies.statistics.contrasts import Comparison, Contrast, Finding, PValues, compare
from hsu_jobs.studies.statistics.effects import Effect, Improvement
from hsu_jobs.studies.statistics.examples import ExamplesCompared, compare_examples
from hsu_jobs.studies.statistics.intervals import Interval
from hsu_jobs.studies.statistics.missing import Bounds
from hsu_jobs.studies.statistics.pairing import Values
from hsu_jobs.studies.statistics.power import Reach, detectable_dz, fewest_pairs, pairs_needed, power, smallest_p
from hsu_jobs.studies.statistics.ranks import Ranking, rank
from hsu_jobs.studies.statistics.verdicts import examples_verdict, ranking_verdict, skewness_warning, verdict

__all__ = [
    "Bounds",
    "Cell",
    "Comparison",
    "Contrast",
    "Effect",
    "ExamplesCompared",
    "Finding",
    "Improvement",
    "Interval",
    "PValues",
    "Ranking",
    "Reach",
    "Values",
    "compare",
    "compare_examples",
    "describe",
    "detectable_dz",
    "examples_verdict",
    "fewest_pairs",
    "pairs_needed",
    "power",
    "rank",
    "ranking_verdict",
    "skewness_warning",
    "smallest_p",
    "verdict",
]
