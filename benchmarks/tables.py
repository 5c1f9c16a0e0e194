"""What does a penalty on a large embedding table cost, in units of its GEMM floor?

    python benchmarks/tables.py [--rows 10000] [--width 64] [--rounds 7]

Forward and backward of the penalty of one table, one thread, processor time. Floor: the time that 4n²d FLOPs take at
the rate of a 1024×1024 product, measured before and after each penalty. Medians of the ratios, lowest and highest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from hsu_core import regularizers, spec

FORMS: dict[str, spec.LayerPenalty] = {
    "mhe, half space": spec.MHE(),
    "mhe, full space": spec.MHE(half_space=False),
    "mhe, half space, bf16 products": spec.MHE(low_precision=True),
    "mhs": spec.MHS(),
    "mhp": spec.MHP(),
    "mhc": spec.MHC(),
    "mma": spec.MMA(),
    "lloyd, 100 samples": spec.Lloyd(),
    "sliced_dispersion, 1 circle": spec.SlicedDispersion(),
    "sliced_dispersion, 20 circles": spec.SlicedDispersion(circles=20),
}
SIDE, PRODUCTS = 1024, 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    square = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def floor() -> float:
        seconds = _processor_time(lambda: [square @ square for _ in range(PRODUCTS)])
        return seconds * 4 * given.rows**2 * given.width / (PRODUCTS * 2 * SIDE**3)

    runs = {name: _penalty(chosen, given.rows, given.width) for name, chosen in FORMS.items()}
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(given.rounds + 1):
        for name, run in runs.items():
            before, taken, after = floor(), _processor_time(run), floor()
            ratios[name].append(2 * taken / (before + after))
    print(
        f"a table of {given.rows:,} × {given.width}: time over its GEMM floor\n\n| penalty | median | lowest, highest |"
    )
    print("|---|---|---|")
    for name, found in ratios.items():
        kept = found[1:]
        print(f"| {name} | {statistics.median(kept):.3f} | {min(kept):.3f}, {max(kept):.3f} |")


def _penalty(chosen: spec.LayerPenalty, rows: int, width: int) -> Callable[[], None]:
    model = nn.Sequential(nn.Embedding(rows, width), nn.Linear(width, 2))
    penalty = regularizers.build(chosen.model_copy(update={"layers": ("0",)}), model)
    return lambda: penalty(0, lr=0.1).backward()


def _processor_time(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
