"""Which bytes of a file does a request ask for? `Range` and `If-Range` (RFC 9110), of one range.

A range of another unit, one that cannot be read, and several ranges at once are ignored, as RFC 9110 allows: the answer
is then the whole file.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers

from hsu_jobs.errors import RangeNotSatisfiable

_ONE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII | re.IGNORECASE)


def asked(headers: Headers, *, size: int, tag: str) -> range | None:
    """The bytes that are asked for; None for the whole file. Raises `RangeNotSatisfiable`."""
    found = _ONE.fullmatch(headers.get("range", "").strip())
    if found is None or headers.get("if-range", tag).strip() != tag:
        return None
    first, last = (int(number) if number else None for number in found.groups())
    match first, last:
        case None, None:
            return None
        case None, int(count):
            chosen = range(max(size - count, 0), size)
        case int(begin), None:
            chosen = range(begin, size)
        case int(begin), int(end) if begin <= end:
            chosen = range(begin, min(end + 1, size))
        case _:
            return None
    if not chosen:
        raise RangeNotSatisfiable(f"the file has {size} bytes, counted from 0: found bytes={found[1]}-{found[2]}", size)
    return chosen
