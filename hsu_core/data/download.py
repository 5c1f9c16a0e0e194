"""Where are the data sets published, and how do they get into the data folder?

Knows addresses and checksums. A file appears in its place complete and checked, or not at all. The caller decides
whether a machine may download: nothing here runs by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pooch

from hsu_core import spec
from hsu_core.data import graphs


class Publication(NamedTuple):
    """Files of one data set on the network."""

    address: str
    """Ends in a slash; a file's name follows."""
    checksums: dict[str, str]
    """The checksum of each file, as `algorithm:hex`."""
    place: str
    """Folder below the data folder for the files, or for the content of an archive."""


PLANETOID = "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data/"


def _planetoid(graph: str) -> dict[str, str]:
    """The checksums without which its pickles are not read either."""
    return {name: f"sha256:{known}" for name, known in graphs.SHA256.items() if name.startswith(f"ind.{graph}.")}


PUBLICATIONS: dict[str, Publication] = {
    "mnist": Publication(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        "MNIST/raw",
    ),
    "fashion-mnist": Publication(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        "FashionMNIST/raw",
    ),
    "cifar10": Publication(
        "https://www.cs.toronto.edu/~kriz/", {"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"}, ""
    ),
    "cifar100": Publication(
        "https://www.cs.toronto.edu/~kriz/", {"cifar-100-binary.tar.gz": "md5:03b5dce01913d631647c71ecec9e9cb8"}, ""
    ),
    "cora": Publication(PLANETOID, _planetoid("cora"), "Planetoid/Cora/raw"),
    "citeseer": Publication(PLANETOID, _planetoid("citeseer"), "Planetoid/Citeseer/raw"),
    "banking77": Publication(
        "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data/",
        {
            "train.csv": "sha256:b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
            "test.csv": "sha256:d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
        },
        "banking77",
    ),
}


class DownloadFailed(Exception):
    """A file could not be fetched, or is not the published one."""


def fetch(
    dataset: spec.PublishedDataset, folder: Path, *, publications: Mapping[str, Publication] = PUBLICATIONS
) -> None:
    """Put the files of this data set below the folder, where `files.LAYOUT` expects them; raises DownloadFailed."""
    published = publications[dataset.kind]
    try:
        _fetch(published, folder)
    except OSError as error:  # the folder is not writable, its disk is full, or a file has its name
        raise DownloadFailed(f"could not put {dataset.kind} into {folder}: {error}") from error


def _fetch(published: Publication, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that one rename moves a file there, and a killed download leaves no partial file.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as staging:
        for name, checksum in published.checksums.items():
            _retrieve(published.address + name, checksum, Path(staging))
        for file in [path for path in Path(staging).rglob("*") if path.is_file()]:
            target = folder / published.place / file.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


def _retrieve(url: str, checksum: str, staging: Path) -> None:
    """Fetch and check one file; an archive is replaced by its content."""
    name = url.rsplit("/", 1)[1]
    is_archive = name.endswith(".tar.gz")
    unpack = pooch.Untar(extract_dir=".") if is_archive else None
    try:
        pooch.retrieve(url, checksum, fname=name, path=staging, processor=unpack)
    except (OSError, ValueError) as error:  # no connection, an HTTP error, or a wrong checksum
        raise DownloadFailed(f"could not download {url}: {error}") from error
    if is_archive:
        (staging / name).unlink()
