"""What can a spec ask for? The classes of the entry points. They import no torch: the web process reads them too."""

from __future__ import annotations

from typing import ClassVar, Literal

from hsu_core.spec.facts import ImageFacts
from hsu_core.spec.geometry import Geometry, Layer, conv3x3
from hsu_core.spec.penalties import About
from hsu_core.spec.plugin_bases import PluginImageModel, PluginLayerPenalty, PluginMeasure
from hsu_core.spec.values import NonNegative, Width


class HsuExampleNet(PluginImageModel):
    """One 3×3 convolution with ReLU, the maxima of the four quarters of the image, and a linear classifier."""

    kind: Literal["hsu_example_net"] = "hsu_example_net"
    width: Width = 32
    """Channels of the convolution."""

    builder: ClassVar[str] = "hsu_example.network:Network"

    def geometry(self, facts: ImageFacts) -> Geometry:
        """`conv`, then `classifier`."""
        channels, height, breadth = facts.shape
        return Geometry(
            (
                conv3x3("conv", self.width, inputs=channels, sides=(height, breadth), then=("relu",)),
                Layer("classifier", "linear", facts.classes, 4 * self.width, bias=True, is_final=True),
            )
        )


class HsuExampleFrame(PluginLayerPenalty):
    """The frame potential: the mean squared cosine of two neurons, least for orthogonal ones and for tight frames."""

    kind: Literal["hsu_example_frame"] = "hsu_example_frame"
    hidden_weight: NonNegative = 1.0
    """Weight of each hidden layer's term."""
    final_weight: NonNegative = 1.0
    """Weight of the classifier's term."""

    builder: ClassVar[str] = "hsu_example.frame_potential:penalty"
    about: ClassVar[About] = About(
        latex=r"\frac{1}{\binom{n}{2}}\sum_{i<j}(x_i\cdot x_j)^2",
        plain="mean over pairs i < j of (xᵢ · xⱼ)²",
        source="Benedetto and Fickus 2003, Finite Normalized Tight Frames",
        acts_on="weights",
        relative_cost=1,
        caution="For n > d every tight frame is optimal, even one with two equal neurons.",
    )

    @property
    def needs_pairs(self) -> bool:
        """A single neuron has no pair."""
        return True


class HsuExampleFramePotential(PluginMeasure):
    """The mean squared cosine of two neurons."""

    kind: Literal["hsu_example_frame_potential"] = "hsu_example_frame_potential"
    builder: ClassVar[str] = "hsu_example.frame_potential:frame_potential"
    higher_is_better: ClassVar[bool] = False
