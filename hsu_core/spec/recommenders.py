"""Which models recommend items to users, with which loss, and what is each made of?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hsu_core.spec.facts import InteractionFacts
from hsu_core.spec.geometry import Geometry, Layer
from hsu_core.spec.values import WHOLE, NonNegative, Spec, Width

__all__ = ["BPR", "AlignUniform", "BuiltInRecommender", "LightGCN", "MatrixFactorization", "RecommenderLoss"]


class MatrixFactorization(Spec):
    """A vector for each user and each item, and their product as the score (Koren, Bell and Volinsky 2009)."""

    kind: Literal["matrix_factorization"] = "matrix_factorization"
    width: Width = 64
    """Numbers in each vector."""

    def geometry(self, facts: InteractionFacts) -> Geometry:
        """`users` and `items`."""
        return _tables(facts, self.width)


class LightGCN(Spec):
    """Vectors that are averaged over the graph of interactions before they are multiplied (He et al. 2020).

    LightGCN, arXiv 2002.02126: it has no weights except the two tables.
    """

    kind: Literal["light_gcn"] = "light_gcn"
    width: Width = 64
    """Numbers in each vector."""
    depth: Annotated[int, Field(ge=1, le=16), WHOLE] = 3
    """How often each vector is averaged over its neighbours. The mean of the vector and all averages is used."""

    def geometry(self, facts: InteractionFacts) -> Geometry:
        """`users` and `items`; each step averages over all interactions."""
        return _tables(facts, self.width, averaged=self.depth)


def _tables(facts: InteractionFacts, width: int, *, averaged: int = 0) -> Geometry:
    tables = (
        Layer("users", "embedding", facts.users, width),
        Layer("items", "embedding", facts.items, width, positions=2),
    )
    return Geometry(tables, other_flops=2 * width, per_step_flops=averaged * 2 * 2 * facts.train * width)


BuiltInRecommender = MatrixFactorization | LightGCN


class BPR(Spec):
    """Bayesian personalised ranking (Rendle et al. 2009, arXiv 1205.2618): −log σ of the difference of two scores.

    They are the scores of an item of the user, and of another item that is drawn uniformly from all items.
    """

    kind: Literal["bpr"] = "bpr"


class AlignUniform(Spec):
    """DirectAU (Wang et al. 2022, arXiv 2206.12811): users are close to their items, and both are spread out.

    Mean squared distance of the normalised vectors of a pair, plus gamma times the mean over users and items of
    log mean exp(−2 · squared distance) within the batch.
    """

    kind: Literal["align_uniform"] = "align_uniform"
    gamma: NonNegative = 1.0
    """Weight of the uniformity term."""


RecommenderLoss = Annotated[BPR | AlignUniform, Field(discriminator="kind")]
