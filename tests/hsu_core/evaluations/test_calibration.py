"""Calibration by hand, on a case that fits on paper."""

from __future__ import annotations

import math

import pytest
import torch

from hsu_core import spec
from hsu_core.evaluations import calibration
from hsu_core.evaluations.passes import Seen

PROBABILITIES = torch.tensor([[0.9, 0.1], [0.75, 0.25], [0.45, 0.55], [0.8, 0.2]], dtype=torch.float64)
CLASSES = torch.tensor([0, 1, 1, 0])


def test_the_calibration_error_is_that_by_hand() -> None:
    # Of two bins only that above ½ has examples: accuracy 3/4, confidence (0.9 + 0.75 + 0.55 + 0.8)/4 = 3/4.
    assert calibration.calibration_error(PROBABILITIES, CLASSES, bins=2).item() == pytest.approx(0.0, abs=1e-7)
    # Of twenty bins each example has its own: 0.9 is right, 0.75 wrong, 0.55 and 0.8 right.
    alone = (abs(1 - 0.9) + abs(0 - 0.75) + abs(1 - 0.55) + abs(1 - 0.8)) / 4
    assert calibration.calibration_error(PROBABILITIES, CLASSES, bins=20).item() == pytest.approx(alone, abs=1e-6)


def test_the_brier_score_is_that_by_hand() -> None:
    by_hand = (2 * 0.1**2 + 2 * 0.75**2 + 2 * 0.45**2 + 2 * 0.2**2) / 4
    assert calibration.brier(PROBABILITIES, CLASSES).item() == pytest.approx(by_hand, rel=1e-12)


def test_the_likelihood_is_that_by_hand_and_all_are_measured_of_logits() -> None:
    found = Seen(torch.zeros(4, 3), PROBABILITIES.log().float(), CLASSES)
    measured = calibration.measure(spec.Calibration(bins=20), found)
    by_hand = -sum(map(math.log, (0.9, 0.25, 0.55, 0.8))) / 4
    assert measured == {
        "ece": pytest.approx(0.375, abs=1e-6),
        "brier": pytest.approx(0.40750, abs=1e-6),
        "nll": pytest.approx(by_hand, rel=1e-6),
    }


def test_a_certain_and_right_network_is_perfect() -> None:
    found = Seen(torch.zeros(3, 1), 1000 * torch.eye(3), torch.arange(3))
    assert calibration.measure(spec.Calibration(), found) == pytest.approx({"ece": 0, "brier": 0, "nll": 0})
