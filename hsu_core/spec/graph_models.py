"""Which networks take a graph, and what is each made of?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hsu_core.spec.facts import GraphFacts
from hsu_core.spec.geometry import Geometry, Layer
from hsu_core.spec.values import WHOLE, Fraction, Spec, Width

__all__ = ["GAT", "GCN", "BuiltInGraphModel"]


class GCN(Spec):
    """Two graph convolutions with ReLU between them (Kipf and Welling 2017, arXiv 1609.02907)."""

    kind: Literal["gcn"] = "gcn"
    hidden: Width = 16
    """Features of each node after the first convolution."""
    dropout: Fraction = 0.5
    """Fraction of the features that is dropped before each convolution during training."""

    def geometry(self, facts: GraphFacts) -> Geometry:
        """`conv1.lin`, then `conv2.lin`, each followed by a mean over neighbours."""
        neighbours = 1 + 2 * facts.edges / facts.nodes
        return Geometry(
            (
                Layer("conv1.lin", "linear", self.hidden, facts.features, bias=True, then=("relu",)),
                Layer("conv2.lin", "linear", facts.classes, self.hidden, bias=True, is_final=True),
            ),
            other_flops=round(2 * neighbours * (self.hidden + facts.classes)),
            other_kept=facts.features + 2 * self.hidden,
        )


class GAT(Spec):
    """Two graph attention layers with ELU between them (Veličković et al. 2018, arXiv 1710.10903)."""

    kind: Literal["gat"] = "gat"
    hidden: Width = 8
    """Features of each node and head after the first layer."""
    heads: Annotated[int, Field(ge=1, le=64), WHOLE] = 8
    """Heads of the first layer; the second has one."""
    dropout: Fraction = 0.6
    """Fraction of the features and of the attention that is dropped during training."""

    def geometry(self, facts: GraphFacts) -> Geometry:
        """`conv1.lin`, the projections of all heads, then `conv2.lin`; each followed by attention over neighbours."""
        neighbours = 1 + 2 * facts.edges / facts.nodes
        width = self.hidden * self.heads
        attended = width + facts.classes
        return Geometry(
            (
                Layer("conv1.lin", "linear", width, facts.features, then=("relu",)),
                Layer("conv2.lin", "linear", facts.classes, width, is_final=True),
            ),
            other_parameters=3 * attended,  # two vectors of attention and a bias
            other_flops=round(2 * neighbours * attended + 4 * attended),
            other_kept=round(facts.features + 2 * width + 4 * neighbours * (self.heads + 1) + neighbours * attended),
        )


BuiltInGraphModel = GCN | GAT
