"""Which regularizers is the family compared with, and what is known of each?

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
_OUR_WEIGHTS = "The public code has `srip` alone. Weights are ours: the best one depends on network and schedule."
_AGAINST_THE_LOSS = "With labels it works against the loss, which gathers a class: keep the weight small."


class HiddenPenalty(LayerPenalty):
    """A penalty on raw weights that leaves the classifier out by default."""

    final_weight: NonNegative = 0.0
    """Weight of the classifier's term, which is left out by default."""


class SO(HiddenPenalty):
    """Soft orthogonality: unit length and right angles."""

    kind: Literal["so"] = "so"
    hidden_weight: NonNegative = 1e-2
    """Weight of each hidden layer's term."""

    about: ClassVar[About] = About(
        latex=r"\|WW^\top-I\|_F^2",
        plain="‖WWᵀ − I‖²_F of the raw weights",
        source=f"{_BANSAL}, eq. 4",
        acts_on="weights",
        relative_cost=1.5,
        caution="For n > d it cannot be 0, and its minimum is any tight frame, duplicates included.",
        differs=_OUR_WEIGHTS,
    )


class DSO(HiddenPenalty):
    """Double soft orthogonality, for layers with more neurons than inputs too."""

    kind: Literal["dso"] = "dso"
    hidden_weight: NonNegative = 1e-2
    """Weight of each hidden layer's term."""

    about: ClassVar[About] = About(
        latex=r"\|WW^\top-I\|_F^2+\|W^\top W-I\|_F^2",
        plain="‖WWᵀ − I‖²_F + ‖WᵀW − I‖²_F of the raw weights",
        source=f"{_BANSAL}, eq. 5",
        acts_on="weights",
        relative_cost=1.5,
        caution="The two terms differ by the constant n − d, so the gradient is just twice that of `so`.",
        differs=_OUR_WEIGHTS,
    )


class MutualCoherence(HiddenPenalty):
    """Mutual coherence: the worst entry of the Gram matrix."""

    kind: Literal["mutual_coherence"] = "mutual_coherence"
    hidden_weight: NonNegative = 1e-1
    """Weight of each hidden layer's term."""

    about: ClassVar[About] = About(
        latex=r"\max_{ij}\,\bigl|(WW^\top-I)_{ij}\bigr|",
        plain="the largest |entry| of WWᵀ − I, raw weights",
        source=f"{_BANSAL}, eq. 6",
        acts_on="weights",
        relative_cost=1.5,
        caution="One entry has the gradient at a time, and while lengths differ from 1 it is a diagonal one.",
        differs=_OUR_WEIGHTS,
    )


class SRIP(HiddenPenalty):
    """Spectral restricted isometry: the worst stretch of any direction."""

    kind: Literal["srip"] = "srip"
    iterations: Annotated[int, Field(ge=1, le=100), WHOLE] = 2
    """Steps of the power iteration; the paper has 2."""
    arithmetic: Arithmetic = "exact"
    """`authors`: the square of the norm, of the smaller Gram matrix, from a uniform start."""
    hidden_weight: NonNegative = 1e-1
    """Weight of each hidden layer's term."""

    about: ClassVar[About] = About(
        latex=r"\sigma\bigl(WW^\top-I\bigr)",
        plain="the spectral norm of WWᵀ − I, raw weights, by power iteration from a random start",
        source=f"{_BANSAL}, eqs. 7 to 9",
        acts_on="weights",
        relative_cost=0.7,
        caution="Two iterations from a random start give a lower bound that varies from step to step.",
        differs="The public code squares the spectral norm, estimates it with one step from a uniform start, of the"
        " smaller of WWᵀ and WᵀW, weighs every layer and the classifier with 0.01, and lets that fall to 0 "
        "in five stages by epochs. The defaults are the paper's formula. Preset `authors` is exact but for "
        "the stages: a weight's schedule here is linear.",
    )

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """Their arithmetic, of every layer."""
        return {"arithmetic": "authors", "iterations": 1, "hidden_weight": 1e-2, "final_weight": 1e-2}


class MMA(HiddenPenalty):
    """Maximal minimal angles: each neuron is turned away from its nearest one."""

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
        differs="The authors weigh every layer with 0.07, the classifier too, where here it is left out as by the "
        "other rivals; for networks with skip connections with 0.03. They clamp the cosine at 0.99999, so "
        "that closer pairs feel nothing; here the angle is exact. Preset `authors` has their weights.",
    )

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """Their weights, for networks without skip connections."""
        return {"hidden_weight": 0.07, "final_weight": 0.07}


class CoMHE(SpherePenalty):
    """Compressive MHE: the energy of neurons projected to fewer dimensions."""

    kind: Literal["comhe"] = "comhe"
    projection: Literal["random", "angle", "adversarial"] = "random"
    """random: fresh Gaussian matrices; angle: moved to preserve the pairwise angles; adversarial: moved to raise the
    energy."""
    dimension: Annotated[int, Field(ge=2, le=65536), WHOLE] = 30
    """Dimension of the projected neurons; layers of no more inputs than that are not projected."""
    projections: Annotated[int, Field(ge=1, le=256), WHOLE] = 20
    """Random projections whose energies are averaged; the other kinds keep one."""
    steps: Annotated[int, Field(ge=1, le=1000), WHOLE] = 1
    """Gradient steps of a kept projection for one step of the network."""
    lr: Positive | None = 0.01
    """Learning rate of a kept projection; null: that of the network at the time, as the authors'."""
    s: Exponent = 2.0
    """Riesz exponent; 0 is the logarithmic energy."""
    angular: Flag = False
    """Repel by the angle, in units of π, in place of the Euclidean distance."""
    hidden_weight: NonNegative = 1.0
    """Weight of each hidden layer's term; the authors use 1."""
    final_weight: NonNegative = 10.0
    """Weight of the classifier's term; the authors use 10."""
    project_classifier: Annotated[Flag, Field(exclude_if=lambda value: value is True)] = False
    """Whether the classifier is projected too; the authors do not. Where a canonical spec leaves it out it is: so was
    every one from before there was a choice."""

    about: ClassVar[About] = About(
        latex=r"\frac1c\sum_{k=1}^{c}E_s\bigl(\{P_k x_i\}\bigr)",
        plain="mean over projections P of the mhe of the projected neurons",
        source="Lin et al. 2020, Regularizing Neural Networks via Minimizing Hyperspherical Energy, arXiv 1906.04892",
        acts_on="weights",
        relative_cost=9,
        caution="More than `dimension` + 1 neurons cannot all be far apart after a projection: the energy stays above "
        "what the layer itself could reach.",
        differs="The defaults are one setting for every kind of projection, of rows of length 1: 20 random "
        "projections to 30 dimensions, and for kept ones, the mean squared change of angles and a rate of "
        "their own, so that weights and kinds compare. The authors take 40 dimensions for random ones, "
        "project raw weights, move a kept projection at the network's rate on ‖cos(wP) − cos(w)‖ or on the "
        "full-space energy (10 steps), and let the gradient go through one more such step. Preset `authors`"
        " is exact.",
    )

    @classmethod
    def authors(cls, given: Mapping[str, Any], /) -> dict[str, Any]:
        """Their arithmetic, with what their programs have for each kind."""
        own: dict[str, dict[str, Any]] = {
            "angle": {"dimension": 30, "steps": 1, "lr": None},
            "adversarial": {"dimension": 30, "steps": 10, "lr": None},
        }
        return {**super().authors(given), **own.get(str(given.get("projection")), {"dimension": 40})}

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_kept(cls, value: object) -> object:
        """A spec that states everything but this was kept when the classifier was always projected."""
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
        relative_cost=0.04,
        caution=_AGAINST_THE_LOSS,
        differs="The authors weigh it 1, beside alignment and without labels; 0.1 here, where it works against a "
        "loss with labels. Preset `authors` has their weight.",
    )

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """Their weight."""
        return {"weight": 1.0}


class KoLeo(FeaturePenalty):
    """Kozachenko–Leonenko entropy of features: each is pushed from its nearest neighbour."""

    kind: Literal["koleo"] = "koleo"
    weight: NonNegative = 0.1
    """Weight of the batch's term."""

    about: ClassVar[About] = About(
        latex=r"-\frac1b\sum_i\ln\Bigl(\min_{j\ne i}\|z_i-z_j\|+10^{-8}\Bigr)",
        plain="−(mean over the batch of ln of the distance to the nearest other feature), normalised features",
        source="Sablayrolles et al. 2019, Spreading Vectors for Similarity Search, arXiv 1806.03198, eq. 4",
        acts_on="features",
        relative_cost=0.02,
        caution=_AGAINST_THE_LOSS,
        differs="The authors weigh it 0.05, beside a triplet loss, take ln(b·distance), which adds a constant, and "
        "no ε; the weight 0.1 and ε are those of later use (DINOv2). Preset `authors` has their weight.",
    )

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """Their weight."""
        return {"weight": 0.05}


LayerBaseline = SO | DSO | MutualCoherence | SRIP | MMA | CoMHE
"""Those on the weights of layers, in the order of menus."""
FeatureBaseline = Uniformity | KoLeo
"""Those on features."""
