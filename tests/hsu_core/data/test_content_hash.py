"""The hash of a data set: of its values, and computed once as long as its files stay."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from hsu_core import spec
from hsu_core.data import content_hash, files
from hsu_core.data.images import Images

MNIST: spec.Dataset = TypeAdapter(spec.Dataset).validate_python({"kind": "mnist"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with something in place of each file of MNIST."""
    for name in files.LAYOUT["mnist"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def images(seed: int) -> Images:
    drawn = np.random.default_rng(seed)
    pixels, classes = drawn.integers(0, 256, (6, 1, 28, 28), dtype=np.uint8), drawn.integers(0, 10, 6)
    return Images(pixels[:4], classes[:4], pixels[4:], classes[4:])


def test_it_is_kept_until_a_file_changes(folder: Path) -> None:
    one, other = content_hash.of(images(1)), content_hash.of(images(2))
    assert one != other
    assert content_hash.of_dataset(MNIST, images(1), folder) == one
    assert content_hash.of_dataset(MNIST, images(2), folder) == one  # read from what is kept: the files are the same
    os.utime(folder / files.LAYOUT["mnist"][0], ns=(1, 1))
    assert content_hash.of_dataset(MNIST, images(2), folder) == other


def test_what_is_kept_and_cannot_be_read_is_replaced(folder: Path) -> None:
    expected = content_hash.of_dataset(MNIST, images(1), folder)
    kept = folder / content_hash.KEPT / "mnist.json"
    for text in ("", "[]", '{"files": 1}'):
        kept.write_text(text)
        assert content_hash.of_dataset(MNIST, images(1), folder) == expected
    assert '"sha256"' in kept.read_text()


def test_a_folder_that_takes_no_file_costs_only_time(folder: Path) -> None:
    (folder / content_hash.KEPT).write_text("in the way")
    assert content_hash.of_dataset(MNIST, images(1), folder) == content_hash.of(images(1))


def test_without_a_folder_it_is_computed() -> None:
    digits: spec.Dataset = TypeAdapter(spec.Dataset).validate_python({"kind": "digits"})
    assert content_hash.of_dataset(digits, images(1), None) == content_hash.of(images(1))
    assert content_hash.of_dataset(digits, object(), None) is None
