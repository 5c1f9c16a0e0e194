"""Which bytes are the file of a checkpoint, or of its weights alone, and are they still what was saved?

The same is asked of the files that a tracked run saves.

Knows the storage and the layout of safetensors: the length of the header, the header as JSON, the tensors. The weights
are some of the tensors behind a header of their own, so they are cut out of the file without torch. A file is sent only
after all of it was compared with its stored hash: once in each process, until the file changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError, model_validator

from hsu_core.tensor_names import WEIGHTS
from hsu_jobs.artifacts.storage import Storage, StoredFile
from hsu_jobs.artifacts.storage_backends import PIECE
from hsu_jobs.errors import Gone
from hsu_jobs.tables import CheckpointRow, SavedFile

MOST_KNOWN = 256
"""Files whose hash this process remembers."""
LONGEST_HEAD = 100_000_000
"""Bytes of the head of a file, as the library safetensors takes it."""
_LENGTH = 8


class Part(StrEnum):
    """What of a checkpoint is asked for."""

    ALL = "all"
    """The complete state, from which a training can go on."""
    WEIGHTS = "weights"
    """The network alone: its weights and buffers, and the average of its weights where the training keeps one."""


class Kept(NamedTuple):
    """A file that can be had, as its row names it."""

    path: str
    sha256: str
    bytes: int
    title: str
    """In messages."""
    name: str
    """For the file that is downloaded."""


class NoSafetensors(Exception):
    """A file does not have the layout of safetensors."""


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


def checkpoint(row: CheckpointRow) -> Kept:
    """The file of a checkpoint."""
    title, name = f"job {row.job_id}'s checkpoint of step {row.step}", f"job-{row.job_id}-step-{row.step}.safetensors"
    return Kept(row.path, row.sha256, row.bytes, title, name)


def saved_file(row: SavedFile) -> Kept:
    """A file that a tracked run has saved."""
    return Kept(row.path, row.sha256, row.bytes, f"file {row.name} of run {row.job_id}", row.name.rpartition("/")[2])


def content(storage: Storage, kept: Kept, part: Part) -> Content:
    """What is to be sent. Raises `Gone` for a file that is missing or damaged, and `StorageUnavailable`."""
    try:
        with storage.reading(kept.path) as file:
            key = (kept.path, kept.sha256, file.identity, part)
            if key not in _known:
                _remember(key, _checked(file, kept, part))
            return _known[key]
    except FileNotFoundError as error:
        raise Gone(f"{kept.title} is lost: its file is not in the storage") from error


def pieces(storage: Storage, kept: Kept, found: Content, *, start: int, stop: int) -> Iterator[bytes]:
    """The bytes from `start` to before `stop`. Raises OSError if the file can no longer be read."""
    with storage.reading(kept.path) as file:
        yield from found.read(file, start, stop)


def require_safetensors(file: StoredFile) -> None:
    """Raise `NoSafetensors` unless a file has the layout of safetensors: a head, and the bytes of each tensor."""
    begin = _LENGTH + int.from_bytes(file.read(0, min(_LENGTH, file.size)), "little")
    if not _LENGTH < begin <= min(file.size, _LENGTH + LONGEST_HEAD):
        raise NoSafetensors("it does not begin with the length of a head")
    try:
        head = _Head.model_validate_json(file.read(_LENGTH, begin))
    except ValidationError as error:
        raise NoSafetensors(f"its head cannot be read: {error.errors()[0]['msg']}") from error
    end = 0
    for start, stop in sorted(each.data_offsets for each in head.tensors.values()):
        if start != end or stop < start:
            raise NoSafetensors("its tensors do not lie one behind the other")
        end = stop
    if begin + end != file.size:
        raise NoSafetensors(f"its head describes {begin + end} bytes, it has {file.size}")


def _checked(file: StoredFile, kept: Kept, part: Part) -> Content:
    whole = _content(file, (Span(0, file.size),))
    if whole.sha256 != kept.sha256:
        raise Gone(
            f"{kept.title} is damaged: expected {kept.bytes} bytes of sha256 {kept.sha256}, "
            f"found {file.size} of {whole.sha256}"
        )
    weights = None if part is Part.ALL else _weights(file)
    return _content(file, weights) if weights else whole


def _content(file: StoredFile, made_of: tuple[bytes | Span, ...]) -> Content:
    size = sum(map(_length, made_of))
    digest = hashlib.sha256()
    for piece in Content(made_of, size, "").read(file, 0, size):
        digest.update(piece)
    return Content(made_of, size, digest.hexdigest())


def _weights(file: StoredFile) -> tuple[bytes | Span, ...] | None:
    """A header of the weights alone, and the stretches of the file that hold them, in the order of the file.

    None for a file of a tracked run that does not say which of its tensors are a network's.
    """
    begin = _LENGTH + int.from_bytes(file.read(0, _LENGTH), "little")
    header = json.loads(file.read(_LENGTH, begin))
    metadata = header.pop("__metadata__", {})
    chosen = {name: about for name, about in header.items() if name.startswith(WEIGHTS)}
    if not chosen:
        return None
    place, own, spans = 0, {"__metadata__": metadata}, list[Span]()
    for name, about in sorted(chosen.items(), key=lambda each: each[1]["data_offsets"]):
        start, stop = about["data_offsets"]
        own[name] = {**about, "data_offsets": [place, place + stop - start]}
        place += stop - start
        spans.append(Span(begin + start, begin + stop))
    text = json.dumps(own, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)  # the tensors begin at a multiple of eight, as safetensors writes them
    return len(text).to_bytes(_LENGTH, "little") + text, *spans


class _Tensor(BaseModel):
    dtype: str
    shape: list[Annotated[int, Field(ge=0)]]
    data_offsets: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class _Head(BaseModel):
    metadata: dict[str, str] = {}
    tensors: dict[str, _Tensor]

    @model_validator(mode="before")
    @classmethod
    def _sorted_out(cls, head: Any) -> Any:
        if not isinstance(head, dict):
            raise ValueError("expected a JSON object")
        return {"metadata": head.pop("__metadata__", {}), "tensors": head}


def _length(piece: bytes | Span) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.stop - piece.start


def _remember(key: tuple[str, str, str, Part], found: Content) -> None:
    _known[key] = found
    for oldest in list(_known)[:-MOST_KNOWN]:
        _known.pop(oldest, None)
