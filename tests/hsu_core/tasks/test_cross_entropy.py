"""Is the loss the authors' program's, and torch's without its options?"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from hsu_core import spec
from hsu_core.tasks.cross_entropy import mean_cross_entropy

LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 3, 4, 0])


def test_without_options_it_is_the_plain_one_to_the_bit() -> None:
    assert torch.equal(mean_cross_entropy(LOGITS, CLASSES, spec.CrossEntropy()), cross_entropy(LOGITS, CLASSES))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_floor_that_is_nearly_none_changes_nearly_nothing(smoothing: float) -> None:
    with_floor = spec.CrossEntropy(label_smoothing=smoothing, softmax_floor=1e-12)
    without = spec.CrossEntropy(label_smoothing=smoothing)
    torch.testing.assert_close(*(mean_cross_entropy(LOGITS, CLASSES, how) for how in (with_floor, without)))


def test_a_network_that_is_sure_of_one_class_has_the_loss_of_the_authors_logs() -> None:
    """Their logs at step 200: fit=9.2094 with accuracy 0, and 9.0669 with two of 128 right."""
    logits = torch.full((128, 100), -100.0)
    logits[:, 7] = 100.0
    how = spec.CrossEntropy(label_smoothing=0.01, softmax_floor=1e-4)
    for right, expected in ((0, 9.2094), (1, 9.1382), (2, 9.0669)):
        classes = torch.full((128,), 8)
        classes[:right] = 7
        assert mean_cross_entropy(logits, classes, how).item() == pytest.approx(expected, abs=1e-4)


def test_the_floor_bounds_the_loss() -> None:
    logits = torch.tensor([[0.0, 1e4]])
    how = spec.CrossEntropy(softmax_floor=1e-4)
    assert mean_cross_entropy(logits, torch.tensor([0]), how).item() == pytest.approx(-math.log(1e-4))
