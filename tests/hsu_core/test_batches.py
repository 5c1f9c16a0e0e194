"""Which images a step sees follows from the seed and the step."""

from itertools import islice

import numpy as np
import torch

from hsu_core.batches import Batches, epoch_order, normalised
from hsu_core.data.images import Images


def batches(*, size: int = 4, seed: int = 0, images: int = 10) -> Batches:
    """Images whose only pixel and whose label are their number."""
    numbers = np.arange(images)
    pixels = numbers.astype(np.uint8).reshape(-1, 1, 1, 1)
    return Batches(Images(pixels, numbers, pixels, numbers), size=size, seed=seed, device=torch.device("cpu"))


def seen(of: Batches, *, start: int, steps: int) -> list[list[int]]:
    return [y.tolist() for _, y in islice(of.training(start), steps)]


def test_starting_late_sees_what_comes_late() -> None:
    whole = seen(batches(), start=0, steps=9)
    for start in range(9):
        assert seen(batches(), start=start, steps=9 - start) == whole[start:]


def test_an_epoch_shows_no_image_twice_and_the_next_one_has_another_order() -> None:
    first, second, third, fourth = seen(batches(size=5), start=0, steps=4)
    assert sorted(first + second) == sorted(third + fourth) == list(range(10))
    assert first + second != third + fourth


def test_the_order_depends_on_seed_and_epoch_and_not_on_the_global_generator() -> None:
    torch.manual_seed(1)
    order = epoch_order(100, seed=3, epoch=2)
    torch.manual_seed(2)
    assert torch.equal(order, epoch_order(100, seed=3, epoch=2))
    assert not torch.equal(order, epoch_order(100, seed=2, epoch=3))


def test_testing_sees_every_image_once_in_order() -> None:
    found = [y for _, y in batches(images=2500).testing()]
    assert [len(y) for y in found] == [1000, 1000, 500]
    assert torch.equal(torch.cat(found), torch.arange(2500))


def test_pixels_are_normalised_as_the_authors_do() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 2, 1, 1)
    assert normalised(pixels).flatten().tolist() == [-127.5 / 128, 127.5 / 128]
