"""What a loop saves is at the service when it has ended, and a resumed loop goes on with it."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from samples import DIGITS
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from waiting import until

import hsu_core.loading
import hsu_core.models
from hsu_client.cli.main import main
from hsu_client.client import Client
from hsu_client.export import folder
from hsu_client.problem import Unreachable
from hsu_client.tracking import Run, files, states
from hsu_core import spec
from hsu_core.training.initial_weights import take_over
from hsu_jobs import database
from hsu_jobs.artifacts import installation
from hsu_jobs.settings import Settings

Tracked = Callable[..., Run]


@pytest.fixture(autouse=True)
def marked(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has used the storage; the thread that sends files flushes soon."""
    monkeypatch.setattr(files, "FLUSH", 0.02)
    engine = create_engine(database.with_driver(served.database_url))
    with Session(engine) as session:
        installation.marked_storage(session, Settings(artifacts_dir=served.artifacts))
        session.commit()
    engine.dispose()


@pytest.fixture
def hsu(served: Any) -> Any:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, arguments, env={"HSU_URL": served.url, "HSU_API_KEY": served.key})
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def network() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return bool(torch.equal(one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return one == other or (one != one and other != other)


def test_files_and_folders_come_back_from_the_command_line(
    client: Client, tracked: Tracked, hsu: Any, tmp_path: Path
) -> None:
    plots = tmp_path / "plots"
    (plots / "a").mkdir(parents=True)
    (plots / "a" / "loss.png").write_bytes(os.urandom(5_000_000))  # more than one part
    (plots / "empty").touch()
    (plots / ".hidden").touch()
    notes = tmp_path / "notes.txt"
    with tracked() as run:
        notes.write_text("first", encoding="utf-8")
        run.save(notes)
        notes.write_text("second", encoding="utf-8")
        run.save(notes, name="second.txt")
        run.save(plots)
        with pytest.raises(FileNotFoundError):
            run.save(tmp_path / "nothing")
    assert run.id is not None
    found = [row["name"] for row in client.files(run.id)]
    assert found == ["notes.txt", "plots/a/loss.png", "plots/empty", "second.txt"]
    assert "plots/a/loss.png" in hsu("files", str(run.id))
    there = tmp_path / "there"
    there.mkdir()
    for name in found:
        hsu("download", str(run.id), "--file", name, "--to", str(there))
    assert (there / "notes.txt").read_text(encoding="utf-8") == "first"
    assert (there / "loss.png").read_bytes() == (plots / "a" / "loss.png").read_bytes()
    hsu("files", str(run.id), "--delete", "second.txt")
    assert len(client.files(run.id)) == 3
    exported = folder.write(client, run.id, tmp_path / "home")
    assert (exported / "files/plots/a/loss.png").read_bytes() == (plots / "a" / "loss.png").read_bytes()


def test_a_state_comes_back_bit_for_bit(tracked: Tracked) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "tied": (model[0].weight, model[0].weight.T, model[0].weight[0]),
        "more": [1, None, True, "é", math.inf, math.nan, {2: 0.1}],
    }
    with tracked() as run:
        run.save(state, step=7)
        saved = run.latest()
        assert saved is not None
        back = saved.load()
    assert saved.step == 7
    assert equal(state, back)
    optimizer.load_state_dict(back["optimizer"])


def test_what_is_no_plain_data_is_refused_with_its_place(tracked: Tracked) -> None:
    with tracked() as run:
        for state, said in (
            ({"a": [np.ones(1)]}, "a/0 is a ndarray"),
            ({"a": {(1, 2): 1}}, r"a has the key \(1, 2\)"),
        ):
            with pytest.raises(TypeError, match=said):
                run.save(state, step=1)
        with pytest.raises(ValueError, match="needs the step"):
            run.save(network())
        assert run.latest() is None


def test_the_library_loads_a_saved_network(client: Client, tracked: Tracked, tmp_path: Path) -> None:
    asked = {"task": "classification"} | {name: value for name, value in DIGITS.items() if name != "name"}
    training = spec.TRAINING.validate_python(asked)
    model = hsu_core.models.prepared(training, training.dataset.facts)
    with tracked() as run:
        run.save(model, step=1)
        run.save({"model": model.state_dict(), "epoch": 3}, step=2)
    assert run.id is not None
    for step in (1, 2):
        for part in ("all", "weights"):
            path = client.download(run.id, tmp_path / f"{step}-{part}", step=step, part=part)
            loaded = hsu_core.loading.load(path, made_by=training)
            assert equal(dict(model.state_dict()), dict(loaded.state_dict()))
        starts = spec.TRAINING.validate_python(asked | {"initial": {"kind": "job", "job": run.id, "step": step}})
        other = hsu_core.models.prepared(starts, starts.dataset.facts)
        take_over(other, starts, saved=client.download(run.id, tmp_path / f"{step}", step=step), data_dir=None)
        assert equal(dict(model.state_dict()), dict(other.state_dict()))


def test_a_loop_that_was_paused_goes_on_from_its_newest_state(client: Client, tracked: Tracked) -> None:
    model = network()
    with tracked() as run:
        for step in range(30):
            run.log(step, loss=1.0)
            if step % 10 == 9:
                run.save(model, step=step + 1, keep=2)
        for step in range(30, 35):
            run.log(step, loss=1.0)
        until(lambda: client.job(run.id or 0)["step"] == 34)
        client.pause(run.id or 0)
        until(lambda: run.should_stop)
    assert run.id is not None
    assert [row["step"] for row in client.checkpoints(run.id)] == [30, 20]
    with tracked(resume=run.id, step="latest") as again:
        assert again.step == 30
        saved = again.latest()
        assert saved is not None
        assert equal(dict(model.state_dict()), saved.load())
        for step in range(again.step, 40):
            again.log(step, loss=2.0)
    (curve,) = client.curves(run.id)
    assert (curve.steps, curve.values) == (list(range(40)), [1.0] * 30 + [2.0] * 10)


def test_without_a_saved_state_the_newest_is_the_start(client: Client, tracked: Tracked) -> None:
    with tracked() as run:
        run.log(0, loss=1.0)
        client.pause(run.id or 0)
        until(lambda: run.should_stop)
    with tracked(resume=run.id, step="latest") as again:
        assert again.step == 0


def test_only_the_first_rank_saves(tracked: Tracked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RANK", "1")
    with tracked() as run:
        run.save(tmp_path / "nothing")
        assert run.latest() is None


@pytest.fixture
def unsteady(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every third request of an upload finds no service, before or after it was answered; lists them."""
    ask, asked = Client.send_run, list[str]()

    def sometimes(self: Client, method: str, path: str, **request: Any) -> dict[str, Any]:
        if "/files" not in path:
            return ask(self, method, path, **request)
        asked.append(path)
        if len(asked) % 3 == 1:
            raise Unreachable("cut off")
        answer = ask(self, method, path, **request)
        if len(asked) % 3 == 0:
            raise Unreachable("cut off")
        return answer

    monkeypatch.setattr(Client, "send_run", sometimes)
    return asked


def test_an_upload_that_is_cut_off_again_and_again_arrives(
    client: Client, tracked: Tracked, unsteady: list[str], tmp_path: Path
) -> None:
    content = os.urandom(9_000_000)
    (tmp_path / "large").write_bytes(content)
    with tracked() as run:
        run.save(tmp_path / "large")
    assert run.id is not None
    assert client.download_file(run.id, "large", tmp_path / "back").read_bytes() == content
    assert len(unsteady) > 5


def test_what_the_service_refuses_is_said_and_the_rest_arrives(
    client: Client, tracked: Tracked, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "one").write_text("1", encoding="utf-8")
    with caplog.at_level(logging.ERROR), tracked() as run:
        run.save(tmp_path / "one", name="../one")
        run.save(tmp_path / "one")
    assert [row["name"] for row in client.files(run.id or 0)] == ["one"]
    assert "../one is not saved" in caplog.text


def test_save_does_not_wait_for_the_service(tracked: Tracked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Client, "send_run", _slow(Client.send_run))
    (tmp_path / "one").write_bytes(b"x" * 1000)
    with tracked() as run:
        began = time.perf_counter()
        run.save(tmp_path / "one")
        assert time.perf_counter() - began < 1.0


def _slow(ask: Callable[..., Any]) -> Callable[..., Any]:
    def later(self: Client, method: str, path: str, **request: Any) -> Any:
        if "/files" in path:
            time.sleep(1.0)
        return ask(self, method, path, **request)

    return later


def test_another_safetensors_file_is_no_state(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="holds no state"):
        states.read(tmp_path / "a.safetensors")
