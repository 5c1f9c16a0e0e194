"""How are interactions of users with items read, and which of them are held out? From a CSV file of ratings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from hsu_core.data.images import DamagedFile
from hsu_core.data.tables import rows
from hsu_core.spec import InteractionFacts

LIKED = 4.0
"""Stars from which a rating counts as an interaction."""


class Interactions(NamedTuple):
    """A whole data set in memory: users and items by number, in the order of their ids."""

    train: Int64[ndarray, "train 2"]
    """User and item."""
    test: Int64[ndarray, "test 2"]
    """The last fifth of each user's by time, rounded: none of a user who has one or two."""


def read(files: Sequence[Path], facts: InteractionFacts) -> Interactions:
    """Read one file of `userId,movieId,rating,timestamp`. Raises DamagedFile, with the line."""
    (file,) = files
    found = liked(file)
    users, items = found.users, found.items
    if (users, items) != (facts.users, facts.items):
        raise DamagedFile(
            f"{file}: expected {facts.users} users and {facts.items} items with {LIKED:g} stars or more, "
            f"found {users} and {items}"
        )
    if (len(found.train), len(found.test)) != (facts.train, facts.test):
        raise DamagedFile(
            f"{file}: expected {facts.train} interactions to train on and {facts.test} to test, "
            f"found {len(found.train)} and {len(found.test)}"
        )
    return Interactions(found.train, found.test)


class Liked(NamedTuple):
    """The interactions of a file, and how many users and items they have."""

    train: Int64[ndarray, "train 2"]
    test: Int64[ndarray, "test 2"]
    users: int
    items: int


def liked(file: Path) -> Liked:
    """The ratings of `LIKED` stars or more, the last of each user held out. Raises DamagedFile, with the line."""
    kept = np.array([row[:3] for row in _ratings(file) if row[3] >= LIKED], dtype=np.int64).reshape(-1, 3)
    users, user = np.unique(kept[:, 0], return_inverse=True)
    items, item = np.unique(kept[:, 1], return_inverse=True)
    order = np.lexsort((np.arange(len(kept)), kept[:, 2], user))
    return Liked(*_split(np.stack([user, item], axis=1)[order]), len(users), len(items))


def _split(pairs: Int64[ndarray, "n 2"]) -> tuple[Int64[ndarray, "train 2"], Int64[ndarray, "test 2"]]:
    """Pairs, sorted by user and time, without and with the last fifth of each user's."""
    counts = np.bincount(pairs[:, 0])
    place = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = counts - np.rint(counts / 5).astype(np.int64)
    held_out = place >= np.repeat(kept, counts)
    return pairs[~held_out], pairs[held_out]


def _ratings(file: Path) -> list[tuple[int, int, int, float]]:
    found = []
    for line, row in rows(file, ("userId", "movieId", "timestamp", "rating")):
        try:
            user, item, time, stars = row.values()
            found.append((int(user), int(item), int(time), float(stars)))
        except ValueError as error:
            raise DamagedFile(f"{file}: line {line}: expected numbers, found: {error}") from error
    return found
