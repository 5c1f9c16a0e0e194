"""A graph's networks against their formulas, and the published graphs as they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_worlds import training, world

from hsu_core import spec, tasks
from hsu_core.data import files, graphs, reading
from hsu_core.data.images import DamagedFile
from hsu_core.tasks.nodes import Nodes


def prepared(network: str) -> Nodes:
    chosen = training(network)
    task = tasks.prepare(chosen, world(chosen.dataset), device=torch.device("cpu"))
    assert isinstance(task, Nodes)
    return task


def test_gcn_is_the_formula_of_kipf_and_welling() -> None:
    task = prepared("gcn")
    count = len(task.labels)
    neighbours = torch.zeros(count, count)
    neighbours.index_put_((task.edges[1], task.edges[0]), torch.ones(task.edges.shape[1]), accumulate=True)
    neighbours.fill_diagonal_(1)
    degree = neighbours.sum(dim=1)
    step = neighbours / (degree[:, None] * degree).sqrt()
    weights = dict(task.model.named_parameters())
    hidden = (step @ task.features @ weights["conv1.lin.weight"].T + weights["conv1.bias"]).relu()
    expected = step @ hidden @ weights["conv2.lin.weight"].T + weights["conv2.bias"]
    task.model.eval()
    torch.testing.assert_close(task.outputs(task.model, 0), expected)


def test_only_training_nodes_enter_the_loss() -> None:
    task = prepared("gcn")
    logits = torch.zeros(len(task.labels), 7, requires_grad=True)
    task.loss(logits, 0).backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum(dim=1).nonzero().flatten().tolist() == task.train.tolist()


def test_nodes_without_neighbours_are_told() -> None:
    chosen = training("gat")
    graph = world(chosen.dataset)
    ring = np.arange(2, 40)
    cut = graph._replace(edges=np.stack([ring, np.roll(ring, 1)]))
    for given, told in ((graph, {}), (cut, {"nodes without neighbours": "2 of 40: each sees only itself"})):
        assert tasks.prepare(chosen, given, device=torch.device("cpu")).left_out == told


def test_nodes_train_in_one_process() -> None:
    assert training("gcn").indivisible(1) is None
    assert training("gcn").indivisible(2) == "nodes trains in one process, found 2: its batch is whole"


def test_a_pickle_that_was_not_published_is_not_read(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in files.LAYOUT["cora"]]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"cos\nsystem\n(S'touch broken'\ntR.")
    with pytest.raises(DamagedFile, match=r"ind\.cora\.x: expected the published file, of sha256 23cfa55d"):
        graphs.read(paths, spec.Cora.facts)


@pytest.mark.dataset
@pytest.mark.parametrize("dataset", [spec.Cora(), spec.Citeseer()], ids=lambda dataset: dataset.kind)
def test_the_published_graphs_are_as_their_facts_say(
    dataset: spec.GraphDataset, data_dir: Callable[[spec.Dataset], Path]
) -> None:
    graph, facts = reading.load(dataset, data_dir(dataset)), dataset.facts
    assert graph.features.shape == (facts.nodes, facts.features)
    assert (len(graph.train), len(graph.validation), len(graph.test)) == (facts.train, facts.validation, facts.test)
    assert set(graph.labels.tolist()) == set(range(facts.classes))
    assert sorted(graph.edges.T.tolist()) == sorted(graph.edges[::-1].T.tolist())
