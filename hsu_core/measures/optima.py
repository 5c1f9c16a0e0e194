"""Which values are optimal for points on a sphere? Proven and best known optima, with their sources.

Knows numbers and a few theorems, in the plain unit of energies.py. Knows no tensors (importing it does not load torch)
and no configurations. Most (n, d) have no entry: if nothing is known, the result is None.

Short proofs besides the sources. *Simplex*, n ≤ d + 1, for a function f of ⟨xᵢ, xⱼ⟩: if f lies above its tangent at
−1/(n − 1), the mean of f is at least that of the tangent, which is smallest where Σxᵢ = 0. *Orthonormal rows* in half
space, n ≤ d: f(g) + f(−g) is least at g = 0. *Gram determinant*: ln det is concave, so averaging the kernel over all
(signed) permutations does not lower it, and the average is best with the least off-diagonal mean. *n ≤ d poles*: some
pole has the same product c ≤ 0 with all points, so polarization is ≤ ½ and the largest hole ≥ 90°; both are attained.
*n = d in half space*: over sign vectors e, the mean of ‖X⁻¹e‖² is ‖X⁻¹‖² ≥ d, so some pole has |⟨v, xᵢ⟩| = c ≤ 1/√d for
all i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

from hsu_core.spec.objectives import Covering, GramDeterminant, Objective, Polarization, Riesz, Separation


@dataclass(frozen=True)
class Optimum:
    """The best value known of an objective for some n and d."""

    value: float
    """In the plain unit of energies.py, as `Configuration.value`."""
    source: str
    is_proven: bool
    """False: the best value found so far."""


def best_known(objective: Objective, n: int, d: int, *, half_space: bool = False) -> Optimum | None:
    """The best known value of an objective for n points (in half space with their mirror images) on S^(d−1)."""
    if n < 1 or d < 2:
        raise ValueError(f"expected n ≥ 1 points in d ≥ 2 dimensions, found n = {n}, d = {d}")
    match objective:
        case Riesz():
            return _riesz(objective, n, d, half_space=half_space)
        case Separation():
            return _separation(n, d, half_space=half_space)
        case Polarization():
            return _polarization(n, d, half_space=half_space)
        case Covering():
            return _covering(n, d, half_space=half_space)
        case GramDeterminant():
            return _gram_determinant(n, d, half_space=half_space)
        case _:
            assert_never(objective)


# --- Riesz energies ---------------------------------------------------------------------------------------------------


def _riesz(objective: Riesz, n: int, d: int, *, half_space: bool) -> Optimum | None:
    points = 2 * n if half_space else n
    if points < 2:
        return None
    if objective.angular and not _holds_for_angles(objective.s, n, d, half_space=half_space):
        return None
    if half_space and n <= d:
        return Optimum(_mean(objective, _orthonormal_rows(n)), "orthonormal rows", is_proven=True)
    if (sharp := _sharp(n, d, half_space=half_space)) is not None:
        return Optimum(_mean(objective, sharp.cosines), sharp.source, is_proven=True)
    if d != 3 or half_space or objective.s not in ENERGY_SUMS:
        return None
    table = ENERGY_SUMS[objective.s]
    if n not in table.values:
        return None
    proven = n == 5  # Schwartz 2013 for s = 1, 2, Dragnev, Legg and Townsend 2002 for s = 0
    return Optimum(table.values[n] / math.comb(n, 2), table.source, is_proven=proven)


def _holds_for_angles(s: float, n: int, d: int, *, half_space: bool) -> bool:
    """Whether the optimum known for distances is proven for angles.

    It is proven for orthonormal rows, on the circle, and for n ≤ 3 (angles of three points sum to at most 2π). For a
    simplex it is proven only if the energy lies above its tangent there: for four points on S² with s = 0, two
    antipodal pairs are better. The energy as a function of the cosine is concave, then convex, so the value at −1
    decides.
    """
    if half_space:
        return n <= d or d == 2
    if n <= 3 or d == 2:
        return True
    if n > d + 1:
        return False
    cosine = -1 / (n - 1)
    theta = math.acos(cosine)
    at, end = (_repulsion(s, angle / math.pi) for angle in (theta, math.pi))
    slope = (1 / theta if s == 0 else s * at / theta) / math.sin(theta)
    return end >= at + slope * (-1 - cosine)


def _mean(objective: Riesz, cosines: dict[float, int]) -> float:
    """The mean energy of a point with the others, from the cosines to them and how often each occurs."""
    total = 0.0
    for cosine, times in cosines.items():
        rho = math.acos(cosine) / math.pi if objective.angular else math.sqrt(2 - 2 * cosine)
        total += times * _repulsion(objective.s, rho)
    return total / sum(cosines.values())


def _repulsion(s: float, rho: float) -> float:
    return -math.log(rho) if s == 0 else rho**-s


def _orthonormal_rows(n: int) -> dict[float, int]:
    return {-1.0: 1} if n == 1 else {0.0: 2 * n - 2, -1.0: 1}


# --- the other objectives ---------------------------------------------------------------------------------------------


def _separation(n: int, d: int, *, half_space: bool) -> Optimum | None:
    points = 2 * n if half_space else n
    if points < 2:
        return None
    if half_space and 2 <= n <= d:
        return Optimum(2.0, "orthonormal rows", is_proven=True)
    if (sharp := _sharp(n, d, half_space=half_space)) is not None:
        return Optimum(2 - 2 * max(sharp.cosines), sharp.source, is_proven=True)
    if half_space and (n, d) in EQUIANGULAR_LINES:
        return Optimum(2 - 2 * math.sqrt((n - d) / (d * (n - 1))), "equiangular lines; Welch 1974", is_proven=True)
    if half_space:
        return None
    if n <= 2 * d:
        return Optimum(2.0, "Rankin 1955", is_proven=True)
    if (n, d) in SPHERICAL_CODES:
        cosine, source = SPHERICAL_CODES[n, d]
        return Optimum(2 - 2 * cosine, source, is_proven=True)
    if d == 3 and n in TAMMES_DEGREES.values:
        return Optimum(_squared_distance(TAMMES_DEGREES.values[n]), TAMMES_DEGREES.source, is_proven=n in TAMMES_PROVEN)
    return None


def _polarization(n: int, d: int, *, half_space: bool) -> Optimum | None:
    points = 2 * n if half_space else n
    if d == 2 and points >= 2:
        return Optimum(points / 4, "regular polygon; Hardin, Kendall and Saff 2013", is_proven=True)
    if half_space and n < d:
        return Optimum(0.5, "every configuration: a pole orthogonal to it exists", is_proven=True)
    if half_space and n == d:
        return Optimum(d / (2 * (d - 1)), "orthonormal rows", is_proven=True)
    if half_space:
        return None
    if n == 1:
        return Optimum(0.25, "the pole opposite to the point", is_proven=True)
    if n <= d:
        return Optimum(0.5, "every configuration of sum 0", is_proven=True)
    if n == d + 1:
        return Optimum((1 / 4 + d * d / (2 * d - 2)) / (d + 1), "simplex; Borodachov 2022", is_proven=True)
    return None


def _covering(n: int, d: int, *, half_space: bool) -> Optimum | None:
    points = 2 * n if half_space else n
    if d == 2:
        return Optimum(_squared_distance(180 / points), "regular polygon", is_proven=True)
    if half_space and n < d:
        return Optimum(2.0, "every configuration: a pole orthogonal to it exists", is_proven=True)
    if half_space and n == d:
        return Optimum(2 - 2 / math.sqrt(d), "orthonormal rows", is_proven=True)
    if half_space and (n, d) != (6, 3):
        return None
    if n == 1:
        return Optimum(4.0, "the pole opposite to the point", is_proven=True)
    if n <= d:
        return Optimum(2.0, "every configuration of sum 0", is_proven=True)
    if n == d + 1:
        return Optimum(2 - 2 / d, "simplex; Fejes Tóth 1972, Galiev 1996", is_proven=True)
    if d == 3 and points in COVERING_DEGREES.values:
        value = _squared_distance(COVERING_DEGREES.values[points])
        return Optimum(value, COVERING_DEGREES.source, is_proven=points in COVERING_PROVEN)
    return None


def _gram_determinant(n: int, d: int, *, half_space: bool) -> Optimum | None:
    if half_space and n <= d:
        # Kernel [[A, B], [B, A]]: eigenvalues of A − B and of A + B, both constant outside the diagonal.
        differences = n * math.log1p(1e-6 - math.exp(-4))
        sums = _log_det(n, 1 + 1e-6 + math.exp(-4), 2 * math.exp(-2))
        return Optimum(differences + sums, "orthonormal rows", is_proven=True)
    if not half_space and n <= d + 1:
        outside = math.exp(-2 * n / (n - 1)) if n > 1 else 0.0
        return Optimum(_log_det(n, 1 + 1e-6, outside), "simplex", is_proven=True)
    return None


def _log_det(n: int, diagonal: float, outside: float) -> float:
    return (n - 1) * math.log(diagonal - outside) + math.log(diagonal + (n - 1) * outside)


def _squared_distance(degrees: float) -> float:
    return 4 * math.sin(math.radians(degrees) / 2) ** 2


# --- configurations optimal for every completely monotone energy ------------------------------------------------------


@dataclass(frozen=True)
class Sharp:
    """A universally optimal configuration: best for every Riesz energy and for separation."""

    cosines: dict[float, int]
    """Cosines from one point to the others, and how often each occurs."""
    source: str


def sharp_configuration(n: int, d: int) -> Sharp | None:
    """The universally optimal configuration of n ≥ 2 points in d dimensions, if one is known."""
    if n <= d + 1:
        return Sharp({-1 / (n - 1): n - 1}, "simplex")
    if d == 2:
        cosines = [math.cos(2 * math.pi * k / n) for k in range(1, n)]
        return Sharp({cosine: cosines.count(cosine) for cosine in cosines}, f"regular {n}-gon")
    if n == 2 * d:
        return Sharp({0.0: n - 2, -1.0: 1}, "cross-polytope")
    if (n, d) not in COHN_KUMAR:
        return None
    return Sharp(COHN_KUMAR[n, d], "Cohn and Kumar 2007 (arXiv math/0607446), table 1")


def _sharp(n: int, d: int, *, half_space: bool) -> Sharp | None:
    """The universally optimal configuration; in half space only if it contains the mirror image of each point.

    Sets of lines do not attain the bounds of the other configurations.
    """
    found = sharp_configuration(2 * n if half_space else n, d)
    return found if found and (not half_space or -1.0 in found.cosines) else None


GOLDEN = (1 + math.sqrt(5)) / 2

COHN_KUMAR: dict[tuple[int, int], dict[float, int]] = {
    (12, 3): {1 / math.sqrt(5): 5, -1 / math.sqrt(5): 5, -1.0: 1},
    (120, 4): {
        GOLDEN / 2: 12, 0.5: 20, (GOLDEN - 1) / 2: 12, 0.0: 30,
        (1 - GOLDEN) / 2: 12, -0.5: 20, -GOLDEN / 2: 12, -1.0: 1,
    },
    (16, 5): {1 / 5: 10, -3 / 5: 5},
    (27, 6): {1 / 4: 16, -1 / 2: 10},
    (56, 7): {1 / 3: 27, -1 / 3: 27, -1.0: 1},
    (240, 8): {1 / 2: 56, 0.0: 126, -1 / 2: 56, -1.0: 1},
    (112, 21): {1 / 9: 81, -1 / 3: 30},
    (162, 21): {1 / 7: 105, -2 / 7: 56},
    (100, 22): {1 / 11: 77, -4 / 11: 22},
    (275, 22): {1 / 6: 162, -1 / 4: 112},
    (552, 23): {1 / 5: 275, -1 / 5: 275, -1.0: 1},
    (4600, 23): {1 / 3: 891, 0.0: 2816, -1 / 3: 891, -1.0: 1},
}  # fmt: skip
"""Cosines of the sporadic universal optima (with the 600-cell), and how often each occurs, by (n, d)."""

EQUIANGULAR_LINES = frozenset({
    (6, 3), (10, 5), (16, 6), (14, 7), (28, 7), (18, 9), (16, 10), (26, 13), (36, 15), (28, 21), (36, 21), (276, 23),
})  # fmt: skip
"""(n, d) for which n equiangular lines reach Welch's bound; Sustik, Tropp, Dhillon and Heath 2007."""

SPHERICAL_CODES: dict[tuple[int, int], tuple[float, str]] = {
    (10, 4): (1 / 6, "Bachoc and Vallentin 2009"),
    (24, 4): (1 / 2, "24-cell; de Laat, Leijenhorst and de Muinck Keizer 2024"),
}
"""Cosine of the largest possible smallest angle, by (n, d); without S² and the universal optima."""


# --- tables on S² -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Numbers by n, correct to half a unit of the last digit."""

    values: dict[int, float]
    source: str


# fmt: off
ENERGY_SUMS: dict[float, Table] = {
    0.0: Table(
        {
            2: -0.693147181, 3: -1.647918433, 4: -2.942487759, 5: -4.420507155, 6: -6.238324625, 8: -10.428017781,
            10: -15.563123389, 12: -21.60614523, 14: -28.407813009, 16: -36.106152162, 20: -54.011129975,
            24: -75.213984789, 32: -127.378867615,
        },
        "best of many descents, this project's prototype",
    ),
    1.0: Table(
        {
            2: 0.500000000, 3: 1.732050808, 4: 3.674234614, 5: 6.474691495, 6: 9.985281374, 7: 14.452977414,
            8: 19.675287861, 9: 25.759986531, 10: 32.716949460, 11: 40.596450508, 12: 49.165253058, 13: 58.853230612,
            14: 69.306363297, 15: 80.670244114, 16: 92.911655303, 17: 106.050404829, 18: 120.084467447,
            19: 135.089467557, 20: 150.881568334, 21: 167.641622399, 22: 185.287536149, 23: 203.930190663,
            24: 223.347074052, 25: 243.812760299, 26: 265.133326317, 27: 287.302615033, 28: 310.491542358,
            29: 334.634439920, 30: 359.603945904, 31: 385.530838063, 32: 412.261274651, 33: 440.204057448,
            34: 468.904853281, 35: 498.569872491, 36: 529.122408375, 37: 560.618887731, 38: 593.038503566,
            39: 626.389009017, 40: 660.675278835, 41: 695.916744342, 42: 732.078107544, 43: 769.190846459,
            44: 807.174263085, 45: 846.188401061, 46: 886.167113639, 47: 927.059270680, 48: 968.713455344,
            49: 1011.557182654, 50: 1055.182314726, 51: 1099.819290319, 52: 1145.418964319, 53: 1191.922290416,
            54: 1239.361474729, 55: 1287.772720783, 56: 1337.094945276, 57: 1387.383229253, 58: 1438.618250640,
            59: 1490.773335279, 60: 1543.830400976, 61: 1597.941830199, 62: 1652.909409898, 63: 1708.879681503,
            64: 1765.802577927, 65: 1823.667960264, 66: 1882.441525304, 67: 1942.122700406, 68: 2002.874701749,
            69: 2064.533483235, 70: 2127.100901551, 71: 2190.649906425, 72: 2255.001190975, 73: 2320.633883745,
            74: 2387.072981838, 75: 2454.369689040, 76: 2522.674871841, 77: 2591.850152354, 78: 2662.046474566,
            79: 2733.248357479, 80: 2805.355875981, 81: 2878.522829664, 82: 2952.569675286, 83: 3027.528488921,
            84: 3103.465124431, 85: 3180.361442939, 86: 3258.211605713, 87: 3337.000750014, 88: 3416.720196758,
            89: 3497.439018625, 90: 3579.091222723, 91: 3661.713699320, 92: 3745.291636241, 93: 3829.844338421,
            94: 3915.309269620, 95: 4001.771675565, 96: 4089.154010060, 97: 4177.533599622, 98: 4266.822464156,
            99: 4357.139163132, 100: 4448.350634331,
        },
        "Thomson's problem: Wales and Ulker 2006, Cambridge Cluster Database",
    ),
    2.0: Table(
        {
            2: 0.25, 3: 1.0, 4: 2.25, 5: 4.25, 6: 6.75, 8: 14.336791084, 10: 25.041359722, 12: 39.0,
            14: 57.121208598, 16: 78.772649031, 20: 133.936978568, 24: 205.658437998, 32: 401.5,
        },
        "best of many descents, this project's prototype",
    ),
}
"""Least sums over pairs i < j of ‖xᵢ − xⱼ‖⁻ˢ (s = 0: of −ln‖xᵢ − xⱼ‖), by s."""

TAMMES_DEGREES = Table(
    {
        4: 109.4712206, 5: 90.0000000, 6: 90.0000000, 7: 77.8695421, 8: 74.8584922, 9: 70.5287794, 10: 66.1468220,
        11: 63.4349488, 12: 63.4349488, 13: 57.1367031, 14: 55.6705700, 15: 53.6578501, 16: 52.2443957,
        17: 51.0903285, 18: 49.5566548, 19: 47.6919141, 20: 47.4310362, 21: 45.6132231, 22: 44.7401612,
        23: 43.7099642, 24: 43.6907671, 25: 41.6344612, 26: 41.0376616, 27: 40.6776007, 28: 39.3551436,
        29: 38.7136512, 30: 38.5971159, 31: 37.7098291, 32: 37.4752140, 33: 36.2545530, 34: 35.8077844,
        35: 35.3198076, 36: 35.1897322, 37: 34.4224080, 38: 34.2506607, 39: 33.4890466, 40: 33.1583563,
        41: 32.7290944, 42: 32.5063863, 43: 32.0906244, 44: 31.9834230, 45: 31.3230814, 46: 30.9591635,
        47: 30.7818159, 48: 30.7627855, 49: 29.9235851, 50: 29.7529564, 55: 28.2627914, 60: 27.1928300,
        65: 26.0698299, 70: 25.1709200, 75: 24.3017225, 80: 23.5530672, 85: 22.7791621, 90: 22.1540232,
        95: 21.5945501, 100: 21.0312020, 105: 20.5388524, 110: 20.1113276, 115: 19.6239931, 120: 19.3240201,
        125: 18.8448151, 130: 18.5103522,
    },
    "Sloane, Hardin and Smith, Tables of spherical codes",
)
"""The largest possible smallest angle of a pair."""

TAMMES_PROVEN = frozenset({*range(4, 15), 24})
"""Fejes Tóth 1943, Schütte and van der Waerden 1951, Danzer 1963, Robinson 1961, Musin and Tarasov 2012, 2015."""

COVERING_DEGREES = Table(
    {
        4: 70.5287794, 5: 63.4349488, 6: 54.7356103, 7: 51.0265527, 8: 48.1395291, 9: 45.8788878, 10: 42.3078267,
        11: 41.4271963, 12: 37.3773681, 13: 37.0685427, 14: 34.9379269, 15: 34.0399001, 16: 32.8988128,
        17: 32.0929329, 18: 31.0131721, 19: 30.3686748, 20: 29.6230956,
    },
    "best of this project's descents; configurations studied by Tarnai and Gáspár 1991",
)
# fmt: on
"""The smallest possible covering radius: the largest angle from a pole to its nearest point."""

COVERING_PROVEN = frozenset({4, 5, 6, 7, 10, 12, 14})
"""Fejes Tóth 1943, Schütte 1955, G. Fejes Tóth 1969."""
