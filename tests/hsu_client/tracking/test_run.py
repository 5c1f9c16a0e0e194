"""A loop of one's own: what it logs is its job's, and however it ends, its job ends so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from waiting import until

from hsu_client.cli import render
from hsu_client.client import Client
from hsu_client.export import run as export
from hsu_client.problem import Problem, Unreachable
from hsu_client.tracking import Run, track
from hsu_core.measures import panel
from hsu_core.regularizers.layers import layers

Tracked = Callable[..., Run]


def values(client: Client, run: int | None, measure: str = "loss") -> dict[int, float]:
    assert run is not None
    (curve,) = client.curves(run, measures=[measure])
    assert len(set(curve.steps)) == len(curve.steps)
    return dict(zip(curve.steps, curve.values, strict=True))


def test_what_a_loop_logs_is_there_when_it_has_ended(client: Client, tracked: Tracked) -> None:
    with tracked(config={"lr": 0.1, "inf": float("inf"), "where": os}, tags=["lab"]) as run:
        for step in range(100):
            run.log(step, loss=1 / (1 + step), **{"val/accuracy": step})
        run.log_values(50, {("fc1", "mhe_s2"): 2.5})
        run.result(best=0.5)
        print("half way, é")
    assert run.id is not None
    job = client.job(run.id)
    assert (job["state"], job["result"]["values"], job["tags"]) == ("succeeded", {"best": 0.5}, ["lab"])
    assert job["spec"]["config"]["inf"] == "Infinity"
    assert values(client, run.id) == {step: 1 / (1 + step) for step in range(100)}
    assert values(client, run.id, "mhe_s2") == {50: 2.5}
    assert "half way, é\n" in "".join(client.log(run.id))


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RuntimeError("out of luck"), "failed"),
        (SystemExit(3), "failed"),
        (SystemExit(0), "succeeded"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_a_loop_ends_in_its_true_state(client: Client, tracked: Tracked, error: BaseException, state: str) -> None:
    run = tracked()
    with pytest.raises(type(error)):
        _fail(run, error)
    assert run.id is not None
    job = client.job(run.id)
    assert job["state"] == state
    assert state != "failed" or str(error) in job["failure"]["message"]
    assert values(client, run.id) == {0: 1.0}


def test_lists_and_exports_show_a_run_as_any_job(client: Client, tracked: Tracked) -> None:
    with tracked(config={"lr": 0.1, "net": {"width": 8}}) as run:
        run.log(0, loss=1.0)
        run.result(best=0.5)
    assert run.id is not None
    exported = export.read(client, run.id)
    assert exported.result == {"best": 0.5}
    assert exported.parameters["config.net.width"] == 8
    assert [row.values for row in exported.rows()] == [{"loss": 1.0, "result/best": 0.5}]
    assert render.line(client.job(run.id)) == f"job {run.id} · succeeded · step 0 of ? · tracked · mine"


def _fail(run: Run, error: BaseException) -> None:
    with run:
        run.log(0, loss=1.0)
        raise error


@pytest.mark.parametrize(("ask", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_what_the_owner_wants_reaches_the_loop(client: Client, tracked: Tracked, ask: str, state: str) -> None:
    with tracked() as run:
        assert run.id is not None
        assert not run.should_stop
        getattr(client, ask)(run.id)
        step = 0
        while not run.should_stop:
            run.log(step, loss=1.0)
            step += 1
    assert client.job(run.id)["state"] == state


def test_a_paused_run_goes_on_where_it_was_or_at_an_earlier_step(client: Client, tracked: Tracked) -> None:
    with tracked() as run:
        assert run.id is not None
        for step in range(10):
            run.log(step, loss=1.0)
        client.pause(run.id)
        until(lambda: _logged(run, 10))
    with tracked(resume=run.id) as again:
        assert again.step == 11
        again.log(11, loss=2.0)
        client.pause(run.id)
        until(lambda: _logged(again, 12))
    with tracked(resume=run.id, step=5) as back:
        assert back.step == 5
        for step in range(5, 8):
            back.log(step, loss=3.0)
    assert values(client, run.id) == dict.fromkeys(range(5), 1.0) | dict.fromkeys(range(5, 8), 3.0)
    with pytest.raises(Problem, match="what has ended stays"), tracked(resume=run.id):
        pass


def _logged(run: Run, step: int) -> bool:
    run.log(step, loss=1.0)
    return run.should_stop


def test_a_forked_process_does_not_log_for_its_parent(client: Client, tracked: Tracked) -> None:
    with tracked() as run:
        run.log(0, loss=1.0)
        child = os.fork()
        if child == 0:
            run.log(1, loss=2.0)
            run.__exit__(None, None, None)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        run.log(2, loss=3.0)
    assert values(client, run.id) == {0: 1.0, 2: 3.0}


def test_of_several_ranks_only_the_first_logs(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with tracked() as run:
        run.log(0, loss=1.0)
        assert (run.id, run.should_stop) == (None, False)


def test_a_killed_loop_leaves_what_it_sent_and_another_process_goes_on(
    served: Any, client: Client, tracked: Tracked
) -> None:
    loop = (
        "import itertools, time, hsu_client\n"
        "with hsu_client.track('killed', without=('packages', 'gpus', 'git')) as run:\n"
        "    print(run.id, flush=True)\n"
        "    for step in itertools.count():\n"
        "        run.log(step, loss=float(step)); time.sleep(0.001)\n"
    )
    environment = {**os.environ, "HSU_URL": served.url, "HSU_API_KEY": served.key}
    command = [sys.executable, "-c", loop]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run_id = int(process.stdout.readline())
        until(lambda: client.job(run_id)["step"] > 100)
        process.send_signal(signal.SIGKILL)
    with tracked(resume=run_id) as run:  # its lease has not run out: the new process takes it over
        for step in range(run.step, run.step + 50):
            run.log(step, loss=float(step))
    found = values(client, run_id)
    assert found == {step: float(step) for step in range(run.step + 50)}
    assert [each["outcome"]["kind"] for each in client.job(run_id)["attempts"]] == ["lost", "succeeded"]


def test_what_cannot_be_logged_is_refused_where_it_is_logged(tracked: Tracked) -> None:
    with tracked() as run:
        with pytest.raises(ValueError, match="whole number from 0"):
            run.log(-1, loss=1.0)
        with pytest.raises(TypeError):
            run.log(0, loss=None)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="1 to 200 characters"):
            run.log_values(0, {"": 1.0})
    with pytest.raises(ValueError, match="needs `resume`"):
        track(step=3)
    with pytest.raises(ValueError, match="environment has the parts git"), tracked(without=["gpu"]):
        pass


def test_without_a_service_the_loop_does_not_begin(served: Any) -> None:
    with pytest.raises(Unreachable), track(url="http://127.0.0.1:9", key=served.key, without=("packages",)):
        pass


def test_the_energies_of_every_layer_are_those_that_jobs_record(client: Client, tracked: Tracked) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with tracked() as run:
        run.measure(0, model)
    assert run.id is not None
    found = {(curve.layer, curve.measure): curve.values[0] for curve in client.curves(run.id)}
    expected = {
        (layer.name, measure): value
        for layer in layers(model)
        for measure, value in panel.measure(layer.points().detach()).items()
    }
    assert found.keys() == expected.keys()
    assert np.array_equal(list(found.values()), [expected[key] for key in found], equal_nan=True)


def test_without_the_library_measuring_says_what_to_install(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hsu_core.regularizers.layers", None)
    with tracked() as run, pytest.raises(ImportError, match=r"pip install 'hsu-service\[core\]'"):
        run.measure(0, torch.nn.Linear(2, 2))
