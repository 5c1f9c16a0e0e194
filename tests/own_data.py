"""Small data sets as users bring them, sent over HTTP, and converted as a worker does."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from hsu_jobs import settings
from worker import dataset_pool

CLASSES = ("daisy", "rose", "tulip")


def png(pixels: np.ndarray) -> bytes:
    """An image file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def flowers(each: int = 10, *, side: int = 8, seed: int = 0) -> dict[str, bytes]:
    """Grey images of three classes by name; their brightness says which."""
    drawn = np.random.default_rng(seed)
    return {
        f"{label}/{number}.png": png(drawn.integers(80 * place, 80 * place + 80, (side, side), dtype=np.uint8))
        for place, label in enumerate(CLASSES)
        for number in range(each)
    }


def zipped(files: Mapping[str, bytes]) -> bytes:
    """An archive of these files; a name that ends in a slash is a folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def arrays(**named: Any) -> bytes:
    """An npz file."""
    out = io.BytesIO()
    np.savez(out, **named)
    return out.getvalue()


def described(content: bytes, **fields: Any) -> dict[str, Any]:
    """What begins the upload of these bytes."""
    whole = {"name": "flowers", "source": "folder", "bytes": len(content)}
    return whole | {"sha256": hashlib.sha256(content).hexdigest()} | fields


def send(client: Any, content: bytes, **fields: Any) -> dict[str, Any]:
    """Upload these bytes in parts, and complete; the answer."""
    begun = client.post("/v1/datasets", json=described(content, **fields))
    assert begun.status_code in (200, 201), begun.text
    upload = begun.json()
    place = f"/v1/datasets/{upload['name']}/versions/{upload['version']}"
    size = upload["part_bytes"]
    for number in range(1, upload["parts"] + 1):
        part = content[(number - 1) * size : number * size]
        answer = put(client, place, number, part)
        assert answer.status_code == 204, answer.text
    complete = client.post(f"{place}/complete")
    assert complete.status_code == 202, complete.text
    return dict(complete.json())


def put(client: Any, place: str, number: int, part: bytes, *, sha256: str | None = None) -> Any:
    """Send one part."""
    digest = hashlib.sha256(part).hexdigest() if sha256 is None else sha256
    headers = {"Content-Type": "application/octet-stream"}
    return client.put(f"{place}/parts/{number}", params={"sha256": digest}, content=part, headers=headers)


def convert() -> int:
    """Convert all that waits, and clear what is not needed, as a worker does; returns how many it converted."""
    count = 0
    while dataset_pool.convert_next(settings.settings(), threading.Event()):
        count += 1
    dataset_pool.clear(settings.settings())
    return count
