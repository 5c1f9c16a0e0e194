"""How are vectors of users and items trained to recommend? From interactions, judged by those that came later."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple, assert_never

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from hsu_core import models, spec
from hsu_core.data.batches import epoch_order
from hsu_core.data.interactions import Interactions
from hsu_core.models.recommenders import Vectors
from hsu_core.ranks import World
from hsu_core.tasks.task import Task, autocast

SHOWN = 20
"""Items that are recommended to a user at an evaluation."""
USERS_AT_ONCE = 1024
"""Users whose scores are held at the same time."""


class Batch(NamedTuple):
    """Interactions, and for each an item that was drawn."""

    users: Int64[Tensor, " n"]
    items: Int64[Tensor, " n"]
    others: Int64[Tensor, " n"]


class Recommendation(Task[Batch, Vectors]):
    """Interactions of users with items."""

    def __init__(
        self, training: spec.RecommendationSpec, data: Interactions, *, device: torch.device, world: World
    ) -> None:
        self.training, self.device, self.world, self.facts = training, device, world, training.dataset.facts
        self.train, self.test = (torch.from_numpy(pairs).to(device) for pairs in data)
        if few := int((self._held_out(slice(None)) == 0).sum()):
            told = f"{few} of {self.facts.users}: none is held out, so they are not judged"
            self.left_out = {"users with one or two interactions": told}
        self.neighbours = _neighbours(self.train, self.facts)
        self.model = models.prepared(training, self.facts).to(device)

    def batches(self, start: int) -> Iterator[Batch]:
        """Interactions. An epoch has only full batches, and no interaction twice."""
        size, seed = self.training.batch_size, self.training.seed
        part = self.world.part(size)
        per_epoch = self.training.epoch_steps or len(self.train) // size
        for step in count(start):
            epoch, place = divmod(step, per_epoch)
            if place == 0 or step == start:
                order = epoch_order(len(self.train), seed=seed, epoch=epoch).to(self.device)
            pairs = self.train[order[place * size : (place + 1) * size][part]]
            others = _drawn(size, self.facts.items, seed=seed, step=step)[part]
            yield Batch(pairs[:, 0], pairs[:, 1], others.to(self.device))

    def outputs(self, network: nn.Module, _batch: Batch) -> Vectors:
        """All vectors of users and items in float32, in whatever precision the model ran."""
        with autocast(self.device, self.training.precision):
            users, items = network(self.neighbours)
        return users.float(), items.float()

    def loss(self, outputs: Vectors, batch: Batch) -> Float[Tensor, ""]:
        """The spec's loss of the interactions in the batch; pairs of users, and of items, are those of all ranks."""
        users, items = outputs[0][batch.users], outputs[1][batch.items]
        match self.training.loss:
            case spec.BPR():
                lead = (users * (items - outputs[1][batch.others])).sum(dim=1)
                return -logsigmoid(lead).mean()
            case spec.AlignUniform(gamma=gamma):
                users, items = normalize(users, dim=1), normalize(items, dim=1)
                aligned = (users - items).square().sum(dim=1).mean()
                everyone = map(self.world.gathered, (users, items))
                return aligned + gamma * sum(map(_crowding, everyone)) / 2
            case _:
                assert_never(self.training.loss)

    def measured(self, _outputs: Vectors, _batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Nothing beside the loss."""
        return {}

    @torch.no_grad()
    def evaluated(self) -> dict[str, Float[Tensor, ""]]:
        """Recall@20 and NDCG@20, means over the users with held-out items.

        All items are ranked, but for those of the user's training interactions (He et al. 2020, 4.1).
        """
        self.model.eval()
        users, items = self.outputs(self.model, Batch(*(self.test.new_zeros(0),) * 3))
        self.model.train()
        recalls, gains = [], []
        for first in range(0, self.facts.users, USERS_AT_ONCE):
            some = slice(first, first + USERS_AT_ONCE)
            scores = users[some] @ items.T
            scores[self._of(self.train, some)] = -torch.inf
            hits = self._relevant(some).gather(1, scores.topk(min(SHOWN, self.facts.items), dim=1).indices)
            recall, gain = judged(hits, self._held_out(some))
            recalls.append(recall)
            gains.append(gain)
        return {"recall_at_20": torch.cat(recalls).mean(), "ndcg_at_20": torch.cat(gains).mean()}

    def _of(self, pairs: Int64[Tensor, "n 2"], some: slice) -> tuple[Tensor, Tensor]:
        """Rows and columns of the interactions of some users in a table of those users and all items."""
        mine = pairs[(pairs[:, 0] >= some.start) & (pairs[:, 0] < some.stop)]
        return mine[:, 0] - some.start, mine[:, 1]

    def _relevant(self, some: slice) -> Bool[Tensor, "users items"]:
        rows = min(some.stop, self.facts.users) - some.start
        table = torch.zeros(rows, self.facts.items, dtype=torch.bool, device=self.device)
        table[self._of(self.test, some)] = True
        return table

    def _held_out(self, some: slice) -> Int64[Tensor, " users"]:
        return torch.bincount(self.test[:, 0], minlength=self.facts.users)[some]


def judged(
    hits: Bool[Tensor, "users shown"], held_out: Int64[Tensor, " users"]
) -> tuple[Float[Tensor, " judged"], Float[Tensor, " judged"]]:
    """Recall and NDCG of each user who has held-out items."""
    hits, held_out = hits[held_out > 0].double(), held_out[held_out > 0]
    discounts = 1 / torch.log2(torch.arange(2, hits.shape[1] + 2, device=hits.device, dtype=torch.float64))
    best = discounts.cumsum(dim=0)[held_out.clamp(max=hits.shape[1]) - 1]
    return hits.sum(dim=1) / held_out, hits @ discounts / best


def _crowding(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The uniformity loss of Wang and Isola 2020 (arXiv 2005.10242): log mean exp(−2 · squared distance) of pairs."""
    return torch.pdist(x).square().mul(-2).exp().mean().log()


def _neighbours(pairs: Int64[Tensor, "n 2"], facts: spec.InteractionFacts) -> Float[Tensor, "users items"]:
    """The sparse table of LightGCN: 1/√(items of the user · users of the item) for each interaction."""
    users, items = pairs.T
    of_user, of_item = torch.bincount(users, minlength=facts.users), torch.bincount(items, minlength=facts.items)
    values = torch.rsqrt(of_user[users] * of_item[items].float())
    size = (facts.users, facts.items)
    return torch.sparse_coo_tensor(pairs.T, values, size, check_invariants=False).coalesce()


def _drawn(count: int, items: int, *, seed: int, step: int) -> Int64[Tensor, " count"]:
    """Items that depend on (seed, step) alone; drawn on the CPU, so that they are the same for every device."""
    sequence = np.random.SeedSequence((seed, step), spawn_key=(1,))
    generator = torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
    return torch.randint(items, (count,), generator=generator)
