"""How does the file of a checkpoint come onto this disk, whole and as it was saved?

A download that broke off goes on where it ended, also in a later process: its bytes are in a hidden file beside the
target, whose name has the hash of the whole. The target appears when every byte is there and the hash is right.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import httpx2

from hsu_client.problem import UNREACHED, Problem, Unreachable

READ_TIMEOUT = 600.0
"""Seconds in which the service compares a large file with its hash, before it sends the first byte."""
PATIENCE = 60.0
"""Seconds without one more byte for which a download is tried again."""
PAUSE = 0.5
"""Seconds between two tries."""

Report = Callable[[int, int], None]
"""Gets the bytes that are there, and all bytes, after each piece."""


class DamagedDownload(Exception):
    """The bytes that came are not those that were saved."""


class File(NamedTuple):
    """A file of the service."""

    path: str
    params: Mapping[str, str]


def download(
    http: httpx2.Client, file: File, target: Path, *, overwrite: bool, report: Report, patience: float = PATIENCE
) -> Path:
    """Download a file, or the rest of it; returns its path.

    A target that has these very bytes stays as it is. Raises FileExistsError for another one, unless `overwrite`;
    `DamagedDownload`; `Problem`; `Unreachable` if no byte comes for `patience` seconds.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    sha256, size = _head(http, file)
    if target.exists() and not overwrite:
        if target.is_file() and _sha256(target) == sha256:
            report(size, size)
            return target
        raise FileExistsError(f"{target} is already there, with other content")
    partial = target.with_name(f".{target.name}.{sha256[:16]}.part")
    _fill(http, file, partial, sha256=sha256, size=size, report=report, patience=patience)
    found = _sha256(partial)
    if found != sha256:
        partial.unlink()
        raise DamagedDownload(f"expected content of sha256 {sha256}, found {found}: it was removed, try again")
    partial.replace(target)
    return target


def _head(http: httpx2.Client, file: File) -> tuple[str, int]:
    try:
        answer = http.head(file.path, params=file.params, timeout=_timeout(http))
        if not answer.is_success:  # an answer to HEAD has no reason in it
            answer = http.get(file.path, params=file.params, headers={"Range": "bytes=0-0"}, timeout=_timeout(http))
    except UNREACHED as error:
        raise Unreachable(f"no answer from {http.base_url}: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise Problem.of(answer)
    return answer.headers["etag"].strip('"'), _size(answer)


def _size(answer: httpx2.Response) -> int:
    whole = answer.headers.get("content-range", "").rpartition("/")[2]
    return int(whole or answer.headers["content-length"])


def _fill(
    http: httpx2.Client, file: File, partial: Path, *, sha256: str, size: int, report: Report, patience: float
) -> None:
    """Get the bytes that the partial file lacks; the download is tried again as long as bytes come."""
    seen = time.monotonic()
    partial.touch()
    while (before := partial.stat().st_size) < size:
        try:
            _append(http, file, partial, sha256=sha256, size=size, report=report)
        except (*UNREACHED, Problem) as error:
            if isinstance(error, Problem) and error.status != httpx2.codes.SERVICE_UNAVAILABLE:
                raise
            if partial.stat().st_size > before:
                seen = time.monotonic()
            if time.monotonic() - seen > patience:
                if isinstance(error, Problem):
                    raise
                raise Unreachable(f"the download broke off after {partial.stat().st_size} of {size} bytes") from error
            time.sleep(PAUSE)


def _append(http: httpx2.Client, file: File, partial: Path, *, sha256: str, size: int, report: Report) -> None:
    have = partial.stat().st_size
    rest = {"Range": f"bytes={have}-", "If-Range": f'"{sha256}"'} if have else {}
    with http.stream("GET", file.path, params=file.params, headers=rest, timeout=_timeout(http)) as answer:
        if not answer.is_success:
            answer.read()
            raise Problem.of(answer)
        if answer.headers["etag"] != f'"{sha256}"':
            raise DamagedDownload("the file was replaced while it was downloaded: try again")
        is_rest = answer.status_code == httpx2.codes.PARTIAL_CONTENT
        with partial.open("r+b") as out:
            out.truncate(have if is_rest else 0)
            out.seek(0, os.SEEK_END)
            for piece in answer.iter_raw():  # as it comes: a larger piece would be lost with its connection
                out.write(piece)
                report(out.tell(), size)


def _timeout(http: httpx2.Client) -> httpx2.Timeout:
    return httpx2.Timeout(http.timeout.connect, read=READ_TIMEOUT)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
