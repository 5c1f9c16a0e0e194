"""Which baseline regularizers are compared with the family, and what is known about each?

Knows names, ranges and sources. Knows no tensors: the mathematics is in `hsu_core.baselines`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from hsu_core.spec.penalties import About, Arithmetic, FeaturePenalty, LayerPenalty, SpherePenalty
from hsu_core.spec.values import WHOLE, Exponent, Flag, NonNegative, Positive

__all__ = [
    "DSO",
    "MMA",
    "SO",
    "SRIP",
    "CoMHE",
    "FeatureBaseline",
    "KoLeo",
    "LayerBaseline",
    "MutualCoherence",
    "Uniformity",
]

_BANSAL = "Bansal et al. 2018, Can We Gain More from Orthogonality Regularizations, arXiv 1810.09102"
_OUR_WEIGHTS = (
    "The public code contains only `srip`. The default weight is this project's: the best one depends on the network "
    "and the schedule."
)
_AGAINST_THE_LOSS = (
    "With labels it opposes the loss, which pulls the features of a class together: keep the weight small."
)


class HiddenPenalty(LayerPenalty):
    """A penalty on raw weights. By default it does not act on the classifier."""

    final_weight: NonNegative = 0.0
    """Weight of the classifier's term; by default 0, so there is no such term."""


class SO(HiddenPenalty):
    """Soft orthogonality: neurons of unit length that are orthogonal to each other."""

    kind: Literal["so"] = "so"
    hidden_weight: NonNegative = 1e-2
    """Weight of each hidden layer's term."""

    about: ClassVar[About] = About(
        latex=r"\|WW^\top-I\|_F^2",
        plain="‖WWᵀ − I‖²_F of the raw weights",
        source=f"{_BANSAL}, eq. 4",
        acts_on="weights",
        relative_cost=1.5,
        caution="For n > d it cannot be 0. Every tight frame is a minimum, even one with duplicate neurons.",
        differs=_OUR_WEIGHTS,
    )


class DSO(HiddenPenalty):
    """Double soft orthogonality: also for layers with more neurons than inputs."""

    kind: Literal["dso"] = "dso"
    hidden_weight: NonNegative = 1e-2
    """Weight of each hidden layer's term."""

    about: ClassVar[About] = About(
        latex=r"\|WW^\top-I\|_F^2+\|W^\top W-I\|_F^2",
        plain="‖WWᵀ − I‖²_F + ‖WᵀW − I‖²_F of the raw weights",
        source=f"{_BANSAL}, eq. 5",
        acts_on="weights",
        relative_cost=1.5,
        caution="The two terms differ by the constant n − d, so the gradient is exactly twice that of `so`.",
        differs=_OUR_WEIGHTS,
    )


class MutualCoherence(HiddenPenalty):
    """Mutual coherence: the largest entry of WWᵀ − I, in absolute value."""

    kind: Literal["mutual_coherence"] = "mutual_coherence"
    hidden_weight: NonNegative = 1e-1
    """Weight of each hidden layer's term."""

    about: ClassVar[About] = About(
        latex=r"\max_{ij}\,\bigl|(WW^\top-I)_{ij}\bigr|",
        plain="the largest |entry| of WWᵀ − I, raw weights",
        source=f"{_BANSAL}, eq. 6",
        acts_on="weights",
        relative_cost=1.5,
        caution="Only one entry has a gradient at each step. While lengths differ from 1, it is a diagonal entry.",
        differs=_OUR_WEIGHTS,
    )


class SRIP(HiddenPenalty):
    """Spectral restricted isometry: the largest change of a squared length, over all directions."""

    kind: Literal["srip"] = "srip"
    iterations: Annotated[int, Field(ge=1, le=100), WHOLE] = 2
    """Steps of the power iteration; the paper uses 2."""
    arithmetic: Arithmetic = "exact"
    """`authors`: the norm is squared, the smaller Gram matrix is used, and the start vector is uniform."""
    hidden_weight: NonNegative = 1e-1
    """Weight of each hidden layer's term."""

    about: ClassVar[About] = About(
        latex=r"\sigma\bigl(WW^\top-I\bigr)",
        plain="the spectral norm of WWᵀ − I, raw weights, by power iteration from a random start",
        source=f"{_BANSAL}, eqs. 7 to 9",
        acts_on="weights",
        relative_cost=0.4,
        caution="Two iterations from a random start give a lower bound that varies from step to step.",
        differs="The public code squares the spectral norm. It estimates the norm with one step from a uniform start, "
        "for the smaller of WWᵀ and WᵀW. The weight is 0.01 for every layer and the classifier, and falls to 0 in "
        "five stages, counted in epochs. The defaults follow the paper's formula. Preset `authors` is exact except "
        "for the stages: the schedule of a weight is linear here.",
    )

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """The authors' arithmetic, for every layer."""
        return {"arithmetic": "authors", "iterations": 1, "hidden_weight": 1e-2, "final_weight": 1e-2}


class MMA(HiddenPenalty):
    """Maximal minimal angles: each neuron moves away from its nearest neighbour."""

    kind: Literal["mma"] = "mma"
    hidden_weight: NonNegative = 0.07
    """The authors use 0.07 for hidden layers."""

    about: ClassVar[About] = About(
        latex=r"-\frac1n\sum_i\min_{j\ne i}\theta_{ij}",
        plain="−(mean over neurons of the angle to the nearest other one), radians",
        source="Wang et al. 2020, MMA Regularization, arXiv 2006.06527, eq. 5",
        acts_on="weights",
        relative_cost=1.9,
        caution="The gradient jumps where the nearest neighbour changes. A layer of one neuron is skipped.",
        differs="The authors use the weight 0.07 for every layer, including the classifier (0.03 for networks with "
        "skip connections). Here the classifier is left out by default, as for the other baselines. The authors clamp "
        "the cosine at 0.99999, so that closer pairs have no gradient; here the angle is exact. Preset `authors` uses "
        "their weights.",
    )

    @property
    def needs_pairs(self) -> bool:
        """A single neuron has no nearest neighbour."""
        return True

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """The authors' weights, for networks without skip connections."""
        return {"hidden_weight": 0.07, "final_weight": 0.07}


class CoMHE(SpherePenalty):
    """Compressive MHE: the energy of neurons projected to fewer dimensions."""

    kind: Literal["comhe"] = "comhe"
    projection: Literal["random", "angle", "adversarial"] = "random"
    """random: new Gaussian matrices at each step. angle: one kept matrix, optimised to preserve the pairwise angles.
    adversarial: one kept matrix, optimised to increase the energy."""
    dimension: Annotated[int, Field(ge=2, le=65536), WHOLE] = 30
    """Dimension of the projected neurons. Layers with at most this many inputs are not projected."""
    projections: Annotated[int, Field(ge=1, le=256), WHOLE] = 20
    """Number of random projections whose energies are averaged; the other kinds use one kept projection."""
    steps: Annotated[int, Field(ge=1, le=1000), WHOLE] = 1
    """Gradient steps of a kept projection per step of the network."""
    lr: Positive | None = 0.01
    """Learning rate of a kept projection; null: the current one of the network, as in the authors' code."""
    s: Exponent = 2.0
    """Riesz exponent; 0 is the logarithmic energy."""
    angular: Flag = False
    """Use the angle, in units of π, instead of the Euclidean distance."""
    hidden_weight: NonNegative = 1.0
    """Weight of each hidden layer's term; the authors use 1."""
    final_weight: NonNegative = 10.0
    """Weight of the classifier's term; the authors use 10."""
    project_classifier: Annotated[Flag, Field(exclude_if=lambda value: value is True)] = False
    """Whether the classifier is projected too; the authors do not project it. A canonical spec without this field means
    true: specs that are older than the field always projected the classifier."""

    about: ClassVar[About] = About(
        latex=r"\frac1c\sum_{k=1}^{c}E_s\bigl(\{P_k x_i\}\bigr)",
        plain="mean over projections P of the mhe of the projected neurons",
        source="Lin et al. 2020, Regularizing Neural Networks via Minimizing Hyperspherical Energy, arXiv 1906.04892",
        acts_on="weights",
        relative_cost=7,
        caution="After a projection, more than `dimension` + 1 neurons cannot all be far apart: the energy stays above "
        "the lowest energy of the layer itself.",
        differs="The defaults are one setting for every kind of projection, so that weights and kinds can be "
        "compared. They project rows of length 1 to 30 dimensions, and draw 20 random projections. A kept projection "
        "has its own learning rate; kind `angle` minimises the mean squared change of angles. The authors use 40 "
        "dimensions for random projections, and project raw weights. They move a kept projection at the network's "
        "learning rate, on ‖cos(wP) − cos(w)‖ or on the full-space energy (10 steps), and the gradient passes through "
        "one more such step. Preset `authors` is exact.",
    )

    @classmethod
    def authors(cls, given: Mapping[str, Any], /) -> dict[str, Any]:
        """The authors' arithmetic, with the values of their programs for each kind."""
        own: dict[str, dict[str, Any]] = {
            "angle": {"dimension": 30, "steps": 1, "lr": None},
            "adversarial": {"dimension": 30, "steps": 10, "lr": None},
        }
        return {**super().authors(given), **own.get(str(given.get("projection")), {"dimension": 40})}

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_kept(cls, value: object) -> object:
        """A spec with every field except this one is from the time when the classifier was always projected."""
        later = {"project_classifier", "preset", "arithmetic"}
        if isinstance(value, Mapping) and "preset" not in value and cls.model_fields.keys() - later <= value.keys():
            return {"project_classifier": True, **value}
        return value


class Uniformity(FeaturePenalty):
    """Uniformity of features: the Gaussian potential of the batch."""

    kind: Literal["uniformity"] = "uniformity"
    t: Positive = 2.0
    """Sharpness of the Gaussian kernel."""
    weight: NonNegative = 0.1
    """Weight of the batch's term."""

    about: ClassVar[About] = About(
        latex=r"\ln\frac{1}{\binom{b}{2}}\sum_{i<j}e^{-t\|z_i-z_j\|^2}",
        plain="ln of the mean over pairs of exp(−t ‖zᵢ − zⱼ‖²), z the normalised features of the batch",
        source="Wang and Isola 2020, Alignment and Uniformity on the Hypersphere, arXiv 2005.10242",
        acts_on="features",
        relative_cost=0.06,
        caution=_AGAINST_THE_LOSS,
        differs="The authors use the weight 1, together with an alignment loss and without labels. Here the default is "
        "0.1, because the term opposes a loss with labels. Preset `authors` uses their weight.",
    )

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """The authors' weight."""
        return {"weight": 1.0}


class KoLeo(FeaturePenalty):
    """Kozachenko–Leonenko entropy of features: each feature moves away from its nearest neighbour."""

    kind: Literal["koleo"] = "koleo"
    weight: NonNegative = 0.1
    """Weight of the batch's term."""

    about: ClassVar[About] = About(
        latex=r"-\frac1b\sum_i\ln\Bigl(\min_{j\ne i}\|z_i-z_j\|+10^{-8}\Bigr)",
        plain="−(mean over the batch of ln of the distance to the nearest other feature), normalised features",
        source="Sablayrolles et al. 2019, Spreading Vectors for Similarity Search, arXiv 1806.03198, eq. 4",
        acts_on="features",
        relative_cost=0.04,
        caution=_AGAINST_THE_LOSS,
        differs="The authors use the weight 0.05, together with a triplet loss. They use ln(b·distance), which adds a "
        "constant, and no ε. The default weight 0.1 and ε are those of later work (DINOv2). Preset `authors` uses "
        "their weight.",
    )

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """The authors' weight."""
        return {"weight": 0.05}


LayerBaseline = SO | DSO | MutualCoherence | SRIP | MMA | CoMHE
"""Baselines on the weights of layers, in the order of the menus."""
FeatureBaseline = Uniformity | KoLeo
"""Baselines on features."""
