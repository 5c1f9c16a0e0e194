"""Downloads, from a real HTTP server: what arrives is whole, checked and in its place, or is not there at all."""

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hsu_core import spec
from hsu_core.data import download, files


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The folder that the server publishes."""
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


@pytest.fixture
def address(published: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(published))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def publish(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def archive(names: tuple[str, ...]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return packed.getvalue()


def test_every_set_that_needs_files_is_published_somewhere_in_its_place() -> None:
    needing = {kind for kind, names in files.LAYOUT.items() if names}
    assert set(download.PUBLICATIONS) == needing - files.UNPUBLISHED
    for kind in ("mnist", "fashion-mnist"):
        published = download.PUBLICATIONS[kind]
        assert {f"{published.place}/{name}" for name in published.checksums} == {
            f"{name}.gz" for name in files.LAYOUT[kind]
        }
    for kind in ("cora", "citeseer", "banking77"):
        published = download.PUBLICATIONS[kind]
        assert {f"{published.place}/{name}" for name in published.checksums} == set(files.LAYOUT[kind])


def test_idx_files_arrive_packed_in_their_place(tmp_path: Path, published: Path, address: str) -> None:
    checksums = {f"{name}.gz": publish(published, f"{name}.gz", gzip.compress(name.encode())) for name in files.IDX}
    data = tmp_path / "data"
    download.fetch(spec.MNIST(), data, publications={"mnist": download.Publication(address, checksums, "MNIST/raw")})
    found = files.require(spec.MNIST(), data)
    assert [gzip.decompress(file.read_bytes()).decode() for file in found] == list(files.IDX)
    assert [path.name for path in data.iterdir()] == ["MNIST"]


def test_an_archive_arrives_unpacked_in_its_place(tmp_path: Path, published: Path, address: str) -> None:
    content = archive(files.LAYOUT["cifar100"])
    checksums = {"cifar-100-binary.tar.gz": publish(published, "cifar-100-binary.tar.gz", content)}
    download.fetch(
        spec.CIFAR100(), tmp_path / "data", publications={"cifar100": download.Publication(address, checksums, "")}
    )
    found = files.require(spec.CIFAR100(), tmp_path / "data")
    assert [file.read_text() for file in found] == list(files.LAYOUT["cifar100"])
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar-100-binary"]


def test_another_content_than_the_published_one_is_refused(tmp_path: Path, published: Path, address: str) -> None:
    publish(published, "one.gz", b"tampered with")
    checksums = {"one.gz": f"sha256:{hashlib.sha256(b'as published').hexdigest()}"}
    with pytest.raises(download.DownloadFailed, match=r"could not download \S+one.gz: .*hash"):
        download.fetch(
            spec.MNIST(), tmp_path / "data", publications={"mnist": download.Publication(address, checksums, "x")}
        )
    assert list((tmp_path / "data").iterdir()) == []


def test_a_file_that_is_not_there_is_named(tmp_path: Path, address: str) -> None:
    publications = {"mnist": download.Publication(address, {"one.gz": "md5:0"}, "x")}
    with pytest.raises(download.DownloadFailed, match=r"could not download \S+one.gz: .*404"):
        download.fetch(spec.MNIST(), tmp_path, publications=publications)


def test_nobody_at_the_address_is_a_failed_download(tmp_path: Path) -> None:
    publications = {"mnist": download.Publication("http://127.0.0.1:9/", {"one.gz": "md5:0"}, "x")}
    with pytest.raises(download.DownloadFailed, match=r"could not download http://127.0.0.1:9/one.gz"):
        download.fetch(spec.MNIST(), tmp_path, publications=publications)
