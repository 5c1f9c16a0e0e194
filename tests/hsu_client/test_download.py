"""A checkpoint comes home: whole, checked, resumed after a break, and never over another file."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from proxy import Road
from safetensors.torch import load_file

from hsu_client import download as downloads
from hsu_client.client import Client
from hsu_client.download import DamagedDownload
from hsu_client.problem import Problem, Unreachable
from hsu_core.outcomes import Saved
from hsu_jobs.attempts import Claim


class Narrow(Road):
    """A road that ends each connection after so many bytes from the server."""

    limit = 6000

    def _carry(self, source: socket.socket, target: socket.socket, is_slow: bool) -> None:
        left = self.limit
        with suppress(OSError):
            while (is_slow or left) and (piece := source.recv(min(65536, left) if not is_slow else 65536)):
                left -= 0 if is_slow else len(piece)
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def over_a_bad_line(served: Any) -> Iterator[Client]:
    host, _, port = served.url.removeprefix("http://").partition(":")
    road = Narrow((host, int(port)))
    with Client(f"http://127.0.0.1:{road.port}", served.key) as client:
        yield client
    road.close()


@pytest.fixture
def contents(served: Any, saved: list[Saved], claim: Claim) -> dict[int, bytes]:
    folder = served.artifacts / "jobs" / str(claim.job_id) / f"attempt-{claim.attempt}"
    return {state.step: (folder / state.path.name).read_bytes() for state in saved}


def test_the_newest_one_of_a_step_or_the_best_comes_into_a_folder_or_a_file(
    client: Client, claim: Claim, saved: list[Saved], contents: dict[int, bytes], tmp_path: Path
) -> None:
    newest = client.download(claim.job_id, tmp_path)
    assert newest == tmp_path / f"job-{claim.job_id}-step-6.safetensors"
    assert newest.read_bytes() == contents[6]
    assert client.download(claim.job_id, tmp_path / "mine", step=2).read_bytes() == contents[2]
    best = max(state.step for state in saved if state.is_best)
    assert client.job(claim.job_id).download(tmp_path / "best", best=True).read_bytes() == contents[best]
    weights = client.download(claim.job_id, tmp_path, part="weights")
    assert weights.name == f"job-{claim.job_id}-step-6-weights.safetensors"
    assert load_file(weights).keys() == {name for name in load_file(newest) if name.startswith("model/")}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_download_that_breaks_off_again_and_again_ends_whole(
    over_a_bad_line: Client,
    claim: Claim,
    contents: dict[int, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    seen: list[int] = []
    path = over_a_bad_line.download(claim.job_id, tmp_path, report=lambda done, _size: seen.append(done))
    assert path.read_bytes() == contents[6]
    assert len(contents[6]) > 2 * Narrow.limit  # so that it broke off
    assert seen == sorted(seen)  # and never began anew


def test_a_later_process_goes_on_with_what_is_there(
    client: Client, claim: Claim, saved: list[Saved], contents: dict[int, bytes], tmp_path: Path
) -> None:
    name = f"job-{claim.job_id}-step-6.safetensors"
    partial = tmp_path / f".{name}.{saved[-1].sha256[:16]}.part"
    partial.write_bytes(contents[6][:5000])
    first: list[int] = []
    client.download(claim.job_id, tmp_path, report=lambda done, _size: first.append(done))
    assert first[0] > 5000
    assert (tmp_path / name).read_bytes() == contents[6]
    assert not partial.exists()


def test_bytes_that_are_wrong_are_found_and_removed(
    client: Client, claim: Claim, saved: list[Saved], contents: dict[int, bytes], tmp_path: Path
) -> None:
    name = f"job-{claim.job_id}-step-6.safetensors"
    partial = tmp_path / f".{name}.{saved[-1].sha256[:16]}.part"
    partial.write_bytes(b"x" * 5000)
    with pytest.raises(DamagedDownload, match=f"expected content of sha256 {saved[-1].sha256}, found "):
        client.download(claim.job_id, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert client.download(claim.job_id, tmp_path).read_bytes() == contents[6]


def test_a_file_that_is_there_is_replaced_only_if_asked(
    client: Client, claim: Claim, contents: dict[int, bytes], tmp_path: Path
) -> None:
    target = tmp_path / "mine"
    target.write_bytes(b"a year of work")
    with pytest.raises(FileExistsError, match="is already there, with other content"):
        client.download(claim.job_id, target)
    assert target.read_bytes() == b"a year of work"
    client.download(claim.job_id, target, overwrite=True)
    before = target.stat().st_ino, target.stat().st_mtime_ns
    assert client.download(claim.job_id, target) == target  # has these bytes: stays
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == before
    assert target.read_bytes() == contents[6]


def test_what_is_not_there_is_said(client: Client, claim: Claim, saved: list[Saved], tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no checkpoint of step 5; there are those of steps 2, 4, 6"):
        client.download(claim.job_id, tmp_path, step=5)
    with pytest.raises(ValueError, match="give a step or the best, not both"):
        client.job(claim.job_id).model(step=2, best=True)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        client.download(claim.job_id, tmp_path / "none" / "file")
    with Client("http://127.0.0.1:9", "key") as nowhere, pytest.raises(Unreachable):
        nowhere.download(claim.job_id, tmp_path, step=2)


def test_a_job_without_a_checkpoint_says_so(client: Client, claim: Claim, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"job {claim.job_id} has no best checkpoint"):
        client.download(claim.job_id, tmp_path, best=True)


def test_a_job_gives_its_trained_network(
    client: Client, claim: Claim, contents: dict[int, bytes], tmp_path: Path
) -> None:
    for step in (2, 6):
        network = client.job(claim.job_id).model(step=step)
        path = tmp_path / "file"
        path.write_bytes(contents[step])
        trained = {name.removeprefix("model/"): value for name, value in load_file(path).items()}
        assert not network.training
        assert all(torch.equal(value, trained[name]) for name, value in network.state_dict().items())
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_without_torch_it_is_said_what_to_install(served: Any, claim: Claim, saved: list[Saved]) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from hsu_client.client import Client; "
        f"Client({served.url!r}, {served.key!r}).job({claim.job_id}).model()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError: a network needs torch: install the extra `core`" in done.stderr


def test_the_client_and_its_commands_load_nothing_of_the_other_rooms() -> None:
    program = (
        "import sys, hsu_client.cli.main; "
        "print({'torch', 'api', 'worker', 'hsu_jobs', 'hsu_core', 'embedded'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
