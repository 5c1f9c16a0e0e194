"""What is sent of a folder: an archive, the same each time, in parts."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hsu_client.client import Client
from hsu_client.packing import Measured, Packed, source_of
from hsu_client.problem import Problem
from hsu_client.upload import Parts

FILES = {"rose/1.png": b"a" * 3000, "rose/2.png": b"b", "lily/1.png": b"", "rose/.hidden": b"x"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / "flowers" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "flowers" / name).write_bytes(content)
    return tmp_path / "flowers"


def packed(folder: Path, test: Path | None = None) -> bytes:
    pieces: list[bytes] = []
    Packed(folder, test).read(pieces.append)
    return b"".join(pieces)


def test_a_folder_becomes_an_archive_of_what_is_not_hidden(folder: Path) -> None:
    (folder / "tulip").mkdir()
    with zipfile.ZipFile(io.BytesIO(packed(folder))) as archive:
        assert archive.namelist() == ["lily/", "lily/1.png", "rose/", "rose/1.png", "rose/2.png", "tulip/"]
        assert archive.read("rose/1.png") == FILES["rose/1.png"]
        assert archive.testzip() is None


def test_it_is_the_same_whenever_the_files_were_written(folder: Path) -> None:
    before = packed(folder)
    os.utime(folder / "rose/1.png", (10**9, 10**9))
    assert packed(folder) == before


def test_the_measure_is_of_both_files(folder: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.zip"
    test.write_bytes(b"test")
    whole = packed(folder, test)
    assert Packed(folder, test).measure() == Measured(len(whole), 4, hashlib.sha256(whole).hexdigest())


def test_parts_have_one_size_but_the_last() -> None:
    given: list[tuple[int, bytes]] = []
    parts = Parts(4, lambda number, content: given.append((number, content)))
    for piece in (b"ab", b"cdefghi", b"", b"j"):
        parts.take(piece)
    parts.finish()
    assert given == [(1, b"abcd"), (2, b"efgh"), (3, b"ij")]


def test_what_a_file_is_follows_from_its_name_and_its_columns(tmp_path: Path) -> None:
    for name, first, source in (
        ("a.npz", "", "npz"),
        ("a.PARQUET", "", "parquet"),
        ("a.zip", "", "folder"),
        ("a.csv", "text,category\n", "texts"),
        ("b.csv", "\ufeffuserId,movieId,rating,timestamp\n", "interactions"),
    ):
        (tmp_path / name).write_text(first, encoding="utf-8")
        assert source_of(tmp_path / name) == source
    assert source_of(tmp_path) == "folder"
    (tmp_path / "a.pickle").touch()
    with pytest.raises(ValueError, match=r"a\.pickle: expected a folder of images, or"):
        source_of(tmp_path / "a.pickle")
    with pytest.raises(ValueError, match="does not exist"):
        source_of(tmp_path / "nothing.npz")


def test_a_refusal_of_the_service_is_a_problem(client: Client, folder: Path, served: Any) -> None:
    away = served.artifacts.rename(served.artifacts.with_name("away"))
    try:
        with pytest.raises(Problem, match="cannot be stored just now") as refused:
            client.add_dataset("flowers", folder)
    finally:
        away.rename(served.artifacts)
    assert refused.value.status == 503
    assert [each["state"] for each in client.datasets()] == ["uploading"]
    client.delete_dataset("flowers", client.dataset("flowers")["version"])
    assert list(client.datasets()) == []
