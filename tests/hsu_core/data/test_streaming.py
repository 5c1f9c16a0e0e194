"""Images that are read ahead: the same batches, a thread that ends, and errors where the batch is asked for."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hsu_core import spec, tasks
from hsu_core.data import streaming
from hsu_core.data.batches import Batches
from hsu_core.data.images import Images
from hsu_core.data.streaming import Streamed
from hsu_core.ranks import World

CPU = torch.device("cpu")


def images(folder: Path, *, count: int = 50) -> Images:
    """Random images, mapped from files."""
    drawn = np.random.default_rng(0)
    np.save(folder / "x.npy", drawn.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8))
    x, y = np.load(folder / "x.npy", mmap_mode="c"), drawn.integers(0, 5, count)
    return Images(x, y, x[:9], y[:9])


def first(of: Batches, steps: int, *, start: int = 0) -> list[tuple[Tensor, Tensor]]:
    return list(islice(of.training(start), steps))


def threads() -> int:
    return sum(thread.name == "images" for thread in threading.enumerate())


@pytest.mark.parametrize("world", [World(0, 1), World(1, 2)], ids=["alone", "second of two"])
@pytest.mark.parametrize("start", [0, 5])
def test_streamed_batches_are_bit_for_bit_those_from_the_device(tmp_path: Path, start: int, world: World) -> None:
    held, streamed = (
        Batches(images(tmp_path), size=8, seed=3, device=CPU, augment="crop_flip", world=world, stream=stream)
        for stream in (False, True)
    )
    for one, other in zip(first(held, 13, start=start), first(streamed, 13, start=start), strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    for part in ("train", "test"):
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(held.whole(part), streamed.whole(part), strict=True))
    for (a, _), (b, _) in zip(held.testing(), streamed.testing(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(held.test_x[2:4], streamed.test_x[2:4])
    assert tuple(held.test_x.shape) == streamed.test_x.shape


def test_the_thread_ends_with_the_batches(tmp_path: Path) -> None:
    batches = Batches(images(tmp_path), size=8, seed=3, device=CPU, stream=True).training(0)
    next(batches)
    assert threads() == 1
    del batches
    assert threads() == 0


def test_an_error_of_the_thread_comes_where_the_batch_is_asked_for(tmp_path: Path) -> None:
    def chosen():
        yield torch.tensor([1])
        raise OSError("the disk is gone")

    ahead = streaming.each(Streamed(images(tmp_path).train_x, CPU), chosen())
    assert next(ahead)[0].tolist() == [1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)
    assert threads() == 0


def test_a_set_that_takes_more_than_half_of_the_memory_is_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = images(tmp_path)
    assert not Batches(few, size=8, seed=0, device=CPU).is_streamed
    needed = few.train_x.nbytes + few.test_x.nbytes
    for memory, is_streamed in ((2 * needed, False), (2 * needed - 1, True)):
        monkeypatch.setattr(streaming, "_memory", lambda _device, memory=memory: memory)
        assert Batches(few, size=8, seed=0, device=CPU).is_streamed is is_streamed


def test_a_spec_may_ask_for_it(tmp_path: Path) -> None:
    asked = {"dataset": {"kind": "digits"}, "model": {"kind": "mlp"}, "regularizer": {"kind": "none"}}
    training = spec.TRAINING.validate_python(
        {"task": "classification", "duration": {"steps": 1}, "batch_size": 8, "stream": True} | asked
    )
    assert training.load.data == 8 * 1797
    x, y = np.zeros((20, 1, 8, 8), dtype=np.uint8), np.arange(20) % 10
    assert tasks.prepare(training, Images(x, y, x, y), device=CPU).data.is_streamed
