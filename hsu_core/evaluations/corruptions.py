"""How many images does a network still classify if they are noisy, blurred or otherwise corrupted?

Hendrycks and Dietterich 2019 (arXiv 1903.12261), the corruptions that need no photographs and no image library. The
constants are those of CIFAR-10-C, for every size of image. A corrupted image has 256 levels again, as theirs has.
"""

from __future__ import annotations

from itertools import product
from typing import assert_never

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from hsu_core import spec
from hsu_core.evaluations.passes import Turns
from hsu_core.tasks.classification import Classification

AT_ONCE = 1000
"""Images corrupted at once. Their noise depends on it, so it is the same everywhere."""
STRENGTHS: dict[spec.CorruptionKind, tuple[float, ...]] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),  # standard deviation
    "shot_noise": (500.0, 250.0, 100.0, 75.0, 50.0),  # photons of a white pixel
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),  # fraction of the numbers
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1.0),  # standard deviation in pixels
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # factor
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),  # added
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),  # of the side
}
"""By severity, 1 to 5."""


def accuracies(
    asked: spec.Corruptions, task: Classification, *, seed: int, turns: Turns
) -> list[dict[str, str | float]]:
    """A row for each corruption and each severity, in the spec's order: `corruption`, `severity`, `accuracy`."""
    count = len(task.data.test_y)
    cells = list(product(asked.kinds, asked.severities))
    hits = torch.zeros(len(cells), dtype=torch.float64, device=task.device)
    for (first, number), is_mine in turns.of(product(range(0, count, AT_ONCE), range(len(cells)))):
        if not is_mine:
            continue
        chosen = slice(first, min(first + AT_ONCE, count))
        made = corrupted(task.data.test_x[chosen].cpu().numpy(), *cells[number], seed=(seed, first))
        with torch.no_grad():
            logits = task.logits(task.model, torch.from_numpy(made).to(task.device))
        hits[number] += (logits.argmax(dim=1) == task.data.test_y[chosen]).sum()
    of_cells = (turns.total(hits) / count).tolist()
    return [
        {"corruption": kind, "severity": severity, "accuracy": accuracy}
        for (kind, severity), accuracy in zip(cells, of_cells, strict=True)
    ]


def summary(rows: list[dict[str, str | float]]) -> float:
    """The mean accuracy over corruptions and severities."""
    return sum(float(row["accuracy"]) for row in rows) / len(rows)


def corrupted(
    pixels: UInt8[ndarray, "n c h w"], kind: spec.CorruptionKind, severity: int, *, seed: tuple[int, ...]
) -> UInt8[ndarray, "n c h w"]:
    """Images with one corruption of a severity from 1 to 5. Noise depends on `seed` and the shape alone."""
    strength = STRENGTHS[kind][severity - 1]
    drawn = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4,)))
    changed = changed_by(pixels / np.float64(255), kind, strength, drawn)
    levels: ndarray = np.rint(255 * changed.clip(0, 1)).astype(np.uint8)
    return levels


def changed_by(
    x: Float[ndarray, "n c h w"], kind: spec.CorruptionKind, strength: float, drawn: np.random.Generator
) -> Float[ndarray, "n c h w"]:
    """Images from 0 to 1 after a corruption, before they are clipped."""
    match kind:
        case "gaussian_noise":
            return x + strength * drawn.standard_normal(x.shape)
        case "shot_noise":
            return drawn.poisson(x * strength) / strength
        case "impulse_noise":
            return _impulses(x, strength, drawn)
        case "gaussian_blur":
            from scipy.ndimage import gaussian_filter

            blurred: ndarray = gaussian_filter(x, sigma=(0, 0, strength, strength), mode="nearest")
            return blurred
        case "contrast":
            means: ndarray = x.mean(axis=(2, 3), keepdims=True)
            pulled: ndarray = means + strength * (x - means)
            return pulled
        case "brightness":
            return _brighter(x, strength)
        case "pixelate":
            return _pixelated(x, strength)
        case _:
            assert_never(kind)


def _impulses(x: Float[ndarray, "n c h w"], share: float, drawn: np.random.Generator) -> Float[ndarray, "n c h w"]:
    """A share of the numbers is 0 or 1, with equal probability."""
    struck = drawn.random(x.shape) < share
    return np.where(struck, drawn.integers(0, 2, x.shape), x)


def _brighter(x: Float[ndarray, "n c h w"], added: float) -> Float[ndarray, "n c h w"]:
    """The value of HSV, the largest of a pixel's numbers, is raised; hue and saturation stay. Black becomes grey."""
    value = x.max(axis=1, keepdims=True)
    raised = (value + added).clip(0, 1)
    is_black = value == 0
    brighter: ndarray = np.where(is_black, raised, x * raised / np.where(is_black, 1, value))
    return brighter


def _pixelated(x: Float[ndarray, "n c h w"], share: float) -> Float[ndarray, "n c h w"]:
    """Made smaller and large again, each time with the box filter of Pillow."""
    height, width = x.shape[2:]
    down, across = (_box(side, max(1, int(share * side))) for side in (height, width))
    up, back = (_box(len(smaller), side) for smaller, side in ((down, height), (across, width)))
    made: ndarray = (up @ down) @ x @ (back @ across).T
    return made


def _box(old: int, new: int) -> Float[ndarray, "new old"]:
    """Each new pixel is the mean of the old ones whose centres lie within it, but of at least one."""
    scale = max(1.0, old / new)
    centres = (np.arange(new) + 0.5) * old / new
    away = (np.arange(old) + 0.5 - centres[:, None]) / scale
    within = (away > -0.5) & (away <= 0.5)
    shares: ndarray = within / within.sum(axis=1, keepdims=True)
    return shares
