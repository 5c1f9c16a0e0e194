"""How are texts and their classes read? From two CSV files with the columns `text` and `category`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from hsu_core.data.images import DamagedFile
from hsu_core.data.tables import rows
from hsu_core.spec import TextFacts


class Texts(NamedTuple):
    """A whole data set in memory."""

    train_x: list[str]
    train_y: Int64[ndarray, " train"]
    test_x: list[str]
    test_y: Int64[ndarray, " test"]
    classes: list[str]
    """Their names, in alphabetical order; the numbers count them from 0."""


def read(files: Sequence[Path], facts: TextFacts) -> Texts:
    """Read the training texts and the test texts, in this order of files. Raises DamagedFile, with the line."""
    train, test = (labelled(file) for file in files)
    classes = sorted({category for _, category in train})
    numbers = {category: number for number, category in enumerate(classes)}
    for line, (_, category) in enumerate(test, start=2):
        if category not in numbers:
            raise DamagedFile(f"{files[1]}: line {line}: expected a class that has training texts, found {category!r}")
    for file, part, expected in zip(files, (train, test), (facts.train, facts.test), strict=True):
        if len(part) != expected:
            raise DamagedFile(f"{file}: expected {expected} texts, found {len(part)}")
    if len(classes) != facts.classes:
        raise DamagedFile(f"{files[0]}: expected {facts.classes} classes, found {len(classes)}")
    return Texts(
        [text for text, _ in train],
        np.array([numbers[category] for _, category in train]),
        [text for text, _ in test],
        np.array([numbers[category] for _, category in test]),
        classes,
    )


def labelled(file: Path) -> list[tuple[str, str]]:
    """Each text with its class. Raises DamagedFile, with the line."""
    found = []
    for line, row in rows(file, ("text", "category")):
        if not row["text"].strip() or not row["category"]:
            raise DamagedFile(f"{file}: line {line}: expected a text and its category, found {row}")
        found.append((row["text"], row["category"]))
    return found
