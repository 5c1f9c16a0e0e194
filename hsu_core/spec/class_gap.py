"""Which regularizer knows the classes of examples, and what is known about it?

Knows names, ranges and sources. Knows no tensors: the mathematics is in `hsu_core.class_gap`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from hsu_core.spec.penalties import About, FeaturePenalty
from hsu_core.spec.values import NonNegative

__all__ = ["HUG"]


class HUG(FeaturePenalty):
    """Hyperspherical uniformity gap: class vectors far apart, and each feature close to the vector of its class.

    The class vectors are the neurons of the classifier.
    """

    kind: Literal["hug"] = "hug"
    within: NonNegative = 1.0
    """Weight of the distance of features to their class vectors, relative to the energy of the class vectors."""
    weight: NonNegative = 0.1
    """Weight of the batch's term."""

    about: ClassVar[About] = About(
        latex=r"\frac{1}{\binom{c}{2}}\sum_{k<l}\|v_k-v_l\|^{-2}+\beta\,\frac1b\sum_j\|z_j-v_{y_j}\|",
        plain="mean over pairs of classes of ‖v − v'‖⁻² + within · mean over the batch of ‖z − v of its class‖, with z "
        "the normalised features and v the normalised neurons of the classifier",
        source="Liu et al. 2023, Generalizing and Decoupling Neural Collapse via Hyperspherical Uniformity Gap, "
        "arXiv 2303.06484, MHE-HUG with class proxies",
        acts_on="features",
        relative_cost=0.07,
        caution="It needs the classes of the batch. Features behind a ReLU are never negative and are at most at right "
        "angles: they cannot reach the vectors of a simplex, so the distance to these stays above 0.",
        differs="The authors use it in place of cross entropy. Here it is added to the loss of the task, and the "
        "proxies are the neurons of the classifier: both parts move them. Sums are means. The default weights are "
        "this project's.",
    )

    @property
    def needs_classes(self) -> bool:
        """Each feature is compared with the vector of its class."""
        return True
