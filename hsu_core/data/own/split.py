"""Which examples are held out for the test? A fraction of each class, drawn with a seed, unless the user says which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64
from numpy import ndarray

from hsu_core.data.own.refusal import Refused

MOST_CLASSES = 10_000
Label = int | str


class Labelled(NamedTuple):
    """Examples with the numbers of their classes, some of them held out."""

    names: tuple[str, ...]
    """Of the classes."""
    numbers: Int64[ndarray, " n"]
    is_test: Bool[ndarray, " n"]

    def counts(self, *, test: bool) -> tuple[int, ...]:
        """Examples of each class in one part."""
        chosen = self.numbers[self.is_test == test]
        return tuple(np.bincount(chosen, minlength=len(self.names)).tolist())

    def classes(self, *, test: bool) -> Int64[ndarray, " part"]:
        """The numbers of one part."""
        chosen: Int64[ndarray, " part"] = self.numbers[self.is_test == test]
        return chosen


class Split(NamedTuple):
    """How examples are held out, unless the user says which."""

    fraction: float = 0.2
    """Of each class."""
    seed: int = 0

    def of(self, train: Sequence[Label], test: Sequence[Label] | None) -> Labelled:
        """Number the classes in their order, and hold out some of each unless there is a test part. Raises Refused.

        A class keeps at least one training example.
        """
        names = sorted(set(train), key=lambda label: (isinstance(label, str), label))
        if len(names) < 2:
            found = f"only {str(names[0])!r}" if names else "no example"
            raise Refused(f"expected examples of at least two classes, found {found}")
        if len(names) > MOST_CLASSES:
            raise Refused(f"expected {MOST_CLASSES:,} classes at most, found {len(names):,}")
        number = {name: place for place, name in enumerate(names)}
        if untrained := sorted(str(label) for label in set(test or ()) - set(number)):
            raise Refused(f"the class {untrained[0]!r} has test examples, but no training example")
        numbers = np.array([number[label] for label in (*train, *(test or ()))], dtype=np.int64)
        is_test = self._drawn(numbers) if test is None else np.arange(len(numbers)) >= len(train)
        if not is_test.any():
            raise Refused("no example is left for the test: give a test part, or more examples of each class")
        return Labelled(tuple(map(str, names)), numbers, is_test)

    def _drawn(self, numbers: Int64[ndarray, " n"]) -> Bool[ndarray, " n"]:
        drawn = np.random.default_rng(self.seed)
        is_test = np.zeros(len(numbers), dtype=bool)
        for number in range(int(numbers.max()) + 1):
            places = drawn.permutation(np.flatnonzero(numbers == number))
            is_test[places[: min(round(len(places) * self.fraction), len(places) - 1)]] = True
        return is_test
