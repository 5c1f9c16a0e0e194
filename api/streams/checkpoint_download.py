"""How is the file of a checkpoint, or of a tracked run, sent? Whole, or from where an earlier download broke off.

The file is first compared with its stored hash, so that a damaged one is refused and never sent. The tag is the sha256
of the bytes that are sent: a client checks them against it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from api.middleware import request_state
from api.middleware.etags import NotModified, has_current
from api.streams import byte_ranges
from api.streams.large_responses import PATIENCE, BrokenOff, Download
from hsu_jobs.artifacts import checkpoint_files
from hsu_jobs.artifacts.checkpoint_files import Content, Kept, Part
from hsu_jobs.artifacts.storage import Storage, StorageUnavailable
from hsu_jobs.errors import Unavailable
from hsu_jobs.tables import ApiKey

SLOWEST = 20e6
"""Bytes a second that a slow storage gives: so long may the comparison with the hash take."""

_log = logging.getLogger(__name__)


class FileDownload(Download):
    """One answer to GET or HEAD."""

    def __init__(self, request: Request, key: ApiKey, storage: Storage, kept: Kept, part: Part) -> None:
        self._request, self._storage, self._kept, self._part = request, storage, kept, part
        super().__init__(request, key, self._nothing, media_type="application/octet-stream")

    async def prepare(self, scope: Scope) -> None:
        """Find the file and check it; raises `Gone`, `Unavailable`, `NotModified`, `RangeNotSatisfiable`."""
        request_state.current(scope).allow(PATIENCE + self._kept.bytes / SLOWEST)
        async with self.slot():
            found = await run_in_threadpool(self._found)
        tag = f'"{found.sha256}"'
        if has_current(self._request, tag):
            raise NotModified(tag)
        chosen = byte_ranges.asked(self._request.headers, size=found.size, tag=tag)
        sent = range(found.size) if chosen is None else chosen
        self._head(tag, sent)
        if chosen is not None:
            self.status_code = 206
            self.headers["content-range"] = f"bytes {sent.start}-{sent.stop - 1}/{found.size}"
        if self._request.method == "GET":
            self.pieces = partial(self._read, found, sent)

    def _head(self, tag: str, sent: range) -> None:
        self.headers["etag"] = tag
        self.headers["accept-ranges"] = "bytes"
        self.headers["content-length"] = str(len(sent))
        self.headers["content-disposition"] = _disposition(self._kept, self._part)
        self.headers["cache-control"] = "private, no-cache"
        self.headers["vary"] = "Authorization"

    def _found(self) -> Content:
        try:
            return checkpoint_files.content(self._storage, self._kept, self._part)
        except StorageUnavailable as error:
            _log.warning("a file cannot be sent: %s", error)
            raise Unavailable("the storage of checkpoints does not answer the API; try again") from error

    def _read(self, found: Content, sent: range) -> Iterator[bytes]:
        try:
            yield from checkpoint_files.pieces(self._storage, self._kept, found, start=sent.start, stop=sent.stop)
        except OSError as error:
            raise BrokenOff(str(error)) from error

    @staticmethod
    def _nothing() -> Iterator[bytes]:
        yield from ()


def _disposition(kept: Kept, part: Part) -> str:
    """The name of the file, also one that is not in ASCII (RFC 6266)."""
    name = kept.name if part is Part.ALL else f"{kept.name.removesuffix('.safetensors')}-{part}.safetensors"
    if name.isascii() and '"' not in name and name.isprintable():
        return f'attachment; filename="{name}"'
    return f"attachment; filename*=utf-8''{quote(name, safe='')}"
