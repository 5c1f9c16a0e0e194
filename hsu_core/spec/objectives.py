"""What may points on a sphere be asked to optimise? The family's objectives as frozen values.

Knows their names, parameters, which end is better and for how many points they make sense. Knows no tensors (importing
it costs no torch), and not how any of them is computed (energies.py) or reached (sphere/).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hsu_core.spec.values import Flag, Real, Spec

__all__ = [
    "Covering",
    "GramDeterminant",
    "Objective",
    "Polarization",
    "Riesz",
    "Separation",
    "SphereObjective",
]


class SphereObjective(Spec):
    """A quantity of points on a sphere."""

    kind: str
    higher_is_better: ClassVar[bool]
    formula: ClassVar[str]
    """In plain text, of unit vectors xᵢ; in half space of the points xᵢ and −xᵢ."""
    is_of_pairs: ClassVar[bool] = False
    """Whether it is a quantity of pairs of points, which a single point does not have."""
    caution: ClassVar[str] = ""
    """When it does not tell good points from bad ones; empty if nothing is known."""
    usual_starts: ClassVar[int] = 32

    def misfit(self, n: int, *, half_space: bool) -> str | None:
        """Why this is no objective for n points, if it is none."""
        if self.is_of_pairs and n == 1 and not half_space:
            return f"{self.kind} is about pairs of points and needs n of at least 2, found 1; in half space 1 would do"
        return None

    def has_regular_optimum(self, n: int, d: int, *, half_space: bool) -> bool:
        """Whether a simplex, in half space orthonormal rows, is proven optimal, as it is for Riesz: see optima.py."""
        return n <= d if half_space else n <= d + 1

    def starts(self, n: int, d: int, *, half_space: bool) -> int:
        """Random starts by default: fewer above some tens of points, and one where each leads to the optimum."""
        if self.has_regular_optimum(n, d, half_space=half_space):
            return 1
        return max(4, min(self.usual_starts, 3200 // n))


class Riesz(SphereObjective):
    """Least Riesz energy: s = 1 is Thomson's problem. Liu et al. 2018 (arXiv 1805.09298), eq. 1."""

    kind: Literal["riesz"] = "riesz"
    higher_is_better: ClassVar[bool] = False
    formula: ClassVar[str] = "mean over pairs i < j of ‖xᵢ − xⱼ‖⁻ˢ (s = 0: −ln‖xᵢ − xⱼ‖)"
    is_of_pairs: ClassVar[bool] = True
    s: Annotated[Real, Field(ge=0, le=1024, allow_inf_nan=False)] = 2.0
    """Exponent; 0 is the logarithmic energy −ln‖xᵢ − xⱼ‖."""
    angular: Flag = False
    """Repel by the angle, in units of π, in place of the Euclidean distance."""

    def has_regular_optimum(self, n: int, d: int, *, half_space: bool) -> bool:
        """Of angles in full space it is not proven for every s."""
        return super().has_regular_optimum(n, d, half_space=half_space) and (half_space or not self.angular)


class Separation(SphereObjective):
    """Largest smallest squared distance of a pair: Tammes' problem."""

    kind: Literal["separation"] = "separation"
    higher_is_better: ClassVar[bool] = True
    formula: ClassVar[str] = "min over pairs i < j of ‖xᵢ − xⱼ‖²"
    is_of_pairs: ClassVar[bool] = True
    usual_starts: ClassVar[int] = 48


_ORTHOGONAL_POLE = (
    "In half space with n < d some pole is orthogonal to every point: the value is {value} wherever they are."
)


class Polarization(SphereObjective):
    """Largest potential at the weakest pole."""

    kind: Literal["polarization"] = "polarization"
    higher_is_better: ClassVar[bool] = True
    formula: ClassVar[str] = "min over unit vectors v of the mean over i of ‖v − xᵢ‖⁻²"
    caution: ClassVar[str] = _ORTHOGONAL_POLE.format(value="0.5")


class Covering(SphereObjective):
    """Least squared radius of the largest hole."""

    kind: Literal["covering"] = "covering"
    higher_is_better: ClassVar[bool] = False
    formula: ClassVar[str] = "max over unit vectors v of the min over i of ‖v − xᵢ‖²"
    caution: ClassVar[str] = _ORTHOGONAL_POLE.format(value="2")
    usual_starts: ClassVar[int] = 96


class GramDeterminant(SphereObjective):
    """Largest log-determinant of a Gaussian kernel. Liu et al. 2021 (arXiv 2103.01649) with ε = 1."""

    kind: Literal["gram_determinant"] = "gram_determinant"
    higher_is_better: ClassVar[bool] = True
    formula: ClassVar[str] = "ln det(exp(−‖xᵢ − xⱼ‖²) + 10⁻⁶ I)"


Objective = Annotated[Riesz | Separation | Polarization | Covering | GramDeterminant, Field(discriminator="kind")]
