"""Missing files are named before anything is loaded, and finding them costs neither torch nor numpy."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from hsu_core import spec
from hsu_core.data import files


def lay_out(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_every_published_kind_of_the_spec_has_a_layout() -> None:
    assert set(files.LAYOUT) == set(spec.kinds(spec.PublishedDataset))


def test_digits_need_no_files_and_no_folder() -> None:
    assert files.require(spec.Digits(), None) == []


def test_plain_files_are_found_before_gzips(tmp_path: Path) -> None:
    one, *others = files.LAYOUT["mnist"]
    lay_out(tmp_path, one, one + ".gz", *(name + ".gz" for name in others))
    assert files.require(spec.MNIST(), tmp_path) == [tmp_path / one, *(tmp_path / (name + ".gz") for name in others)]


def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(files.DatasetNotFound) as caught:
        files.require(spec.FashionMNIST(), tmp_path)
    assert str(caught.value) == (
        f"fashion-mnist is not there: looked for {tmp_path}/FashionMNIST/raw/train-images-idx3-ubyte and 3 more "
        "(or the same with .gz). Place the files there, or allow downloads"
    )


def test_only_the_files_that_are_missing_are_named(tmp_path: Path) -> None:
    lay_out(tmp_path, "cifar-100-binary/train.bin")
    with pytest.raises(files.DatasetNotFound, match=r"looked for \S+/cifar-100-binary/test.bin \(or"):
        files.require(spec.CIFAR100(), tmp_path)


def test_without_a_data_folder_the_message_asks_for_one() -> None:
    with pytest.raises(files.DatasetNotFound, match="no data folder was given: name one that holds cifar-10-batches"):
        files.require(spec.CIFAR10(), None)


def test_the_spec_and_the_file_check_load_neither_torch_nor_numpy() -> None:
    heavy = "{'torch', 'numpy', 'sklearn', 'pooch'} & set(sys.modules)"
    code = f"import sys, hsu_core.spec, hsu_core.data.files; sys.exit(str({heavy}) if {heavy} else 0)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_an_empty_gzip_is_still_a_file(tmp_path: Path) -> None:
    lay_out(tmp_path, "cifar-100-binary/train.bin")
    (tmp_path / "cifar-100-binary/test.bin.gz").write_bytes(gzip.compress(b""))
    assert files.require(spec.CIFAR100(), tmp_path)[1].name == "test.bin.gz"
