"""Curves over HTTP: in columns, in buckets, as files; of one job and of several."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient
from samples import DIGITS

from api.routes import curves as routes
from hsu_core.outcomes import Reference, Series
from hsu_jobs import curves, database
from hsu_jobs.curves import Point

LOSS, ENERGY = Series(None, "loss"), Series("hidden_1", "mhe_s2")
NO_BUCKETS = {"min": None, "max": None, "counts": None, "nans": None}
ODD = [0.1, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 1 / 3]


@pytest.fixture
def job(ada: TestClient) -> int:
    made: int = ada.post("/v1/jobs", json=DIGITS).json()["id"]
    points = [
        Point(0, 0, {Series(None, "loss"): 2.3, Series("hidden_1", "mhe_s2"): 0.5}),
        Point(50, 1, {Series(None, "loss"): math.nan, Series("hidden_1", "mhe_s2"): -math.inf}),
    ]
    with database.transaction() as session:
        curves.write(session, made, points, references={Series("hidden_1", "mhe_s2"): Reference(0.75, 0.25)})
    return made


def test_curves_are_columns_and_what_is_not_finite_is_a_string(ada: TestClient, job: int) -> None:
    assert ada.get(f"/v1/jobs/{job}/curves").json() == {
        "relative_to": None,
        "bucket": None,
        "curves": [
            {
                "job": job,
                "layer": None,
                "measure": "loss",
                "random": None,
                "optimum": None,
                "bound": None,
                "bound_source": None,
                "steps": [0, 50],
                "values": [2.3, "NaN"],
                "times": None,
                **NO_BUCKETS,
            },
            {
                "job": job,
                "layer": "hidden_1",
                "measure": "mhe_s2",
                "random": 0.75,
                "optimum": 0.25,
                "bound": None,
                "bound_source": None,
                "steps": [0, 50],
                "values": [0.5, "-Infinity"],
                "times": None,
                **NO_BUCKETS,
            },
        ],
    }


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("random", (0.0, -0.5, [-0.25, "-Infinity"])),
        ("optimum", (0.5, 0.0, [0.25, "-Infinity"])),
        ("bound", (0.5, 0.0, [0.25, "-Infinity"])),
    ],
)
def test_a_gap_leaves_out_the_curves_that_have_none(
    ada: TestClient, job: int, reference: str, expected: tuple[object, ...]
) -> None:
    answer = ada.get(f"/v1/jobs/{job}/curves", params={"relative_to": reference}).json()
    assert answer["relative_to"] == reference
    (gap,) = answer["curves"]
    assert (gap["random"], gap["optimum"], gap["values"]) == expected


def test_a_gap_to_something_else_is_a_bad_request(ada: TestClient, job: int) -> None:
    answer = ada.get(f"/v1/jobs/{job}/curves", params={"relative_to": "baseline"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "#query/relative_to")


def test_curves_are_chosen_by_layer_measure_and_step(ada: TestClient, job: int) -> None:
    url = f"/v1/jobs/{job}/curves"
    by_layer = ada.get(url, params={"layer": "hidden_1"}).json()["curves"]
    by_measure = ada.get(url, params={"measure": ["loss", "mhe_s2"], "first_step": 1}).json()["curves"]
    assert [curve["measure"] for curve in by_layer] == ["mhe_s2"]
    assert [curve["steps"] for curve in by_measure] == [[50], [50]]


@pytest.fixture
def measured(ada: TestClient) -> Callable[..., int]:
    """A job with these losses, a step each."""

    def made(losses: list[float], *, first: int = 0) -> int:
        job: int = ada.post("/v1/jobs", json=DIGITS).json()["id"]
        points = [Point(first + step, 1e9 + step, {LOSS: loss}) for step, loss in enumerate(losses)]
        with database.transaction() as session:
            curves.write(session, job, points)
        return job

    return made


def test_times_come_if_they_are_asked_for(ada: TestClient, job: int) -> None:
    (loss,) = ada.get(f"/v1/jobs/{job}/curves", params={"measure": "loss", "times": True}).json()["curves"]
    assert loss["times"] == [0.0, 1.0]


def test_a_curve_that_is_not_there_is_told_with_those_that_are_like_it(ada: TestClient, job: int) -> None:
    answer = ada.get(f"/v1/jobs/{job}/curves", params={"measure": "mhe_s1"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["detail"] == f"job {job} has no curve of the measure 'mhe_s1'; there are mhe_s2"


def test_a_chart_keeps_the_extremes_and_the_last_value_of_each_bucket(
    ada: TestClient, measured: Callable[..., int]
) -> None:
    job = measured([3.0, 9.0, math.nan, 1.0, 7.0, math.inf, -1.0, 0.5, 2.0])
    answer = ada.get(f"/v1/jobs/{job}/curves", params={"max_points": 3, "times": True}).json()
    assert answer["bucket"] == 4
    (loss,) = answer["curves"]
    assert loss["steps"] == [3, 7, 8]
    assert loss["times"] == [1e9 + 3, 1e9 + 7, 1e9 + 8]
    assert loss["values"] == [1.0, 0.5, 2.0]
    assert loss["min"] == [1.0, -1.0, 2.0]
    assert loss["max"] == [9.0, "Infinity", 2.0]
    assert loss["counts"] == [4, 4, 1]
    assert loss["nans"] == [1, 0, 0]


def test_jobs_that_are_compared_have_the_same_buckets(ada: TestClient, measured: Callable[..., int]) -> None:
    jobs = [measured([1.0] * 100), measured([2.0] * 10, first=3)]
    answer = ada.get("/v1/curves", params={"job": [*jobs, jobs[0]], "max_points": 13}).json()
    assert answer["bucket"] == 8
    assert [(curve["job"], curve["counts"][:3]) for curve in answer["curves"]] == [
        (jobs[0], [8, 8, 8]),
        (jobs[1], [5, 5]),
    ]


def test_of_several_jobs_each_must_be_ones_own(
    ada: TestClient, as_user: Callable[[str], TestClient], measured: Callable[..., int]
) -> None:
    job = measured([1.0])
    assert ada.get("/v1/curves", params={"job": job}).status_code == 200
    answer = as_user("bob").get("/v1/curves", params={"job": [job, 99]})
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        f"there are no jobs {job}, 99, or they are not yours",
    )
    assert ada.get("/v1/curves").status_code == 400


@pytest.mark.parametrize("bad", [{"max_points": 0}, {"format": "xml"}, {"first_step": 2**63}, {"last_step": -1}])
def test_what_cannot_be_asked_for_is_a_bad_request(ada: TestClient, job: int, bad: dict[str, object]) -> None:
    answer = ada.get(f"/v1/jobs/{job}/curves", params=bad)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, f"#query/{next(iter(bad))}")


def test_too_many_values_for_json_are_refused_with_what_would_do(
    ada: TestClient, measured: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = measured([1.0] * 11)
    monkeypatch.setattr(routes, "MOST_IN_JSON", 10)
    answer = ada.get(f"/v1/jobs/{job}/curves")
    assert (answer.status_code, answer.json()["code"]) == (400, "too_much")
    assert "max_points" in answer.json()["detail"]
    for enough in ({"max_points": 5}, {"format": "csv"}):
        assert ada.get(f"/v1/jobs/{job}/curves", params=enough).status_code == 200


def read_csv(content: bytes) -> dict[str, list[str]]:
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    return {name: [row[name] for row in rows] for name in rows[0]}


def read_parquet(content: bytes) -> dict[str, list[object]]:
    return pa.parquet.read_table(io.BytesIO(content)).to_pydict()  # type: ignore[no-any-return]


def read_arrow(content: bytes) -> dict[str, list[object]]:
    return pa.ipc.open_stream(content).read_all().to_pydict()  # type: ignore[no-any-return]


READERS = {
    "text/csv": read_csv,
    "application/vnd.apache.parquet": read_parquet,
    "application/vnd.apache.arrow.stream": read_arrow,
}


@pytest.mark.parametrize("media_type", READERS)
def test_a_file_holds_every_point_bit_for_bit(
    ada: TestClient, measured: Callable[..., int], media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.views.curve_formats.AT_ONCE", 3)  # it is written in several pieces
    job = measured(ODD)
    with database.transaction() as session:
        curves.write(session, job, [Point(100, 2e9, {ENERGY: 0.25, LOSS: 1.0})])
    answer = ada.get(f"/v1/jobs/{job}/curves", headers={"Accept": f"{media_type}, */*;q=0.1"})
    assert answer.headers["content-type"].partition(";")[0] == media_type
    columns = READERS[media_type](answer.content)
    assert list(columns) == ["job", "layer", "measure", "step", "time", "value"]
    assert {int(each) for each in columns["job"]} == {job}
    points = {
        (layer or None, measure, int(step)): float(value)
        for layer, measure, step, value in zip(
            *(columns[n] for n in ("layer", "measure", "step", "value")), strict=True
        )
    }
    assert points.pop(("hidden_1", "mhe_s2", 100)) == 0.25
    values = [points[None, "loss", step] for step in (*range(len(ODD)), 100)]
    assert np.array(values).tobytes() == np.array([*ODD, 1.0]).tobytes()
    assert float(columns["time"][0]) == 1e9


@pytest.mark.parametrize(("name", "media_type"), [("csv", "text/csv"), ("parquet", list(READERS)[1])])
def test_a_chart_can_be_a_file_too(ada: TestClient, measured: Callable[..., int], name: str, media_type: str) -> None:
    job = measured([1.0, 2.0, 3.0, 4.0])
    answer = ada.get("/v1/curves", params={"job": job, "max_points": 2, "format": name})
    assert answer.headers["content-disposition"] == f'attachment; filename="curves.{name}"'
    columns = READERS[media_type](answer.content)
    assert [float(each) for each in columns["min"]] == [1.0, 3.0]
    assert [float(each) for each in columns["max"]] == [2.0, 4.0]
    assert [int(each) for each in columns["count"]] == [2, 2]


def test_a_job_without_points_is_an_empty_file(ada: TestClient) -> None:
    job = ada.post("/v1/jobs", json=DIGITS).json()["id"]
    answer = ada.get(f"/v1/jobs/{job}/curves", params={"format": "parquet"})
    assert read_parquet(answer.content)["value"] == []
