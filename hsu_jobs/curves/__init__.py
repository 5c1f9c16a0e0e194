"""How are energy curves kept? As blocks: matrices of series × steps, small when written, merged when there are many.

    layout       which bytes is a block made of?
    batches      which bytes does a client send its points in?
    writing      how are new points written, and how are they rolled back?
    compaction   which blocks become one?
    lineage      which jobs hold a fork's curves, and under which numbers?
    extracts     how are some curves read out of blocks of many?
    reading      every point, between two steps
    long_reads   every point, of curves of any length, with little memory
    amounts      how much does a request read?
    sampling     a chart: minimum, maximum and last value of each bucket of steps

NaN and infinities come back as they were written, bit for bit.
"""

from hsu_jobs.curves.amounts import count, most_buckets, windows
from hsu_jobs.curves.batches import BadBatch, Columns, decode
from hsu_jobs.curves.layout import Point
from hsu_jobs.curves.lineage import LAST_STEP, Choice, Lines, Origin, are_there, find
from hsu_jobs.curves.long_reads import LongCurve, each
from hsu_jobs.curves.reading import Curve, read
from hsu_jobs.curves.sampling import Chart, Sampled, sample
from hsu_jobs.curves.writing import append, forget_ended, roll_back, write

__all__ = [
    "LAST_STEP",
    "BadBatch",
    "Chart",
    "Choice",
    "Columns",
    "Curve",
    "Lines",
    "LongCurve",
    "Origin",
    "Point",
    "Sampled",
    "append",
    "are_there",
    "count",
    "decode",
    "each",
    "find",
    "forget_ended",
    "most_buckets",
    "read",
    "roll_back",
    "sample",
    "windows",
    "write",
]
