"""How are texts and interactions converted? From CSV files, by the readers of the published sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy import ndarray

from hsu_core.data import interactions, texts
from hsu_core.data.images import DamagedFile
from hsu_core.data.own import manifest, writing
from hsu_core.data.own.manifest import File, InteractionsContent, Manifest, TextsContent
from hsu_core.data.own.refusal import Refused
from hsu_core.data.own.split import Split
from hsu_core.data.own.writing import Space


def convert_texts(train: Path, test: Path | None, out: Path, *, split: Split, space: Space) -> Manifest:
    """Write the texts of `text,category` into a folder. Raises Refused."""
    with _refusing(train.parent):
        parts = [texts.labelled(file) for file in (train, test) if file]
    labels = [[category for _, category in part] for part in parts]
    chosen = split.of(labels[0], labels[1] if test else None)
    encoded = [text.encode() for part in parts for text, _ in part]
    files: dict[str, File] = {}
    for part, is_test in zip(manifest.PARTS, (False, True), strict=True):
        mine = [text for text, held_out in zip(encoded, chosen.is_test, strict=True) if held_out == is_test]
        arrays: dict[str, ndarray] = {
            f"{part}_x.npy": np.frombuffer(b"".join(mine), dtype=np.uint8),
            f"{part}_ends.npy": np.cumsum([len(text) for text in mine], dtype=np.int64),
            f"{part}_y.npy": chosen.classes(test=is_test),
        }
        files |= {name: writing.write(out / name, values, space) for name, values in arrays.items()}
    counts = {"train_counts": chosen.counts(test=False), "test_counts": chosen.counts(test=True)}
    return Manifest(content=TextsContent(class_names=chosen.names, **counts), files=files)


def convert_interactions(file: Path, out: Path, *, space: Space) -> Manifest:
    """Write the interactions of `userId,movieId,rating,timestamp` into a folder. Raises Refused."""
    with _refusing(file.parent):
        found = interactions.liked(file)
    if not len(found.train) or not len(found.test):
        raise Refused(
            f"{file.name}: expected a user with three interactions or more, ratings of {interactions.LIKED:g} or more"
        )
    files = {
        f"{name}.npy": writing.write(out / f"{name}.npy", pairs, space)
        for name, pairs in (("train", found.train), ("test", found.test))
    }
    content = InteractionsContent(users=found.users, items=found.items, train=len(found.train), test=len(found.test))
    return Manifest(content=content, files=files)


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    """Raise Refused for what the readers find damaged, without the folder in which the file is just now."""
    try:
        yield
    except DamagedFile as error:
        raise Refused(str(error).replace(f"{folder}/", "")) from error
    except OverflowError as error:
        raise Refused(f"a number is too large: {error}") from error
