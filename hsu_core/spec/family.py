"""Which regularizers of hyperspherical uniformity can a spec choose, and what is known about each?

Knows names, ranges and sources. Knows no tensors: the mathematics is in `hsu_core.energies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from hsu_core.spec.penalties import About, LayerPenalty, SpherePenalty
from hsu_core.spec.values import WHOLE, Exponent, Flag, Fraction, NonNegative, Positive, Spec

__all__ = [
    "MGD",
    "MHC",
    "MHE",
    "MHP",
    "MHS",
    "RMHP",
    "AuthorsPole",
    "Family",
    "FreshPoles",
    "Inner",
    "NoRegularizer",
    "PolePenalty",
]

_LIU_2021 = "Liu et al. 2021, Learning with Hyperspherical Uniformity, arXiv 2103.01649, sec. 4"
_NORMS_TWICE = (
    "The authors' norms are √(Σw² + 10⁻⁴), applied twice. This hides infinities, and descent can lower the term by "
    "shrinking the weights. The defaults use exact norms."
)


class AuthorsPole(Spec):
    """The authors' method: one pole for the whole training, moved by momentum SGD before each step."""

    kind: Literal["authors"] = "authors"
    steps: Annotated[int, Field(ge=1, le=1000), WHOLE] = 10
    """Steps of the pole per step of the network."""
    lr: Positive | None = None
    """Learning rate of the pole; by default the current one of the network."""
    momentum: Fraction = 0.9
    """Momentum of the pole's steps."""
    weight_decay: NonNegative = 5e-4
    """Weight decay of the pole."""


class FreshPoles(Spec):
    """The method that works: many new random poles at each step, each moved by a few steps. The worst ones count."""

    kind: Literal["fresh"] = "fresh"
    poles: Annotated[int, Field(ge=1, le=65536), WHOLE] = 64
    """Number of poles that are drawn at each step."""
    steps: Annotated[int, Field(ge=0, le=1000), WHOLE] = 10
    """Steps of each pole along the normalised gradient on the sphere; their length decreases."""


Inner = Annotated[FreshPoles | AuthorsPole, Field(discriminator="kind")]
_INNER = (
    "In half space with n < d, there is a pole orthogonal to every neuron. The exact inner optimum is then {value} for "
    "any weights, and the penalty acts only because its poles lag behind. With `inner: authors`, one lagging pole "
    "{lag}. The gap to a better inner solution is recorded as `inner_gap`."
)


class NoRegularizer(Spec):
    """No penalty: the baseline. Weight decay belongs to the optimizer."""

    kind: Literal["none"] = "none"
    every: ClassVar[int] = 1
    about: ClassVar[About] = About("0", "0", "—", "nothing", relative_cost=0.0)


class MHE(SpherePenalty):
    """Minimum hyperspherical energy: neurons repel each other like charges."""

    kind: Literal["mhe"] = "mhe"
    s: Exponent = 2.0
    """Riesz exponent; 0 is the logarithmic energy."""
    angular: Flag = False
    """Use the angle, in units of π, instead of the Euclidean distance."""
    hidden_weight: NonNegative = 1.0
    """Weight of each hidden layer's energy; the authors use 1 (0.1 for angular s = 1, 2)."""
    final_weight: NonNegative = 10.0
    """Weight of the classifier's energy; the authors use 10 (1 for angular s = 1, 2)."""

    about: ClassVar[About] = About(
        latex=r"\frac{1}{\binom{m}{2}}\sum_{i<j}\rho_{ij}^{-s},\quad \rho_{ij}=\|x_i-x_j\|\ \text{or}\ "
        r"\tfrac{1}{\pi}\arccos(x_i\cdot x_j);\quad s=0:\ -\ln\rho_{ij}",
        plain="mean over pairs i < j of 1/ρᵢⱼ^s (s = 0: −ln ρᵢⱼ), ρ = ‖xᵢ − xⱼ‖ or the angle/π",
        source="Liu et al. 2018, Learning towards Minimum Hyperspherical Energy, arXiv 1805.09298, eq. 1",
        acts_on="weights",
        relative_cost=1,
        caution="With few neurons, s does not change the optimum: for every s, the simplex (n ≤ d + 1, Euclidean) and, "
        "in half space, orthonormal rows (n ≤ d) are optimal.",
        differs="For s = 0 the authors use −ln ρ², which is twice the value here. For angular s = 1, 2 they use the "
        "weights 0.1 and 1. Here there is one kernel and one pair of weights, so that values can be compared across s "
        "and with the literature. The authors' norms are √(Σw² + 10⁻⁴), and they add 10⁻⁴ to angles. This hides "
        "infinities, and descent can lower the term by shrinking the weights. The defaults use exact norms and angles. "
        "Preset `authors` is exact.",
    )

    @classmethod
    def authors(cls, given: Mapping[str, Any], /) -> dict[str, Any]:
        """The authors' arithmetic, and their weights for this kernel."""
        is_light = bool(given.get("angular")) and given.get("s", 2) in (1, 2)
        hidden, final = (0.1, 1.0) if is_light else (1.0, 10.0)
        return {**super().authors(given), "hidden_weight": hidden, "final_weight": final}


class MHS(SpherePenalty):
    """Maximum hyperspherical separation: the closest pair moves apart."""

    kind: Literal["mhs"] = "mhs"
    hidden_weight: NonNegative = 0.1
    """Weight of each hidden layer's term; the authors use 0.1."""
    final_weight: NonNegative = 1.0
    """Weight of the classifier's term; the authors use 1."""

    about: ClassVar[About] = About(
        latex=r"-\min_{i<j}\|x_i-x_j\|^2",
        plain="−(the smallest squared distance of a pair)",
        source=_LIU_2021,
        acts_on="weights",
        relative_cost=0.6,
        caution="Only the closest pair has a gradient: two of n neurons move in a step. A layer of one neuron has no "
        "pair and is skipped.",
        differs=f"{_NORMS_TWICE} In half space, the closest pair and its mirror image tie. The authors' code counts "
        "them once or twice, depending on the last bit; here they count once. Preset `authors` is exact.",
    )


class PolePenalty(SpherePenalty):
    """A penalty at the worst pole of the sphere. Its field `inner` says how the pole is searched."""

    @classmethod
    def authors(cls, given: Mapping[str, Any], /) -> dict[str, Any]:
        """The authors' arithmetic and their pole."""
        return {**super().authors(given), "inner": AuthorsPole()}


class MHP(PolePenalty):
    """Maximum hyperspherical polarization: the neurons' potential is high at every point of the sphere."""

    kind: Literal["mhp"] = "mhp"
    inner: Inner = FreshPoles()
    """How the worst pole is searched."""
    hidden_weight: NonNegative = 1.0
    """Weight of each hidden layer's term; the authors use 1."""
    final_weight: NonNegative = 10.0
    """Weight of the classifier's term; the authors use 10."""

    about: ClassVar[About] = About(
        latex=r"-\min_{v}\frac1m\sum_i\|v-x_i\|^{-2}",
        plain="−(the smallest mean of 1/‖v − xᵢ‖² over poles v)",
        source=_LIU_2021,
        acts_on="weights",
        relative_cost=5,
        caution=_INNER.format(value="1/2", lag="can even collapse a layer: max |cos| .14 → .97 on 64×576"),
        differs="The authors keep one lagging pole (`inner: authors`), which can collapse a layer. The default draws "
        f"many poles at each step and optimises them. {_NORMS_TWICE} Preset `authors` is exact.",
    )


class RMHP(LayerPenalty):
    """Relaxed maximum hyperspherical polarization: the neurons sum to zero."""

    kind: Literal["rmhp"] = "rmhp"
    hidden_weight: NonNegative = 0.01
    """Weight of each hidden layer's term; the authors use 0.01."""
    final_weight: NonNegative = 0.1
    """Weight of the classifier's term; the authors use 0.1."""

    about: ClassVar[About] = About(
        latex=r"\Bigl\|\sum_i w_i\Bigr\|",
        plain="‖Σᵢ wᵢ‖ of the raw weights",
        source=_LIU_2021,
        acts_on="weights",
        relative_cost=0.1,
        caution="A zero sum does not make the points uniform, so this term alone never reaches a uniform "
        "configuration. It acts on raw weights: shrinking them lowers it too. It has no half-space form: mirror images "
        "always sum to zero.",
        differs="No difference: preset `authors` is the default.",
    )


class MHC(PolePenalty):
    """Minimum hyperspherical covering: every point of the sphere is near a neuron."""

    kind: Literal["mhc"] = "mhc"
    gamma: Positive = 10.0
    """Sharpness of the soft minimum over the neurons."""
    inner: Inner = FreshPoles()
    """How the worst pole is searched."""
    hidden_weight: NonNegative = 0.01
    """Weight of each hidden layer's term; the authors use 0.01."""
    final_weight: NonNegative = 0.1
    """Weight of the classifier's term; the authors use 0.1."""

    about: ClassVar[About] = About(
        latex=r"\max_v -\frac1\gamma\ln\frac1m\sum_i e^{-\gamma\|v-x_i\|^2}",
        plain="the largest, over poles v, of the soft minimum of ‖v − xᵢ‖²",
        source=_LIU_2021,
        acts_on="weights",
        relative_cost=5,
        caution=_INNER.format(value="2", lag="stays far from a covering: 62–71° against 37.4° for 12 points on S²"),
        differs="The authors keep one lagging pole (`inner: authors`), which stays far from a covering. The default "
        f"draws many poles at each step and optimises them. {_NORMS_TWICE} Preset `authors` is exact.",
    )


class MGD(SpherePenalty):
    """Maximum Gram determinant: the neurons span the largest volume in a kernel's feature space."""

    kind: Literal["mgd"] = "mgd"
    hidden_weight: NonNegative = 0.01
    """Weight of each hidden layer's term; the authors use 0.01."""
    final_weight: NonNegative = 0.1
    """Weight of the classifier's term; the authors use 0.1."""

    about: ClassVar[About] = About(
        latex=r"-\ln\det\bigl(K+10^{-6}I\bigr),\quad K_{ij}=e^{-\|x_i-x_j\|^2}",
        plain="−ln det(K + 10⁻⁶ I), Kᵢⱼ = exp(−‖xᵢ − xⱼ‖²)",
        source=_LIU_2021,
        acts_on="weights",
        relative_cost=1.5,
        caution="For n much larger than d, the kernel is singular up to rounding, and the value depends mostly on the "
        "10⁻⁶. The cost grows with n³.",
        differs=f"{_NORMS_TWICE} Preset `authors` is exact.",
    )


Family = MHE | MHS | MHP | RMHP | MHC | MGD
"""The members of the family, in the order of the menus."""
