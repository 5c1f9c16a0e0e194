"""A job that places points, over HTTP, in real processes: nothing is lost on the way, and it can be stopped."""

from __future__ import annotations

from samples import POINTS

from hsu_client.client import Client
from hsu_core import spec, sphere


def test_the_points_are_bit_for_bit_those_of_the_library(service: dict[str, str]) -> None:
    with Client(service["url"], service["key"]) as client:
        *_, job = client.follow(client.submit(POINTS | {"seed": 7})["id"], poll=0.1)
        assert job["state"] == "succeeded", job["failure"]
        curves = {(curve.layer, curve.measure): curve for curve in client.curves(job["id"])}
    expected = sphere.optimize(12, 3, spec.Riesz(s=1), starts=4, seed=7)
    result = job["result"]
    assert result["points"] == expected.points.tolist()
    assert result["values"] == list(expected.values)
    assert (result["value"], result["gap"]) == (expected.value, expected.gap)
    assert result["best_known"]["is_proven"]
    assert abs(result["gap"]) < 1e-9, "the icosahedron"
    assert curves[None, "value"].steps == [0, 4]
    assert curves[None, "value"].values[-1] == result["value"]
    assert curves["points", "separation"].values[-1] > curves["points", "separation"].values[0]


def test_a_job_that_places_points_is_cancelled_while_it_runs(service: dict[str, str]) -> None:
    endless = POINTS | {"n": 500, "d": 8, "objective": {"kind": "separation"}, "starts": 1000}
    with Client(service["url"], service["key"]) as client:
        submitted = client.submit(endless)
        for job in client.follow(submitted["id"], poll=0.1):
            if job["state"] == "running" and client.curves(job["id"]):
                break
        assert client.cancel(job["id"])["wanted"] == "cancel"
        *_, job = client.follow(job["id"], poll=0.1)
    assert (job["state"], job["result"], job["failure"]) == ("cancelled", None, None)
    assert [attempt["outcome"] for attempt in job["attempts"]] == [{"kind": "cancelled"}]
    assert job["step"] < job["total_steps"]
