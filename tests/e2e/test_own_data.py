"""Data sets that users bring, on the whole service: every command of the how-to, and real images end to end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from how_to import follow
from PIL import Image

from hsu_client.client import Client
from hsu_client.problem import Problem
from hsu_core import spec
from hsu_core.data import reading


def test_every_command_of_the_how_to_works(service: dict[str, str], tmp_path: Path) -> None:
    said = follow("own_data.md", service, tmp_path)
    assert "handwriting, version 1 of" in said
    assert "questions, version 1 of" in said
    assert "deleted version 1 of by-hand" in said


@pytest.mark.dataset
def test_2000_real_images_are_added_trained_on_and_deleted(
    service: dict[str, str], data_dir: Callable[[spec.Dataset], Path], tmp_path: Path
) -> None:
    clothes = spec.FashionMNIST()
    real = reading.load(clothes, data_dir(clothes))
    for number, (pixels, label) in enumerate(zip(real.train_x[:2000, 0], real.train_y[:2000], strict=True)):
        folder = tmp_path / "clothes" / f"{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    with Client(service["url"], service["key"]) as client:
        begun = client.add_dataset("clothes", tmp_path / "clothes")
        found = client.await_dataset("clothes", begun["version"])
        assert found["state"] == "ready", found["reason"]
        assert sum(found["facts"]["train_counts"]) + sum(found["facts"]["test_counts"]) == 2000
        asked = {
            "dataset": {"kind": "own", "name": "clothes"},
            "model": {"kind": "small_cnn", "width": 8},
            "regularizer": {"kind": "mhe", "s": 2},
            "optimizer": {"kind": "sgd", "lr": 0.1},
            "duration": {"epochs": 4},
            "batch_size": 50,
        }
        waiting = client.submit(asked | {"name": "it waits"})
        client.pause(waiting["id"])
        *_, job = client.follow(client.submit(asked | {"stream": True})["id"], poll=0.1)
        assert job["state"] == "succeeded", job["failure"]
        assert job["spec"]["dataset"]["sha256"] == found["sha256"]
        assert job["result"]["test_accuracy"] > 0.6
        with pytest.raises(Problem, match="have not ended use version 1"):
            client.delete_dataset("clothes", 1)
        client.cancel(waiting["id"])
        client.delete_dataset("clothes", 1)
        with pytest.raises(Problem, match="version 1 of clothes is deleted"):
            client.submit(asked)
    content = Path(service["folder"]) / "artifacts/datasets" / found["sha256"]
    is_gone = threading.Event()
    while content.exists():  # a worker removes it when it looks next
        is_gone.wait(0.1)
