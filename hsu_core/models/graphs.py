"""Which modules classify the nodes of a graph? PyTorch Geometric's convolutions, in the forms of their papers."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import dropout, elu

from hsu_core import spec


class GCN(nn.Module):
    """`conv1` and `conv2`, each a linear layer `lin` and the normalised mean over neighbours."""

    def __init__(self, facts: spec.GraphFacts, model: spec.GCN) -> None:
        from torch_geometric.nn import GCNConv  # several seconds, only for graphs

        super().__init__()
        self.dropout = model.dropout
        self.conv1 = GCNConv(facts.features, model.hidden)
        self.conv2 = GCNConv(model.hidden, facts.classes)

    def forward(self, x: Float[Tensor, "n f"], edges: Int64[Tensor, "2 e"]) -> Float[Tensor, "n classes"]:
        """Logits of every node."""
        x = dropout(x, self.dropout, training=self.training)
        x = self.conv1(x, edges).relu()
        x = dropout(x, self.dropout, training=self.training)
        logits: Tensor = self.conv2(x, edges)
        return logits


class GAT(nn.Module):
    """`conv1` of several heads, whose features are concatenated, and `conv2` of one."""

    def __init__(self, facts: spec.GraphFacts, model: spec.GAT) -> None:
        from torch_geometric.nn import GATConv

        super().__init__()
        self.dropout = model.dropout
        self.conv1 = GATConv(facts.features, model.hidden, heads=model.heads, dropout=model.dropout)
        self.conv2 = GATConv(model.hidden * model.heads, facts.classes, heads=1, dropout=model.dropout)

    def forward(self, x: Float[Tensor, "n f"], edges: Int64[Tensor, "2 e"]) -> Float[Tensor, "n classes"]:
        """Logits of every node."""
        x = dropout(x, self.dropout, training=self.training)
        x = elu(self.conv1(x, edges))
        x = dropout(x, self.dropout, training=self.training)
        logits: Tensor = self.conv2(x, edges)
        return logits
