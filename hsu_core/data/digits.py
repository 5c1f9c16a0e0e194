"""Which data set needs no download? scikit-learn's bundled digits: real handwriting, and always available."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hsu_core.data.images import Images
from hsu_core.spec import ImageFacts


def read(_files: Sequence[Path], facts: ImageFacts) -> Images:
    """All 1797 images, with a fixed split: the same fifth of every class is for testing.

    Pixels are scaled from 0 to 16 to 0 to 255.
    """
    from sklearn.datasets import load_digits  # an import of one second, only for this data set
    from sklearn.model_selection import train_test_split

    bundled = load_digits()
    pixels = np.rint(bundled.images * (255 / 16)).astype(np.uint8)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, bundled.target.astype(np.int64), test_size=facts.test, stratify=bundled.target, random_state=0
    )
    return Images(train_x, train_y, test_x, test_y)
