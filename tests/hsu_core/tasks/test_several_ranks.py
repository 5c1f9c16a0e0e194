"""Two processes train each task whose batches can be split as one process would.

python test_several_ranks.py RANK PORT LISTENING FOLDER    one of the two, which trains every case
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_worlds import training, world
from two_ranks import run_both

from hsu_core import spec
from hsu_core.data import reading
from hsu_core.training import checkpoint, launch
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "n-grams": ("bag_of_ngrams", {"regularizer": {"kind": "koleo"}}),
    "n-grams and classes": ("bag_of_ngrams", {"regularizer": {"kind": "hug"}}),
    "a transformer without dropout": (
        "text_transformer",
        {"model": spec.TextTransformer(vocabulary=300, length=8, width=8, heads=2, depth=1, dropout=0).model_dump()},
    ),
    "bpr": ("matrix_factorization", {}),
    "align_uniform over the graph": ("light_gcn", {}),
}


def asked(name: str) -> spec.TrainingSpec:
    network, changes = CASES[name]
    return training(network, **changes)


def be_a_rank(rank: str, port: str, listening: str, folder: str) -> None:
    reading.load = lambda dataset, *_, **__: world(dataset)
    order = launch.Order(
        training=asked("bpr"), rank=int(rank), size=2, port=int(port), device="cpu", data_dir=None, resume_from=None
    )
    outcomes = {}
    with launch.joined(order, listening=int(listening) if rank == "0" else None) as ranks:
        for name in CASES:
            ended = train(asked(name), world=ranks, callbacks=Callbacks(checkpoint_dir=Path(folder, rank, name)))
            outcomes[name] = {key: value for key, value in ended.metrics.items() if "second" not in key}
    Path(folder, rank, "metrics.json").write_text(json.dumps(outcomes))
    launch.end()


@pytest.fixture(scope="module")
def of_both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make of every case: the files of ranks 0 and 1."""
    folder = tmp_path_factory.mktemp("ranks")
    run_both(__file__, folder)
    return folder


def last_of(folder: Path) -> Path:
    found = checkpoint.latest(folder)
    assert found
    return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_updates_of_one(of_both: Path, name: str, tmp_path: Path) -> None:
    alone = train(asked(name), callbacks=Callbacks(checkpoint_dir=tmp_path))
    expected, found = (load_file(last_of(folder)) for folder in (tmp_path, of_both / "0" / name))
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-4, atol=2e-6, msg=lambda m, k=key: f"{k}: {m}")
    first, second = (json.loads((of_both / rank / "metrics.json").read_text())[name] for rank in "01")
    assert first == second
    assert first == {key: pytest.approx(alone.metrics[key], rel=1e-4, abs=1e-6) for key in first}
    assert last_of(of_both / "0" / name).read_bytes() == last_of(of_both / "1" / name).read_bytes()


def test_what_cannot_be_split_is_refused_with_the_reason() -> None:
    assert training("text_transformer").indivisible(2) == "dropout: several processes train without it (0), found 0.1"
    assert training("text_transformer").indivisible(1) is None
    assert training("bag_of_ngrams").indivisible(3) == "batch_size: expected a multiple of the 3 processes, found 16"
    assert training("gcn").indivisible(2) == "nodes trains in one process, found 2: its batch is whole"


if __name__ == "__main__":
    be_a_rank(*sys.argv[1:])
