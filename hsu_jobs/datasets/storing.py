"""Where are the files of data sets within the storage? The content once for each hash, the parts of an upload apart."""

from __future__ import annotations

from hsu_jobs.artifacts.part_uploads import UPLOADS


def upload(dataset_id: int) -> str:
    """The folder of an upload."""
    return f"{UPLOADS}/{dataset_id}"


def part(dataset_id: int, number: int) -> str:
    """A part of an upload."""
    return f"{upload(dataset_id)}/{number}"


def content(sha256: str) -> str:
    """The folder of a converted set; the manifest in it is written last."""
    return f"datasets/{sha256}"
