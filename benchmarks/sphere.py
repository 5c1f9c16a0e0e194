"""Does `hsu_core.sphere.optimize` reach what is known? Every entry of the reference table, from random starts.

    OMP_NUM_THREADS=1 python benchmarks/sphere.py [--seed 0] [--only separation]

prints one row an entry: the value in the table's unit (sums over pairs, degrees), the best known value, how much worse
the one reached is, seconds and starts; then fixed configurations whose worst pole is known. Exit status 1 if a row
misses its tolerance.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hsu_core import sphere
from hsu_core.measures.optima import best_known
from hsu_core.spec.objectives import Covering, GramDeterminant, Objective, Polarization, Riesz, Separation

ON_S2 = (2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 32)
TAMMES = (4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 20, 24)
SIMPLICES = ((4, 3), (5, 4), (9, 8), (10, 64), (100, 256))
ORTHONORMAL = ((3, 3), (8, 8), (16, 64), (64, 576))
COVERINGS = (4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 16)


class Entry(NamedTuple):
    """One thing to reach."""

    objective: Objective
    n: int
    d: int
    tolerance: float
    half_space: bool = False
    is_relative: bool = False
    in_degrees: bool = False

    def shown(self, value: float) -> float:
        """A value in the unit of the tables: energies on S² as sums, distances there as degrees."""
        if self.in_degrees:
            return sphere.angle_degrees(value)
        return value * math.comb(self.n, 2) if self.is_relative else value


def entries() -> Iterator[Entry]:
    """What is placed: the reference table's entries, then coverings and polarizations."""
    for s, tolerance in ((1.0, 1e-9), (0.0, 1e-8), (2.0, 1e-8)):
        yield from (Entry(Riesz(s=s), n, 3, tolerance, is_relative=True) for n in ON_S2)
    yield from (Entry(Separation(), n, 3, 1e-5, in_degrees=True) for n in TAMMES)
    for n, d in SIMPLICES:
        yield from (Entry(Riesz(s=s), n, d, 1e-10) for s in (0.0, 1.0, 2.0))
        yield Entry(Separation(), n, d, 1e-10)
    for n, d in ORTHONORMAL:
        for s, angular in itertools.product((0.0, 1.0, 2.0), (False, True)):
            yield Entry(Riesz(s=s, angular=angular), n, d, 1e-10, half_space=True)
    yield Entry(GramDeterminant(), 100, 256, 1e-10)
    yield from (Entry(GramDeterminant(), n, 256, 1e-10, half_space=True) for n in (64, 128))
    yield Entry(Polarization(), 4, 8, 1e-9, half_space=True)
    yield Entry(Covering(), 4, 8, 1e-9, half_space=True)
    yield from (Entry(Polarization(), d + 1, d, 1e-9) for d in (3, 8))
    yield from (Entry(Covering(), n, 3, 1e-5, in_degrees=True) for n in COVERINGS)


def main() -> int:
    """Print the table; the status says whether all was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="an objective's kind")
    options = parser.parse_args()
    print(f"{'entry':<44} {'reached':>18} {'best known':>18} {'gap':>9} {'seconds':>8} {'starts':>7}")
    began = time.perf_counter()
    rows = [_row(entry, options.seed) for entry in entries() if entry.objective.kind.startswith(options.only)]
    print(f"{len(rows)} entries, {rows.count(False)} missed, {time.perf_counter() - began:.1f} s")
    fixed = [_fixed_row(*row) for row in _fixed()]
    return 0 if all(rows + fixed) else 1


def _row(entry: Entry, seed: int) -> bool:
    began = time.perf_counter()
    found = sphere.optimize(entry.n, entry.d, entry.objective, half_space=entry.half_space, seed=seed)
    seconds = time.perf_counter() - began
    known = best_known(entry.objective, entry.n, entry.d, half_space=entry.half_space)
    assert known is not None
    reached, best = entry.shown(found.value), entry.shown(known.value)
    gap = best - reached if entry.objective.higher_is_better else reached - best
    name = f"{entry.objective.kind} n={entry.n} d={entry.d}{' half' if entry.half_space else ''}"
    if isinstance(entry.objective, Riesz):
        name += f" s={entry.objective.s:g}{' angular' if entry.objective.angular else ''}"
    ok = abs(gap) <= entry.tolerance * (max(abs(best), 1) if entry.is_relative else 1)
    print(
        f"{name:<44} {reached:>18.10f} {best:>18.10f} {gap:>9.1e} {seconds:>8.2f} {len(found.values):>7}"
        f"{'' if ok else '  MISSED'}",
        flush=True,
    )
    return ok


def _fixed() -> Iterator[tuple[str, Callable[[Tensor], float], Tensor, float]]:
    """The worst pole of given points."""
    eye = {d: torch.eye(d, dtype=torch.float64) for d in (3, 4, 64)}
    cross = {d: torch.cat([rows, -rows]) for d, rows in eye.items()}
    signs = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    golden = (1 + math.sqrt(5)) / 2
    corners = [
        corner
        for a, b in itertools.product((1.0, -1.0), repeat=2)
        for corner in ([0, a, b * golden], [a, b * golden, 0], [b * golden, 0, a])
    ]
    icosahedron = torch.tensor(corners, dtype=torch.float64)

    def least(points: Tensor) -> float:
        return sphere.polarization_pole(points).value

    yield "polarization of the octahedron", least, cross[3], 3 / 4
    yield "polarization of the tetrahedron", least, signs, 5 / 8
    yield "polarization of the icosahedron", least, icosahedron, 15 / 16
    yield "polarization of the 16-cell", least, cross[4], 2 / 3
    yield "polarization of the cross-polytope d=64", least, cross[64], 64 / 126
    yield "covering of the tetrahedron", sphere.covering_angle, signs, math.degrees(math.acos(1 / 3))
    yield "covering of the octahedron", sphere.covering_angle, cross[3], math.degrees(math.acos(1 / math.sqrt(3)))
    inner = math.sqrt((5 + 2 * math.sqrt(5)) / 15)
    yield "covering of the icosahedron", sphere.covering_angle, icosahedron, math.degrees(math.acos(inner))


def _fixed_row(name: str, evaluate: Callable[[Tensor], float], points: Tensor, known: float) -> bool:
    began = time.perf_counter()
    value = evaluate(points)
    seconds = time.perf_counter() - began
    print(f"{name:<44} {value:>18.10f} {known:>18.10f} {abs(value - known):>9.1e} {seconds:>8.2f}")
    return abs(value - known) <= 1e-9


if __name__ == "__main__":
    sys.exit(main())
