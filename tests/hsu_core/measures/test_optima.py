"""The tables of known optima against the laws that they must obey and against explicit configurations."""

import math
import subprocess
import sys

import pytest
import torch

from hsu_core import energies
from hsu_core.measures.optima import COHN_KUMAR, COVERING_DEGREES, ENERGY_SUMS, TAMMES_DEGREES, Optimum, best_known
from hsu_core.spec.objectives import Covering, GramDeterminant, Objective, Polarization, Riesz, Separation


def known(objective: Objective, n: int, d: int, *, half_space: bool = False) -> Optimum:
    optimum = best_known(objective, n, d, half_space=half_space)
    assert optimum is not None
    return optimum


@pytest.mark.parametrize(("n", "d"), COHN_KUMAR)
def test_universal_optima_count_all_points_and_are_designs_of_strength_two(n: int, d: int) -> None:
    cosines = COHN_KUMAR[n, d]
    assert 1 + sum(cosines.values()) == n
    assert 1 + sum(c * times for c, times in cosines.items()) == pytest.approx(0, abs=1e-9 * n)
    assert 1 + sum(c * c * times for c, times in cosines.items()) == pytest.approx(n / d)


@pytest.mark.parametrize("s", [0.0, 0.5, 1.0, 2.0, 7.0])
@pytest.mark.parametrize("angular", [False, True])
def test_orthonormal_rows_and_the_octahedron_have_the_energy_that_is_said(s: float, angular: bool) -> None:
    rows = torch.eye(3, dtype=torch.float64)
    value = float(energies.riesz(rows, s, angular=angular, half_space=True))
    assert known(Riesz(s=s, angular=angular), 3, 3, half_space=True).value == pytest.approx(value, rel=1e-12)
    if not angular:
        assert known(Riesz(s=s), 6, 3).value == pytest.approx(value, rel=1e-12)


def test_gram_determinants_are_those_of_orthonormal_rows_and_of_a_simplex() -> None:
    rows = torch.eye(5, dtype=torch.float64)
    assert known(GramDeterminant(), 5, 9, half_space=True).value == pytest.approx(
        float(energies.gram_determinant(rows, half_space=True)), rel=1e-12
    )
    simplex = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    assert known(GramDeterminant(), 4, 3).value == pytest.approx(float(energies.gram_determinant(simplex)), rel=1e-12)


def test_known_numbers_agree_where_two_sources_have_them() -> None:
    for s, table in ENERGY_SUMS.items():
        for n in (2, 3, 4, 6, 12):
            assert known(Riesz(s=s), n, 3).value * math.comb(n, 2) == pytest.approx(table.values[n], abs=1e-8)
    for n in (4, 6, 12):
        degrees = 2 * math.degrees(math.asin(math.sqrt(known(Separation(), n, 3).value) / 2))
        assert degrees == pytest.approx(TAMMES_DEGREES.values[n], abs=1e-7)
    degrees = 2 * math.degrees(math.asin(math.sqrt(known(Covering(), 4, 3).value) / 2))
    assert degrees == pytest.approx(COVERING_DEGREES.values[4], abs=1e-7)
    assert known(Covering(), 3, 3, half_space=True).value == pytest.approx(known(Covering(), 6, 3).value, abs=1e-8)


def test_more_points_never_do_worse_in_the_tables() -> None:
    tammes, covering = TAMMES_DEGREES.values, COVERING_DEGREES.values
    assert list(tammes.values()) == sorted(tammes.values(), reverse=True)
    assert list(covering.values()) == sorted(covering.values(), reverse=True)
    means = [total / math.comb(n, 2) for n, total in ENERGY_SUMS[1.0].values.items()]
    assert means == sorted(means)


def test_the_half_space_degeneracy_is_said() -> None:
    assert known(Polarization(), 4, 9, half_space=True).value == 0.5
    assert known(Covering(), 4, 9, half_space=True).value == 2.0


def test_a_simplex_is_not_called_optimal_for_angles_where_it_is_not() -> None:
    assert best_known(Riesz(s=0, angular=True), 4, 3) is None
    assert best_known(Riesz(s=2, angular=True), 4, 3) is not None


def test_where_nothing_is_known_nothing_is_said_and_nonsense_is_refused() -> None:
    assert best_known(GramDeterminant(), 7, 3) is None
    assert best_known(Polarization(), 7, 3) is None
    assert best_known(Riesz(), 1, 3) is None
    with pytest.raises(ValueError, match="n = 0"):
        best_known(Riesz(), 0, 3)


def test_objectives_and_optima_do_not_load_torch() -> None:
    code = "import sys, hsu_core.spec.objectives, hsu_core.measures.optima; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
