"""Which bytes are the file of a checkpoint, or of its weights alone, and are they still what was saved?

Knows the storage and the layout of safetensors: the length of the header, the header as JSON, the tensors. The weights
are some of the tensors behind a header of their own, so they are cut out of the file without torch. A file is sent only
after all of it was compared with its stored hash: once in each process, until the file changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from hsu_core.tensor_names import WEIGHTS
from hsu_jobs.artifacts.storage import Storage, StoredFile
from hsu_jobs.errors import Gone
from hsu_jobs.tables import CheckpointRow

PIECE = 1 << 22
"""Bytes that are read at once."""
MOST_KNOWN = 256
"""Files whose hash this process remembers."""
_LENGTH = 8


class Part(StrEnum):
    """What of a checkpoint is asked for."""

    ALL = "all"
    """The complete state, from which a training can go on."""
    WEIGHTS = "weights"
    """The network alone: its weights and buffers, and the average of its weights where the training keeps one."""


class Span(NamedTuple):
    """A stretch of the stored file."""

    start: int
    stop: int


class Content(NamedTuple):
    """The bytes of one download, which are always the same."""

    pieces: tuple[bytes | Span, ...]
    """What they are made of, in order."""
    size: int
    sha256: str

    def read(self, file: StoredFile, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`."""
        place = 0
        for piece in self.pieces:
            length = _length(piece)
            first, last = max(start - place, 0), min(stop - place, length)
            place += length
            if first >= last:
                continue
            if isinstance(piece, bytes):
                yield piece[first:last]
                continue
            for begin in range(piece.start + first, piece.start + last, PIECE):
                yield file.read(begin, min(begin + PIECE, piece.start + last))


_known: dict[tuple[str, str, str, Part], Content] = {}


def content(storage: Storage, row: CheckpointRow, part: Part) -> Content:
    """What is to be sent. Raises `Gone` for a file that is missing or damaged, and `StorageUnavailable`."""
    try:
        with storage.reading(row.path) as file:
            key = (row.path, row.sha256, file.identity, part)
            if key not in _known:
                _remember(key, _checked(file, row, part))
            return _known[key]
    except FileNotFoundError as error:
        raise Gone(f"{_named(row)} is lost: its file is not in the storage") from error


def pieces(storage: Storage, row: CheckpointRow, found: Content, *, start: int, stop: int) -> Iterator[bytes]:
    """The bytes from `start` to before `stop`. Raises OSError if the file can no longer be read."""
    with storage.reading(row.path) as file:
        yield from found.read(file, start, stop)


def _checked(file: StoredFile, row: CheckpointRow, part: Part) -> Content:
    whole = _content(file, (Span(0, file.size),))
    if whole.sha256 != row.sha256:
        raise Gone(
            f"{_named(row)} is damaged: expected {row.bytes} bytes of sha256 {row.sha256}, "
            f"found {file.size} of {whole.sha256}"
        )
    return whole if part is Part.ALL else _content(file, _weights(file))


def _content(file: StoredFile, made_of: tuple[bytes | Span, ...]) -> Content:
    size = sum(map(_length, made_of))
    digest = hashlib.sha256()
    for piece in Content(made_of, size, "").read(file, 0, size):
        digest.update(piece)
    return Content(made_of, size, digest.hexdigest())


def _weights(file: StoredFile) -> tuple[bytes | Span, ...]:
    """A header of the weights alone, and the stretches of the file that hold them, in the order of the file."""
    begin = _LENGTH + int.from_bytes(file.read(0, _LENGTH), "little")
    header = json.loads(file.read(_LENGTH, begin))
    metadata = header.pop("__metadata__")
    chosen = {name: about for name, about in header.items() if name.startswith(WEIGHTS)}
    place, own, spans = 0, {"__metadata__": metadata}, list[Span]()
    for name, about in sorted(chosen.items(), key=lambda each: each[1]["data_offsets"]):
        start, stop = about["data_offsets"]
        own[name] = {**about, "data_offsets": [place, place + stop - start]}
        place += stop - start
        spans.append(Span(begin + start, begin + stop))
    text = json.dumps(own, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)  # the tensors begin at a multiple of eight, as safetensors writes them
    return len(text).to_bytes(_LENGTH, "little") + text, *spans


def _length(piece: bytes | Span) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.stop - piece.start


def _remember(key: tuple[str, str, str, Part], found: Content) -> None:
    _known[key] = found
    for oldest in list(_known)[:-MOST_KNOWN]:
        _known.pop(oldest, None)


def _named(row: CheckpointRow) -> str:
    return f"job {row.job_id}'s checkpoint of step {row.step}"
