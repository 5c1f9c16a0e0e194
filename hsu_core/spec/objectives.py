"""Which objectives can points on a sphere optimise? Those of the family, as frozen values.

Knows their names and parameters, whether higher is better, and for how many points they are defined. Knows no tensors
(importing it does not load torch). Does not know how they are computed (energies.py) or optimised (sphere/).
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
    """In plain text, for unit vectors xᵢ; in half space for the points xᵢ and −xᵢ."""
    is_of_pairs: ClassVar[bool] = False
    """Whether it is defined on pairs of points, so that a single point has no value."""
    caution: ClassVar[str] = ""
    """When it cannot distinguish good points from bad ones; empty if no such case is known."""
    usual_starts: ClassVar[int] = 32

    def misfit(self, n: int, *, half_space: bool) -> str | None:
        """Why this objective is not defined for n points; None if it is."""
        if self.is_of_pairs and n == 1 and not half_space:
            return f"{self.kind} is about pairs of points and needs n of at least 2, found 1; in half space 1 would do"
        return None

    def has_regular_optimum(self, n: int, d: int, *, half_space: bool) -> bool:
        """Whether a simplex (in half space: orthonormal rows) is proven optimal, as it is for Riesz: see optima.py."""
        return n <= d if half_space else n <= d + 1

    def starts(self, n: int, d: int, *, half_space: bool) -> int:
        """The default number of starts: fewer above some tens of points, and 1 if every start reaches the optimum."""
        if self.has_regular_optimum(n, d, half_space=half_space):
            return 1
        return max(4, min(self.usual_starts, 3200 // n))


class Riesz(SphereObjective):
    """The Riesz energy, minimised; s = 1 is Thomson's problem. Liu et al. 2018 (arXiv 1805.09298), eq. 1."""

    kind: Literal["riesz"] = "riesz"
    higher_is_better: ClassVar[bool] = False
    formula: ClassVar[str] = "mean over pairs i < j of ‖xᵢ − xⱼ‖⁻ˢ (s = 0: −ln‖xᵢ − xⱼ‖)"
    is_of_pairs: ClassVar[bool] = True
    s: Annotated[Real, Field(ge=0, le=1024, allow_inf_nan=False)] = 2.0
    """Exponent; 0 is the logarithmic energy −ln‖xᵢ − xⱼ‖."""
    angular: Flag = False
    """Use the angle, in units of π, instead of the Euclidean distance."""

    def has_regular_optimum(self, n: int, d: int, *, half_space: bool) -> bool:
        """For angles in full space it is not proven for every s."""
        return super().has_regular_optimum(n, d, half_space=half_space) and (half_space or not self.angular)


class Separation(SphereObjective):
    """The smallest squared distance of a pair, maximised: Tammes' problem."""

    kind: Literal["separation"] = "separation"
    higher_is_better: ClassVar[bool] = True
    formula: ClassVar[str] = "min over pairs i < j of ‖xᵢ − xⱼ‖²"
    is_of_pairs: ClassVar[bool] = True
    usual_starts: ClassVar[int] = 48


_ORTHOGONAL_POLE = (
    "In half space with n < d, there is a pole orthogonal to every point: the value is {value} for any choice of "
    "points."
)


class Polarization(SphereObjective):
    """The potential at the weakest pole, maximised."""

    kind: Literal["polarization"] = "polarization"
    higher_is_better: ClassVar[bool] = True
    formula: ClassVar[str] = "min over unit vectors v of the mean over i of ‖v − xᵢ‖⁻²"
    caution: ClassVar[str] = _ORTHOGONAL_POLE.format(value="0.5")


class Covering(SphereObjective):
    """The squared radius of the largest hole, minimised."""

    kind: Literal["covering"] = "covering"
    higher_is_better: ClassVar[bool] = False
    formula: ClassVar[str] = "max over unit vectors v of the min over i of ‖v − xᵢ‖²"
    caution: ClassVar[str] = _ORTHOGONAL_POLE.format(value="2")
    usual_starts: ClassVar[int] = 96


class GramDeterminant(SphereObjective):
    """The log-determinant of a Gaussian kernel, maximised. Liu et al. 2021 (arXiv 2103.01649) with ε = 1."""

    kind: Literal["gram_determinant"] = "gram_determinant"
    higher_is_better: ClassVar[bool] = True
    formula: ClassVar[str] = "ln det(exp(−‖xᵢ − xⱼ‖²) + 10⁻⁶ I)"


Objective = Annotated[Riesz | Separation | Polarization | Covering | GramDeterminant, Field(discriminator="kind")]
