"""Which modules recommend items to users? Two tables of vectors, whose products are scores."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import spec

DEVIATION = 0.1
"""Of the initial vectors, as in the authors' code of LightGCN."""

Vectors = tuple[Float[Tensor, "users d"], Float[Tensor, "items d"]]


class MatrixFactorization(nn.Module):
    """`users` and `items`, as they are."""

    def __init__(self, facts: spec.InteractionFacts, model: spec.MatrixFactorization | spec.LightGCN) -> None:
        super().__init__()
        self.users = nn.Embedding(facts.users, model.width)
        self.items = nn.Embedding(facts.items, model.width)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=DEVIATION)

    def forward(self, _neighbours: Float[Tensor, "users items"]) -> Vectors:
        """All vectors of users and of items."""
        return self.users.weight, self.items.weight


class LightGCN(MatrixFactorization):
    """`users` and `items`, averaged over the graph of interactions."""

    def __init__(self, facts: spec.InteractionFacts, model: spec.LightGCN) -> None:
        super().__init__(facts, model)
        self.depth = model.depth

    def forward(self, neighbours: Float[Tensor, "users items"]) -> Vectors:
        """The mean of the vectors and of their averages over 1 to `depth` steps.

        `neighbours` is sparse: 1/√(items of the user · users of the item) for each interaction, else 0.
        """
        users, items = self.users.weight, self.items.weight
        all_users, all_items = [users], [items]
        backwards = neighbours.t()
        for _ in range(self.depth):
            users, items = neighbours @ items, backwards @ users
            all_users.append(users)
            all_items.append(items)
        return torch.stack(all_users).mean(dim=0), torch.stack(all_items).mean(dim=0)
