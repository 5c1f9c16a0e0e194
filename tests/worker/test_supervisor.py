"""How does a job end under a real supervisor that starts real runners: with a result, or with what was wrong?"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from live_runners import STARTING, runners
from samples import POINTS
from sqlalchemy import select
from waiting import until

from hsu_core.data.files import LAYOUT
from hsu_jobs import curves, database, queries
from hsu_jobs.artifacts import logs
from hsu_jobs.cluster import waiting
from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import Block, Job, Worker
from worker.supervisor import Supervisor


def levels(job_id: int) -> set[int]:
    with database.transaction() as session:
        return set(session.execute(select(Block.level).where(Block.job_id == job_id)).scalars())


def test_a_job_is_trained_and_settled(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job], fast: Settings
) -> None:
    made = submit(record={"every": 5})
    supervisor.wake()
    until(lambda: job(made).state is State.SUCCEEDED, seconds=STARTING)
    done = job(made)
    assert done.result is not None
    assert done.result["test_accuracy"] > 0.3
    with database.transaction() as session:
        (loss,) = curves.read(session, made, measures=["loss"])
    until(lambda: levels(made) == {2})  # the sweep has merged its blocks
    with database.transaction() as session:
        assert curves.read(session, made, measures=["loss"])[0].values.tobytes() == loss.values.tobytes()
    assert [attempt.outcome["kind"] for attempt in done.attempts if attempt.outcome] == ["succeeded"]
    with database.transaction() as session:
        (energy,) = curves.read(session, made, layers=["classifier"], measures=["mhe_s2"])
    assert energy.steps.tolist() == [0, 5, 10, 11]
    assert [path.name for path in fast.artifacts_dir.glob(f"jobs/{made}/attempt-1/*")] == ["step-000000011.safetensors"]


def test_a_spare_runner_takes_the_next_job(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job], supervise: Callable[..., Supervisor]
) -> None:
    supervise(fast)
    until(runners)
    (spare,) = runners()
    made = submit()
    until(lambda: job(made).attempts)
    assert spare.is_running()
    until(lambda: spare.pid not in {runner.pid for runner in runners()}, seconds=STARTING)
    until(lambda: job(made).state is State.SUCCEEDED, seconds=STARTING)


def test_points_are_placed_on_a_sphere_and_compared_with_the_best_known(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(POINTS)
    supervisor.wake()
    until(lambda: job(made).state is State.SUCCEEDED, seconds=STARTING)
    result = job(made).result
    assert result is not None
    assert abs(result["gap"]) < 1e-9
    assert len(result["points"]) == POINTS["n"]


def test_a_job_that_diverges_fails_and_says_where_and_its_curves_hold_no_further_point(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(optimizer={"kind": "sgd", "lr": 1e30}, record={"every": 5, "measures": ["mhe_s2"]})
    until(lambda: job(made).state is State.FAILED, seconds=STARTING)
    assert job(made).failure == {"code": "diverged", "message": "weights of hidden1 was not finite at step 5"}
    with database.transaction() as session:
        (energy,) = curves.read(session, made, layers=["hidden1"], measures=["mhe_s2"])
    assert energy.steps.tolist() == [0, 5]
    assert [math.isnan(value) for value in energy.values.tolist()] == [False, True]


def test_layers_that_cannot_be_spread_are_told_in_an_event_and_with_the_result_and_a_job_without_others_fails(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    narrow = {"model": {"kind": "mlp", "hidden": [1, 8]}}
    made = submit(**narrow, regularizer={"kind": "mhs"})
    none = submit(**narrow, regularizer={"kind": "mhs", "layers": ["hidden1"]})
    until(lambda: job(none).state is State.FAILED, seconds=STARTING)
    left_out = {
        "hidden1": "has a single neuron: there is no pair to spread",
        "hidden2": "has neurons of a single dimension: there are only two directions",
    }
    with database.transaction() as session:
        events = [row.event for row in session.execute(queries.events_of(made, after=0, limit=100)).scalars()]
    told = [event for event in events if event["kind"] == "skipped"]
    assert told == [{"kind": "skipped", "attempt": 1, "layers": left_out}]
    kinds = [event["kind"] for event in events]
    assert kinds.index("started") < kinds.index("skipped") < kinds.index("ended")
    (attempt,), failure = job(made).attempts, job(none).failure
    assert attempt.outcome is not None
    assert attempt.outcome["skipped_layers"] == left_out
    assert failure is not None
    assert "mhs finds no layer that it could spread: hidden1 has a single neuron" in failure["message"]


def test_a_wrong_file_of_one_job_leaves_the_data_set_to_the_others(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    wrong = submit(initial={"kind": "file", "path": "none.safetensors"}, limits={"max_attempts": 1})
    until(lambda: job(wrong).state is State.FAILED, seconds=STARTING)
    failure = job(wrong).failure
    assert failure is not None
    assert failure["code"] == "file_missing"
    assert "none.safetensors" in failure["message"]
    other = submit()
    until(lambda: job(other).state is State.SUCCEEDED, seconds=STARTING)


def test_a_layer_that_is_not_there_fails_and_lists_those_that_are(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(record={"layers": ["conv7"]})
    until(lambda: job(made).state is State.FAILED, seconds=STARTING)
    failure = job(made).failure
    assert failure is not None
    assert "'conv7' matches no layer; there are hidden1, hidden2, classifier" in failure["message"]


def test_a_job_whose_data_this_machine_lacks_is_left_to_others_and_says_why_it_waits(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job], fast: Settings
) -> None:
    made = submit(dataset={"kind": "mnist"}, model={"kind": "mlp"})
    other = submit()
    until(lambda: job(other).state is State.SUCCEEDED, seconds=STARTING)  # it was claimed past the other
    assert (job(made).state, job(made).attempts) == (State.QUEUED, [])
    with database.transaction() as session:
        found = waiting.why(session, job(made), fast)
    assert found is not None
    assert found.reason == "no_worker_with_dataset"
    assert "can read mnist; they have: digits" in found.detail


def test_data_that_only_show_their_damage_when_they_are_read_cost_one_attempt_and_no_strike(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job], fast: Settings
) -> None:
    for name in LAYOUT["mnist"]:
        (fast.data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (fast.data_dir / name).write_bytes(b"no idx file")
    made = submit(dataset={"kind": "mnist"}, model={"kind": "mlp"}, limits={"max_attempts": 1})
    until(lambda: any(attempt.ended_at for attempt in job(made).attempts), seconds=STARTING)
    (attempt,) = job(made).attempts
    assert attempt.outcome is not None
    assert (attempt.outcome["kind"], attempt.outcome["code"]) == ("unavailable", "dataset_unavailable")
    assert "expected an idx file" in attempt.outcome["message"]

    def has() -> list[str] | None:
        with database.transaction() as session:
            return session.execute(select(Worker.datasets)).scalar_one()

    until(lambda: has() == ["digits", "own"])
    other = submit()
    until(lambda: job(other).state is State.SUCCEEDED, seconds=STARTING)
    assert (job(made).state, job(made).strikes, len(job(made).attempts)) == (State.QUEUED, 0, 1)


def test_the_log_of_a_runner_is_kept(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job], fast: Settings
) -> None:
    made = submit()
    until(lambda: job(made).state is State.SUCCEEDED, seconds=STARTING)

    def log() -> bytes:
        with database.transaction() as session:
            return logs.read(session, job(made).attempts[0].id).content

    until(lambda: b"the attempt ended: succeeded" in log())


def test_a_job_of_two_devices_is_trained_by_two_processes_and_gives_both_back(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job], supervise: Callable[..., Supervisor]
) -> None:
    small, large = submit(), submit(resources={"gpus": 2})
    supervisor = supervise(fast, "cpu:0", "cpu:1")
    until(lambda: job(large).state is State.SUCCEEDED, seconds=STARTING)
    until(lambda: job(small).state is State.SUCCEEDED, seconds=STARTING)
    supervisor.stop()
    assert [attempt.device for attempt in job(large).attempts] == ["cpu:0,cpu:1"]
    results = [job(made).result for made in (small, large)]
    assert results[0] is not None
    assert results[1] is not None
    assert results[0]["train_loss"] == pytest.approx(results[1]["train_loss"], rel=1e-4)
