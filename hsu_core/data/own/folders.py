"""How are images read from a zip archive with a folder for each class? `CLASS/IMAGE`, or within `train` and `test`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hsu_core.data.own import pictures
from hsu_core.data.own.archives import Archive, Place, places
from hsu_core.data.own.manifest import Manifest
from hsu_core.data.own.pictures import Picture
from hsu_core.data.own.refusal import Refused
from hsu_core.data.own.split import Split
from hsu_core.data.own.writing import Space


def convert(train: Path, test: Path | None, out: Path, *, size: int | None, split: Split, space: Space) -> Manifest:
    """Write the images into a folder. Raises Refused."""
    archive = Archive(train)
    found = places(archive.names())
    held_out = [place for place in found if place.part == "test"]
    if test is None:
        first = [place for place in found if place.part != "test"]
        second = partial(_pictures, archive, held_out) if held_out else None
    else:
        if held_out:
            raise Refused(f"{held_out[0].name}: there is a test part of its own: expected no folders train and test")
        first, other = found, Archive(test)
        second = partial(_pictures, other, places(other.names()))
    return pictures.convert(partial(_pictures, archive, first), second, out, size=size, split=split, space=space)


def _pictures(archive: Archive, chosen: list[Place]) -> Iterator[Picture]:
    for place in chosen:
        yield Picture(place.name, place.label, archive.content(place.name))
