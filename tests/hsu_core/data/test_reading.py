"""The readers, on tiny files in the real formats and, where they are laid out, on the real sets."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hsu_core import spec
from hsu_core.data import cifar, digits, files, idx, reading
from hsu_core.data.images import DamagedFile, Images

GREY = spec.ImageFacts(shape=(1, 3, 2), classes=4, train=5, test=2)
COLOUR = spec.ImageFacts(shape=(3, 2, 2), classes=4, train=10, test=3)
rng = np.random.default_rng(0)


def idx_bytes(values: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def idx_set(folder: Path, facts: spec.ImageFacts = GREY) -> tuple[list[Path], Images]:
    """A random set in four idx files, and what reading it must give."""
    arrays = [
        array
        for count in (facts.train, facts.test)
        for array in (rng.integers(0, 256, (count, *facts.shape[1:])), rng.integers(0, facts.classes, count))
    ]
    paths = [folder / name for name in files.IDX]
    for path, array in zip(paths, arrays, strict=True):
        path.write_bytes(idx_bytes(array))
    return paths, Images(arrays[0][:, None], arrays[1], arrays[2][:, None], arrays[3])  # type: ignore[arg-type]


def cifar_records(
    count: int, label_bytes: int, facts: spec.ImageFacts = COLOUR
) -> tuple[bytes, np.ndarray, np.ndarray]:
    """The bytes of records, their pixels and their fine labels; a coarse label is out of the fine range."""
    x = rng.integers(0, 256, (count, *facts.shape)).astype(np.uint8)
    y = rng.integers(0, facts.classes, count)
    prefix = b"\xff" * (label_bytes - 1)
    return b"".join(prefix + bytes([label]) + image.tobytes() for image, label in zip(x, y, strict=True)), x, y


def same(found: Images, expected: Images) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_every_published_kind_of_the_spec_has_a_reader() -> None:
    assert set(reading.READERS) == set(spec.kinds(spec.PublishedDataset))


def test_idx_files_are_read_plain_and_packed(tmp_path: Path) -> None:
    paths, expected = idx_set(tmp_path)
    packed = [path.with_name(path.name + ".gz") for path in paths]
    for plain, gz in zip(paths, packed, strict=True):
        gz.write_bytes(gzip.compress(plain.read_bytes()))
    for chosen in (paths, packed):
        found = idx.read(chosen, GREY)
        assert same(found, expected)
        assert found.train_x.dtype == np.uint8
        assert found.train_y.dtype == np.int64
        assert all(array.flags.writeable for array in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an idx file that begins 00000803, found $"),
        (b"<htm", "expected an idx file that begins 00000803, found 3c68746d"),
        (idx_bytes(np.zeros(5)), "begins 00000803, found 00000801"),
        (idx_bytes(np.zeros((5, 3, 2)))[:9], r"expected values of shape \(5, 3, 2\), found \(\)"),
        (idx_bytes(np.zeros((4, 3, 2))), r"expected values of shape \(5, 3, 2\), found \(4, 3, 2\)"),
        (idx_bytes(np.zeros((5, 3, 2)))[:-1], "expected 46 bytes, found 45"),
        (idx_bytes(np.zeros((5, 3, 2))) + b"x", "expected 46 bytes, found 47"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    paths, _ = idx_set(tmp_path)
    paths[0].write_bytes(content)
    with pytest.raises(DamagedFile, match=f"^{paths[0]}: .*{message}"):
        idx.read(paths, GREY)


def test_a_label_that_is_no_class_is_named(tmp_path: Path) -> None:
    paths, _ = idx_set(tmp_path)
    paths[3].write_bytes(idx_bytes(np.array([3, 4])))
    with pytest.raises(DamagedFile, match=f"{paths[3]}: expected labels from 0 to 3, found 4"):
        idx.read(paths, GREY)


@pytest.mark.parametrize("keep", [0, 10, -4])
def test_a_gzip_that_is_cut_off_is_named(tmp_path: Path, keep: int) -> None:
    file = tmp_path / "labels.gz"
    file.write_bytes(gzip.compress(idx_bytes(np.zeros(5)))[:keep] or b"no gzip")
    with pytest.raises(DamagedFile, match=f"{file}: expected a complete gzip"):
        idx.values(file, (5,))


def test_cifar10_batches_are_joined_in_order(tmp_path: Path) -> None:
    batches = [cifar_records(2, 1) for _ in range(5)]
    test = cifar_records(3, 1)
    paths = [tmp_path / str(number) for number in range(6)]
    for path, (content, _, _) in zip(paths, [*batches, test], strict=True):
        path.write_bytes(content)
    train_x, train_y = (np.concatenate([batch[part] for batch in batches]) for part in (1, 2))
    assert same(cifar.read_cifar10(paths, COLOUR), Images(train_x, train_y, test[1], test[2]))  # type: ignore[arg-type]


def test_cifar100_classes_are_the_fine_labels(tmp_path: Path) -> None:
    train, test = cifar_records(10, 2), cifar_records(3, 2)
    paths = [tmp_path / "train.bin", tmp_path / "test.bin"]
    paths[0].write_bytes(train[0])
    paths[1].write_bytes(test[0])
    found = cifar.read_cifar100(paths, COLOUR)
    assert same(found, Images(train[1], train[2], test[1], test[2]))  # type: ignore[arg-type]
    assert all(array.flags.writeable for array in found)


def test_a_cifar_file_of_another_size_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / "train.bin", tmp_path / "test.bin"]
    paths[0].write_bytes(cifar_records(10, 2)[0])
    paths[1].write_bytes(cifar_records(3, 1)[0])
    with pytest.raises(DamagedFile, match=f"{paths[1]}: expected 3 records of 14 bytes, 42 in all, found 39"):
        cifar.read_cifar100(paths, COLOUR)


def test_digits_are_split_the_same_way_every_time_with_every_class_in_both_parts() -> None:
    facts = spec.Digits.facts
    found = reading.load(spec.Digits(), None)
    assert found.train_x.shape == (facts.train, *facts.shape)
    assert found.test_x.shape == (facts.test, *facts.shape)
    assert (found.train_x.min(), found.train_x.max()) == (0, 255)
    assert np.abs(np.bincount(found.test_y) - 36).max() <= 1
    assert same(found, digits.read([], facts))


def test_a_missing_set_is_not_downloaded_unless_that_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(files.DatasetNotFound, match="or allow downloads"):
        reading.load(spec.MNIST(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_downloads_need_a_folder() -> None:
    with pytest.raises(files.DatasetNotFound, match="no data folder was given"):
        reading.load(spec.MNIST(), None, allow_download=True)


@pytest.mark.dataset
@pytest.mark.parametrize(
    ("dataset", "mean"),
    [(spec.MNIST(), 0.1307), (spec.FashionMNIST(), 0.2860), (spec.CIFAR10(), 0.4734), (spec.CIFAR100(), 0.4782)],
    ids=lambda part: getattr(part, "kind", ""),
)
def test_a_real_set_has_its_published_mean_and_as_many_images_of_every_class(
    dataset: spec.ImageDataset, mean: float, data_dir: Callable[[spec.Dataset], Path]
) -> None:
    found = reading.load(dataset, data_dir(dataset))
    assert found.train_x.shape == (dataset.facts.train, *dataset.facts.shape)
    assert found.test_x.shape == (dataset.facts.test, *dataset.facts.shape)
    assert found.train_x.mean() / 255 == pytest.approx(mean, abs=1e-4)
    per_class = np.bincount(found.train_y)
    assert len(per_class) == dataset.facts.classes
    assert dataset.kind == "mnist" or set(per_class) == {dataset.facts.train // dataset.facts.classes}
