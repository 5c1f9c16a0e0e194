"""Which regularizers spread points without looking at their pairs? By random samples, circles and directions.

Knows names, ranges and sources. Knows no tensors: the mathematics is in `hsu_core.dispersion`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hsu_core.spec.penalties import About, FeaturePenalty, LayerPenalty
from hsu_core.spec.values import WHOLE, Flag, NonNegative

__all__ = [
    "FeatureDispersion",
    "LayerDispersion",
    "Lloyd",
    "SlicedDispersion",
    "SlicedGaussian",
    "WassersteinUniformity",
]

Draws = Annotated[int, Field(ge=1, le=65536), WHOLE]
_TOKARCHUK = "Tokarchuk et al. 2025, Keep your distance: learning dispersed embeddings on Sᵈ, arXiv 2502.08231"
_NO_PAIRS = (
    "Its cost grows with the number of neurons and not of pairs: it suits embedding tables and large classifiers."
)
_OUR_WEIGHT = "The default weight is this project's."


class DispersionPenalty(LayerPenalty):
    """A penalty on directions that draws new random numbers at each step."""

    half_space: Flag = True
    """Also count the mirror images −x. Hidden layers only, never the classifier."""
    hidden_weight: NonNegative = 1.0
    """Weight of each hidden layer's term."""
    final_weight: NonNegative = 1.0
    """Weight of the classifier's term."""

    @property
    def is_mirrored(self) -> bool:
        """Whether it acts in half space."""
        return self.half_space

    @property
    def needs_pairs(self) -> bool:
        """A single neuron cannot be spread."""
        return True


class Lloyd(DispersionPenalty):
    """Lloyd's dispersion: each random point of the sphere draws its nearest neuron closer."""

    kind: Literal["lloyd"] = "lloyd"
    samples: Draws = 100
    """Random points at each step; the authors use 100."""

    about: ClassVar[About] = About(
        latex=r"\mathbb{E}_{u}\,\min_i\,\arccos(u^\top x_i)^2",
        plain="mean over random unit vectors u of (the angle to the nearest xᵢ)², radians",
        source=f"{_TOKARCHUK}, section 4.4",
        acts_on="weights",
        relative_cost=0.9,
        caution=f"{_NO_PAIRS} Only the neurons nearest to a sample move at a step. In many dimensions random points "
        "are nearly at right angles to all neurons, and the estimate is weak.",
        differs=f"The authors cut cosines at 1 − 10⁻⁴; here the angle is exact. {_OUR_WEIGHT}",
    )


class SlicedDispersion(DispersionPenalty):
    """Sliced dispersion: projected to a random great circle, the neurons should be equally spaced on it."""

    kind: Literal["sliced_dispersion"] = "sliced_dispersion"
    circles: Draws = 1
    """Random great circles at each step, whose values are averaged; the authors use 1."""

    about: ClassVar[About] = About(
        latex=r"\frac{1}{2n}\sum_i(\theta_i-\theta_i^*)^2",
        plain="half the mean squared difference between the angles of the neurons on a random great circle and equally "
        "spaced angles in the same order",
        source=f"{_TOKARCHUK}, section 4.5",
        acts_on="weights",
        relative_cost=0.4,
        caution=f"{_NO_PAIRS} It is not 0 for uniform points, since no points are equally spaced on "
        "every circle. One circle a step is a noisy estimate.",
        differs=f"The authors take the sum over the points, here it is the mean. {_OUR_WEIGHT}",
    )


class WassersteinUniformity(FeaturePenalty):
    """Wasserstein uniformity of features: the distance of their Gaussian approximation to that of uniform ones."""

    kind: Literal["wasserstein_uniformity"] = "wasserstein_uniformity"
    weight: NonNegative = 0.1
    """Weight of the batch's term."""

    about: ClassVar[About] = About(
        latex=r"\sqrt{\|\mu\|^2+1+\operatorname{tr}\Sigma-\tfrac{2}{\sqrt d}\operatorname{tr}\Sigma^{1/2}}",
        plain="√(‖μ‖² + 1 + tr Σ − 2/√d · tr Σ^½), with μ and Σ the mean and covariance of the normalised features",
        source="Fang et al. 2024, Rethinking the Uniformity Metric in Self-Supervised Learning, arXiv 2403.00642",
        acts_on="features",
        relative_cost=0.13,
        caution="It sees only mean and covariance: features on the axes count as uniform. With fewer features than "
        "dimensions it cannot be 0. With labels it opposes the loss: keep the weight small.",
        differs="The authors use weights that decay, together with a self-supervised loss. The default weight is this "
        "project's.",
    )


class SlicedGaussian(FeaturePenalty):
    """Sketched isotropic Gaussian regularization (SIGReg): along random directions, features should be normal."""

    kind: Literal["sliced_gaussian"] = "sliced_gaussian"
    directions: Draws = 256
    """Random directions at each step."""
    weight: NonNegative = 0.01
    """Weight of the batch's term."""

    about: ClassVar[About] = About(
        latex=r"b\int\bigl|\tfrac1b\sum_j e^{it a^\top z_j}-e^{-t^2/2}\bigr|^2 e^{-t^2/2}\,dt",
        plain="the Epps–Pulley statistic of aᵀz for normality, mean over random unit directions a; raw features z",
        source="Balestriero and LeCun 2025, LeJEPA, arXiv 2511.08544, algorithm 1",
        acts_on="features",
        relative_cost=0.17,
        caution="Its target is the normal distribution N(0, I), not the sphere: it also sets the length of features. "
        "With labels it opposes the loss: keep the weight small.",
        differs="The authors use it in place of labels, mixed with a prediction loss. The default weight is this "
        "project's.",
    )


LayerDispersion = Lloyd | SlicedDispersion
"""On the weights of layers."""
FeatureDispersion = WassersteinUniformity | SlicedGaussian
"""On features."""
