"""How are images read from a Parquet file? In the layout of Hugging Face's data sets: encoded images and class numbers.

The column `image` (or `img`) holds for each row the bytes of an image file, alone or as the field `bytes` of a struct;
the column `label` (or `labels`, `fine_label`) its class. The names of the classes are in the file's metadata, if it has
some.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from hsu_core.data.own import pictures
from hsu_core.data.own.manifest import Manifest
from hsu_core.data.own.pictures import Picture
from hsu_core.data.own.refusal import Refused
from hsu_core.data.own.split import Label, Split
from hsu_core.data.own.writing import Space

AT_ONCE = 64
"""Rows that are in memory at the same time, beside the row group that they are from."""
LARGEST_GROUP = 2**31
"""Bytes of a row group once it is unpacked."""
IMAGES, LABELS = ("image", "img"), ("label", "labels", "fine_label")


def convert(train: Path, test: Path | None, out: Path, *, size: int | None, split: Split, space: Space) -> Manifest:
    """Write the images into a folder. Raises Refused."""
    second = partial(_pictures, test) if test else None
    return pictures.convert(partial(_pictures, train), second, out, size=size, split=split, space=space)


def _pictures(path: Path) -> Iterator[Picture]:
    try:
        yield from _rows(path)
    except (pa.ArrowException, OSError) as error:
        raise Refused(f"{path.name}: expected a Parquet file, found: {error}") from error


def _rows(path: Path) -> Iterator[Picture]:
    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        if any(group.total_byte_size > LARGEST_GROUP for group in groups):
            raise Refused(f"{path.name}: a row group may have {LARGEST_GROUP:,} bytes at most; write smaller ones")
        image, label = (_column(path, file.schema_arrow, names) for names in (IMAGES, LABELS))
        names = _class_names(file.schema_arrow, label)
        row = 0
        for batch in file.iter_batches(batch_size=AT_ONCE, columns=[image, label]):
            for content, number in zip(batch[image].to_pylist(), batch[label].to_pylist(), strict=True):
                where = f"{path.name}: row {row}"
                yield Picture(where, _named(where, number, names), _bytes(where, content))
                row += 1


def _column(path: Path, schema: pa.Schema, names: tuple[str, ...]) -> str:
    found = [name for name in names if name in schema.names]
    if not found:
        raise Refused(f"{path.name}: expected a column {' or '.join(names)}, found {', '.join(schema.names)[:200]}")
    return found[0]


def _class_names(schema: pa.Schema, label: str) -> list[str]:
    """The names of the classes, as Hugging Face's `datasets` writes them; none if the file has none."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def _named(where: str, number: object, names: list[str]) -> Label:
    if isinstance(number, str) and number:
        return number
    if not isinstance(number, int) or isinstance(number, bool):
        raise Refused(f"{where}: expected a class as a whole number or a text, found {number!r}")
    if not names:
        return number
    if not 0 <= number < len(names):
        raise Refused(f"{where}: expected a class from 0 to {len(names) - 1}, found {number}")
    return names[number]


def _bytes(where: str, content: Any) -> bytes:
    found = content.get("bytes") if isinstance(content, dict) else content
    if not isinstance(found, bytes):
        raise Refused(f"{where}: expected the bytes of an image, found {type(found).__name__}")
    return found
