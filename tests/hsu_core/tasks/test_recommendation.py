"""The losses and the judgement of a recommendation, against their formulas written out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from small_worlds import training, world

from hsu_core import spec, tasks
from hsu_core.tasks import recommendation
from hsu_core.tasks.recommendation import Batch, Recommendation
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train


def prepared(network: str, **changes: object) -> Recommendation:
    chosen = training(network, **changes)
    task = tasks.prepare(chosen, world(chosen.dataset), device=torch.device("cpu"))
    assert isinstance(task, Recommendation)
    return task


def test_recall_and_gain_of_a_user_are_those_of_the_formula() -> None:
    hits = torch.tensor([[True, False, True, False], [False, False, False, False], [False, True, False, False]])
    recall, gain = recommendation.judged(hits, torch.tensor([3, 0, 1]))
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert recall.tolist() == pytest.approx([2 / 3, 1.0])
    assert gain.tolist() == pytest.approx([(1 + 1 / math.log2(4)) / best, 1 / math.log2(3)])


def test_a_ranking_that_knows_what_comes_is_perfect_and_items_of_the_past_are_left_out() -> None:
    task = prepared("matrix_factorization")
    users, items = task.facts.users, task.facts.items
    chosen = torch.zeros(users, items)
    chosen[task.test[:, 0], task.test[:, 1]] = 1.0
    chosen[task.train[:, 0], task.train[:, 1]] = 9.0  # what was trained on is never recommended

    class Known(torch.nn.Module):
        def forward(self, _neighbours: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return chosen, torch.eye(items)

    task.model = Known()
    assert {name: value.item() for name, value in task.evaluated().items()} == {"recall_at_20": 1, "ndcg_at_20": 1}


def test_bpr_is_minus_the_log_of_the_chance_that_the_item_leads() -> None:
    task = prepared("matrix_factorization")
    users, items = torch.randn(5, 3), torch.randn(7, 3)
    batch = Batch(torch.tensor([0, 4]), torch.tensor([1, 6]), torch.tensor([2, 3]))
    leads = [
        users[u] @ items[i] - users[u] @ items[j] for u, i, j in zip(*(part.tolist() for part in batch), strict=True)
    ]
    expected = -sum(math.log(1 / (1 + math.exp(-lead))) for lead in leads) / 2
    assert task.loss((users, items), batch).item() == pytest.approx(expected, rel=1e-5)


def test_align_uniform_is_the_formula_of_its_paper() -> None:
    task = prepared("light_gcn", loss={"kind": "align_uniform", "gamma": 0.5})
    users, items = torch.randn(5, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    batch = Batch(torch.tensor([0, 4, 2]), torch.tensor([1, 6, 0]), torch.tensor([2, 3, 4]))
    u, v = (rows / rows.norm(dim=1, keepdim=True) for rows in (users[batch.users], items[batch.items]))
    aligned = sum(((a - b) ** 2).sum() for a, b in zip(u, v, strict=True)) / 3

    def crowding(x: torch.Tensor) -> float:
        pairs = [(0, 1), (0, 2), (1, 2)]
        return math.log(sum(math.exp(-2 * ((x[i] - x[j]) ** 2).sum()) for i, j in pairs) / 3)

    expected = aligned + 0.5 * (crowding(u) + crowding(v)) / 2
    assert task.loss((users, items), batch).item() == pytest.approx(float(expected))


def test_light_gcn_averages_over_the_normalised_graph() -> None:
    task = prepared("light_gcn")
    users, items = task.facts.users, task.facts.items
    table = torch.zeros(users, items)
    table[task.train[:, 0], task.train[:, 1]] = 1
    whole = torch.zeros(users + items, users + items)
    whole[:users, users:], whole[users:, :users] = table, table.T
    degree = whole.sum(dim=1).clamp(min=1)
    step = whole / (degree[:, None] * degree).sqrt()
    vectors = torch.cat([task.model.users.weight, task.model.items.weight])  # type: ignore[arg-type,union-attr]
    expected = (vectors + step @ vectors + step @ (step @ vectors)) / 3
    torch.testing.assert_close(torch.cat(task.outputs(task.model, next(task.batches(0)))), expected)


@pytest.mark.usefixtures("small")
def test_users_of_whom_nothing_is_held_out_are_told() -> None:
    chosen = training("matrix_factorization")
    told: list[Mapping[str, str]] = []
    train(chosen, callbacks=Callbacks(skipped=told.append))
    judged = len(set(world(chosen.dataset).test[:, 0].tolist()))
    reason = f"{671 - judged} of 671: none is held out, so they are not judged"
    assert told == [{"users with one or two interactions": reason}]


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="has 41249 training interactions, found a batch of 50000"):
        training("matrix_factorization", batch_size=50_000)
    assert spec.MovieLensSmall.facts.train == 41_249
