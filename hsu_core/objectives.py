"""What may points on a sphere be asked to optimise? The family's objectives as frozen values.

Knows their names, parameters and which end is better. Knows no tensors (importing it costs no torch), and not how
any of them is computed (energies.py) or reached (sphere/).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hsu_core.spec import Spec


class Riesz(Spec):
    """Least mean over pairs of ‖xᵢ − xⱼ‖⁻ˢ: s = 1 is Thomson's problem. Liu et al. 2018 (arXiv 1805.09298), eq. 1."""

    kind: Literal["riesz"] = "riesz"
    higher_is_better: ClassVar[bool] = False
    s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """Exponent; 0 is the logarithmic energy −ln‖xᵢ − xⱼ‖."""
    angular: bool = False
    """Repel by the angle, in units of π, in place of the Euclidean distance."""


class Separation(Spec):
    """Largest smallest squared distance of a pair: Tammes' problem."""

    kind: Literal["separation"] = "separation"
    higher_is_better: ClassVar[bool] = True


class Polarization(Spec):
    """Largest minimum over the pole v of the mean over i of ‖v − xᵢ‖⁻²."""

    kind: Literal["polarization"] = "polarization"
    higher_is_better: ClassVar[bool] = True


class Covering(Spec):
    """Least maximum over the pole v of the squared distance to the nearest point."""

    kind: Literal["covering"] = "covering"
    higher_is_better: ClassVar[bool] = False


class GramDeterminant(Spec):
    """Largest ln det(exp(−‖xᵢ − xⱼ‖²) + 10⁻⁶ I). Liu et al. 2021 (arXiv 2103.01649) with ε = 1."""

    kind: Literal["gram_determinant"] = "gram_determinant"
    higher_is_better: ClassVar[bool] = True


Objective = Annotated[Riesz | Separation | Polarization | Covering | GramDeterminant, Field(discriminator="kind")]
