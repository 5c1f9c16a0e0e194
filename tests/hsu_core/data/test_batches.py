"""Which images a step sees follows from the seed and the step."""

from itertools import islice

import numpy as np
import pytest
import torch

from hsu_core.data.batches import Batches, Moves, epoch_order, moved, moves, normalised
from hsu_core.data.images import Images


def batches(*, size: int = 4, seed: int = 0, images: int = 10, per_epoch: int | None = None) -> Batches:
    """Images whose only pixel and whose label are their number."""
    numbers = np.arange(images)
    pixels = numbers.astype(np.uint8).reshape(-1, 1, 1, 1)
    of = Images(pixels, numbers, pixels, numbers)
    return Batches(of, size=size, seed=seed, device=torch.device("cpu"), per_epoch=per_epoch)


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


def test_an_epoch_may_be_shorter_than_the_data() -> None:
    short, long = seen(batches(per_epoch=1), start=0, steps=2), seen(batches(), start=0, steps=4)
    assert short == [long[0], long[2]]


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


# --- augmentation -----------------------------------------------------------------------------------------------------


def by_hand(image: torch.Tensor, *, mirrored: bool, down: int, right: int) -> torch.Tensor:
    """One image, moved pixel by pixel."""
    image = image.flip(-1) if mirrored else image
    out = torch.zeros_like(image)
    _, height, width = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                out[:, i, j] = image[:, i - down, j - right]
    return out


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (1, 16, 8)], ids=str)
def test_images_move_over_black_as_if_moved_pixel_by_pixel(shape: tuple[int, int, int]) -> None:
    pixels = torch.randint(1, 256, (64, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    drawn = moves(64, *shape[1:], seed=0, step=0)
    expected = [
        by_hand(image, mirrored=bool(mirrored), down=int(down), right=int(right))
        for image, mirrored, down, right in zip(pixels, *drawn, strict=True)
    ]
    assert torch.equal(moved(pixels, drawn), torch.stack(expected))


def test_images_move_over_their_mirror_images_as_numpy_pads() -> None:
    pixels = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    drawn = moves(64, 32, 32, seed=0, step=0)
    for image, found, mirrored, down, right in zip(
        pixels, moved(pixels, drawn, padding="symmetric"), *drawn, strict=True
    ):
        padded = np.pad(image.flip(-1) if mirrored else image, ((0, 0), (4, 4), (4, 4)), "symmetric")
        top, left = 4 - int(down), 4 - int(right)
        assert np.array_equal(found, padded[:, top : top + 32, left : left + 32])


def test_to_move_nothing_is_to_change_nothing() -> None:
    pixels = torch.arange(2 * 64, dtype=torch.uint8).reshape(2, 1, 8, 8)
    still = torch.zeros(2, dtype=torch.int64)
    assert torch.equal(moved(pixels, Moves(still > 0, still, still)), pixels)


@pytest.mark.parametrize(("side", "farthest"), [(32, 4), (28, 3), (8, 1)])
def test_every_move_is_as_likely_as_it_should_be(side: int, farthest: int) -> None:
    """χ² over all (mirrored, down, right): its mean is the degrees of freedom, its deviation √(2·those)."""
    drawn = [moves(128, side, side, seed=3, step=step) for step in range(400)]
    mirrored, down, right = (torch.cat(each) for each in zip(*drawn, strict=True))
    places = 2 * farthest + 1
    cell = (mirrored * places + down + farthest) * places + right + farthest
    cells = 2 * places**2
    seen = torch.bincount(cell, minlength=cells).double()
    assert len(seen) == cells
    expected = len(cell) / cells
    chi2 = ((seen - expected) ** 2 / expected).sum().item()
    assert abs(chi2 - (cells - 1)) < 4 * (2 * (cells - 1)) ** 0.5


def test_moves_depend_on_seed_and_step_alone() -> None:
    torch.manual_seed(1)
    one = moves(32, 32, 32, seed=1, step=2)
    torch.manual_seed(2)
    again, others = moves(32, 32, 32, seed=1, step=2), [moves(32, 32, 32, seed=s, step=t) for s, t in ((1, 3), (2, 1))]
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert all(not torch.equal(a, b) for other in others for a, b in zip(one, other, strict=True))


def test_augmented_batches_that_start_late_see_what_comes_late() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)
    images = Images(pixels, np.arange(10), pixels, np.arange(10))
    of = Batches(images, size=4, seed=0, device=torch.device("cpu"), augment="crop_flip")
    whole = [x for x, _ in islice(of.training(0), 5)]
    late = [x for x, _ in islice(of.training(3), 2)]
    assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(whole[3:], late, strict=True))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in whole)
    assert torch.equal(next(of.testing())[0], normalised(torch.from_numpy(pixels)))
