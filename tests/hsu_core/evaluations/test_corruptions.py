"""Corruptions of images: what each does, that more is worse, and that it depends on the seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from hsu_core import spec
from hsu_core.evaluations import corruptions
from hsu_core.spec.evaluate import CORRUPTIONS

every_kind = pytest.mark.parametrize("kind", CORRUPTIONS)


@pytest.fixture(scope="module")
def photographs() -> np.ndarray[Any, Any]:
    """Smooth coloured images with some noise, not unlike photographs."""
    drawn = np.random.default_rng(0)
    rough = drawn.random((6, 3, 8, 8)).repeat(4, axis=2).repeat(4, axis=3)
    return np.uint8(255 * (0.8 * rough + 0.2 * drawn.random(rough.shape)))


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(np.square(one.astype(float) - other).mean())


@every_kind
def test_a_higher_severity_changes_more(photographs: np.ndarray[Any, Any], kind: spec.CorruptionKind) -> None:
    made = [corruptions.corrupted(photographs, kind, severity, seed=(0,)) for severity in range(1, 6)]
    changes = [difference(each, photographs) for each in made]
    assert 0 < changes[0] <= changes[4]
    assert changes == sorted(changes) or kind == "pixelate", changes  # its sides of 30 to 20 pixels beat with 32


def test_a_strength_of_nothing_changes_nothing(photographs: np.ndarray[Any, Any]) -> None:
    x, drawn = photographs / 255, np.random.default_rng(0)
    nothing: dict[spec.CorruptionKind, float] = {
        "gaussian_noise": 0.0,
        "impulse_noise": 0.0,
        "gaussian_blur": 1e-9,
        "contrast": 1.0,
        "brightness": 0.0,
        "pixelate": 1.0,
    }
    for kind, strength in nothing.items():
        np.testing.assert_allclose(corruptions.changed_by(x, kind, strength, drawn), x, atol=1e-12)
    np.testing.assert_allclose(corruptions.changed_by(x, "shot_noise", 1e9, drawn), x, atol=1e-3)


@every_kind
def test_it_depends_on_the_seed_alone(photographs: np.ndarray[Any, Any], kind: spec.CorruptionKind) -> None:
    np.random.seed(1)
    one = corruptions.corrupted(photographs, kind, 3, seed=(7, 0))
    np.random.seed(2)
    assert np.array_equal(one, corruptions.corrupted(photographs, kind, 3, seed=(7, 0)))
    other = corruptions.corrupted(photographs, kind, 3, seed=(8, 0))
    assert np.array_equal(one, other) != kind.endswith("noise")


def test_noise_is_as_strong_as_it_should_be() -> None:
    grey = np.full((20, 1, 32, 32), 128, dtype=np.uint8)
    gaussian = corruptions.corrupted(grey, "gaussian_noise", 5, seed=(0,)) / 255
    assert gaussian.std() == pytest.approx(0.10, rel=0.05)
    shot = corruptions.corrupted(grey, "shot_noise", 5, seed=(0,)) / 255
    assert shot.std() == pytest.approx((128 / 255 / 50) ** 0.5, rel=0.05)  # of a Poisson variable
    struck = corruptions.corrupted(grey, "impulse_noise", 5, seed=(0,))
    assert (struck != 128).mean() == pytest.approx(0.07, rel=0.1)
    assert set(np.unique(struck)) == {0, 128, 255}


def test_contrast_pulls_to_the_mean_and_brightness_keeps_the_hue(photographs: np.ndarray[Any, Any]) -> None:
    flat = corruptions.corrupted(photographs, "contrast", 5, seed=(0,))
    assert flat.std(axis=(2, 3)) == pytest.approx(0.15 * photographs.std(axis=(2, 3)), rel=0.05)
    assert flat.mean(axis=(2, 3)) == pytest.approx(photographs.mean(axis=(2, 3)), abs=0.5)
    coloured = np.array([0.4, 0.2, 0.1]).reshape(1, 3, 1, 1)
    brighter = corruptions.changed_by(coloured, "brightness", 0.2, np.random.default_rng(0))
    np.testing.assert_allclose(brighter.ravel(), [0.6, 0.3, 0.15])
    black = corruptions.changed_by(0 * coloured, "brightness", 0.2, np.random.default_rng(0))
    np.testing.assert_allclose(black.ravel(), [0.2, 0.2, 0.2])


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_pixelate_is_that_of_pillow(photographs: np.ndarray[Any, Any], severity: int) -> None:
    side = int(32 * corruptions.STRENGTHS["pixelate"][severity - 1])
    for pixels in photographs:
        image = Image.fromarray(pixels.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BOX)
        expected = np.array(image.resize((32, 32), Image.Resampling.BOX)).transpose(2, 0, 1)
        found = corruptions.corrupted(pixels[None], "pixelate", severity, seed=(0,))[0]
        assert np.abs(found.astype(int) - expected).max() <= 1  # Pillow rounds four times
