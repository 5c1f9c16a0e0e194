"""What does the client ask the real API, and what does it return?"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
from samples import EXAMPLE
from sqlalchemy import NullPool, create_engine, delete, select
from sqlalchemy.orm import Session

from hsu_client.answers import Curve
from hsu_client.client import Client
from hsu_client.problem import Problem
from hsu_core.outcomes import Reference, Saved, Series
from hsu_jobs import attempts, curves
from hsu_jobs.artifacts import logs
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import workers
from hsu_jobs.tables import User, Worker


def test_a_submitted_job_can_be_looked_at(client: Client) -> None:
    job = client.submit(EXAMPLE)
    assert job["state"] == "queued"
    assert client.job(job["id"])["spec"]["regularizer"]["kind"] == "mhe"


def test_the_same_idempotency_key_gives_the_same_job(client: Client) -> None:
    first = client.submit(EXAMPLE, idempotency_key="once")
    assert client.submit(EXAMPLE, idempotency_key="once")["id"] == first["id"]
    assert client.submit(EXAMPLE)["id"] != first["id"]


def test_jobs_come_newest_first_over_as_many_pages_as_there_are(client: Client) -> None:
    submitted = [client.submit(EXAMPLE)["id"] for _ in range(5)]
    listed = [job["id"] for job in client.jobs(page=2)]
    assert listed[:5] == submitted[::-1]
    assert listed == sorted(set(listed), reverse=True)


def test_jobs_can_be_chosen_sorted_and_shown_in_part(client: Client) -> None:
    specs = [EXAMPLE | {"tags": ["chosen", tag], "name": f"chosen {tag}"} for tag in ("b", "a", "c")]
    made = client.submit_many(specs, idempotency_key="many")
    assert client.submit_many(specs, idempotency_key="many") == made
    found = list(client.jobs(tag="chosen", sort="name", fields=["id", "name"], page=1))
    assert found == [
        {"id": made[place]["id"], "name": f"chosen {tag}"} for place, tag in ((1, "a"), (0, "b"), (2, "c"))
    ]
    assert [job["id"] for job in client.jobs(tag=["chosen", "c"], state=["queued"])] == [made[2]["id"]]
    assert client.job(made[0]["id"], fields=["state"]) == {"state": "queued"}


def test_many_jobs_of_which_one_is_wrong_are_none(client: Client) -> None:
    with pytest.raises(Problem) as refused:
        client.submit_many([EXAMPLE, EXAMPLE | {"batch_size": 0}])
    assert [fault.pointer for fault in refused.value.errors] == ["/jobs/1/batch_size"]


def test_a_quote_tells_what_a_job_would_cost_and_queues_nothing(client: Client) -> None:
    before = [job["id"] for job in client.jobs(fields=["id"])]
    quote = client.quote(EXAMPLE)
    assert quote["costs"]["parameters"] > 10_000
    assert quote["waiting"]["reason"] == "no_worker"
    assert [job["id"] for job in client.jobs(fields=["id"])] == before


def test_jobs_can_be_chosen_by_state(client: Client) -> None:
    cancelled = client.submit(EXAMPLE)["id"]
    client.cancel(cancelled)
    queued = client.submit(EXAMPLE)["id"]
    chosen = {job["id"] for job in client.jobs(state="cancelled")}
    assert cancelled in chosen
    assert queued not in chosen


def test_a_priority_is_changed_and_a_job_that_ended_tried_again(client: Client) -> None:
    job = client.submit(EXAMPLE)["id"]
    assert client.prioritise(job, -3)["priority"] == -3
    client.cancel(job)
    retried = [client.retry(job, idempotency_key=f"retry {job}")["id"] for _ in range(2)]
    assert retried[0] == retried[1] != job


def test_a_fork_goes_on_from_a_checkpoint(client: Client, session: Session, claim: Claim, served: Any) -> None:
    (served.artifacts / "unused").mkdir(exist_ok=True)
    for step in (3, 6):
        (served.artifacts / f"unused/{step}").touch()  # a fork asks whether it is there
        state = Saved(step, Path("unused"), "ab" * 32, 1000, None, is_best=False)
        attempts.progress(session, claim.token, step=step, saved=[(state, f"unused/{step}")])
        session.flush()
    assert [row["step"] for row in client.checkpoints(claim.job_id)] == [6, 3]
    forked = [
        client.fork(claim.job_id, {"name": "fork"}, step=3, idempotency_key=f"fork {claim.job_id}") for _ in range(2)
    ]
    assert forked[0]["id"] == forked[1]["id"]
    assert (forked[0]["name"], forked[0]["parent"]) == ("fork", {"id": claim.job_id, "step": 3})
    assert client.fork(claim.job_id)["parent"]["step"] == 6
    with pytest.raises(Problem) as caught:
        client.fork(claim.job_id, {"optimizer": {"lr": -1}})
    assert [fault.pointer for fault in caught.value.errors] == ["/change/optimizer/lr"]


def test_events_come_over_as_many_pages_as_there_are(client: Client) -> None:
    job = client.submit(EXAMPLE)["id"]
    for _ in range(2):
        client.pause(job)
        client.resume(job)
    kinds = [seen["event"]["kind"] for seen in client.events(job, page=2)]
    assert kinds == ["submitted", "paused", "resumed", "paused", "resumed"]


def test_a_log_is_read_by_its_tail_or_on_from_a_byte(client: Client, session: Session, claim: Claim) -> None:
    logs.append(session, claim.token, 0, "eins\nzwölf\n".encode(), limit=1000)
    assert "".join(client.log(claim.job_id)) == "eins\nzwölf\n"
    assert "".join(client.log(claim.job_id, tail=1, attempt=1)) == "zwölf\n"
    assert "".join(client.log(claim.job_id, from_byte=5)) == "zwölf\n"
    with pytest.raises(Problem, match="no attempt 9"):
        list(client.log(claim.job_id, attempt=9))


def test_the_queue_tells_of_my_job(client: Client) -> None:
    job = client.submit(EXAMPLE | {"resources": {"pool": "elsewhere"}})["id"]
    (place,) = (place for place in client.queue(pool="elsewhere")["places"] if place["job"] == job)
    assert (place["owner"], place["reason"]) == ("ada", "no_worker")
    assert client.job(job)["waiting"]["reason"] == "no_worker"
    client.cancel(job)


def test_an_admin_drains_a_worker_and_changes_a_user(client: Client, session: Session, served: Any) -> None:
    workers.register(session, "box 1", pool="default", devices=["cpu:0"], slots=1)
    with Client(served.url, served.admin_key) as root:
        assert root.drain("box 1", now=True)["duty"] == "draining"
        assert [worker["duty"] for worker in client.workers()] == ["draining"]
        assert root.restore("box 1")["duty"] == "active"
        assert root.change_user("ada", share=3.0, max_gpus=2)["share"] == 3.0
        everybody = sorted(session.execute(select(User.name)).scalars())  # other tests have users too
        assert [user["name"] for user in root.users()] == everybody
        assert {"ada", "root"} <= set(everybody)
        assert root.change_user("ada", share=1.0, max_gpus=None)["max_gpus"] is None
    assert [user["name"] for user in client.users()] == ["ada"]
    with pytest.raises(Problem) as caught:
        client.drain("box 1")
    assert caught.value.status == 403
    session.execute(delete(Worker))


def test_the_catalog_names_the_regularizers(client: Client) -> None:
    assert {"none", "mhe", "mhs"} <= {entry["kind"] for entry in client.catalog()["regularizers"]}


def test_curves_come_with_their_nans_and_infinities(client: Client, served: Any) -> None:
    job = client.submit(EXAMPLE)
    points = [
        curves.Point(step, time.time(), {Series("conv1", "mhe_s2"): value, Series(None, "loss"): float(step)})
        for step, value in enumerate([1.5, math.nan, math.inf, -math.inf])
    ]
    engine = create_engine(served.database_url, poolclass=NullPool)
    with engine.connect() as connection, Session(connection) as session:
        curves.write(session, job["id"], points, references={Series("conv1", "mhe_s2"): Reference(2.0, 1.0)})
        session.commit()
    (energy,) = client.curves(job["id"], layers=["conv1"], measures=["mhe_s2"])
    assert energy.steps == [0, 1, 2, 3]
    assert energy.values[0] == 1.5
    assert math.isnan(energy.values[1])
    assert energy.values[2:] == [math.inf, -math.inf]
    assert (energy.random, energy.optimum) == (2.0, 1.0)
    (gap,) = client.curves(job["id"], relative_to="random")
    assert (gap.values[0], gap.random, gap.optimum) == (-0.5, 0.0, -1.0)
    assert Curve(None, "loss", [0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], job=job["id"]) in client.curves(job["id"])

    (chart,) = client.curves(job["id"], measures=["mhe_s2"], max_points=1, times=True)
    assert (chart.steps, chart.values, chart.min, chart.max) == ([3], [-math.inf], [-math.inf], [math.inf])
    assert (chart.counts, chart.nans, chart.times) == ([4], [1], [points[3].time])
    table = b"".join(client.curves_file(job["id"], form="csv", measure="loss")).decode().splitlines()
    assert [line.split(",")[3:4] + line.split(",")[5:] for line in table[1:]] == [[str(n), f"{n}"] for n in range(4)]
    with pytest.raises(Problem, match="there are loss"):
        b"".join(client.curves_file(job["id"], measure="los"))
