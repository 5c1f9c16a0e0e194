"""Curves, catalog, health and the OpenAPI document."""

from __future__ import annotations

import math

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS, POINTS

from hsu_core.outcomes import Reference, Series
from hsu_core.spec import MEASURES
from hsu_jobs import curves, database, settings
from hsu_jobs.curves import Point


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
        "job": job,
        "relative_to": None,
        "curves": [
            {
                "layer": None,
                "measure": "loss",
                "random": None,
                "optimum": None,
                "steps": [0, 50],
                "values": [2.3, "NaN"],
            },
            {
                "layer": "hidden_1",
                "measure": "mhe_s2",
                "random": 0.75,
                "optimum": 0.25,
                "steps": [0, 50],
                "values": [0.5, "-Infinity"],
            },
        ],
    }


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("random", (0.0, -0.5, [-0.25, "-Infinity"])), ("optimum", (0.5, 0.0, [0.25, "-Infinity"]))],
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


def test_the_catalog_lists_every_choice_with_its_schema(ada: TestClient) -> None:
    catalog = ada.get("/v1/catalog").json()
    kinds = {menu: [entry["kind"] for entry in catalog[menu]] for menu in catalog if menu != "measures"}
    family = {"mhe", "mhs", "mhp", "rmhp", "mhc", "mgd"}
    others = {"so", "dso", "mutual_coherence", "srip", "mma", "comhe", "uniformity", "koleo"}
    assert {"none"} | family | others == set(kinds["regularizers"])
    assert {"mlp", "small_cnn", "cnn9"} <= set(kinds["models"])
    assert {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100"} <= set(kinds["datasets"])
    assert {"sgd", "adamw"} <= set(kinds["optimizers"])
    assert {"constant", "step", "cosine"} <= set(kinds["schedules"])
    assert catalog["measures"] == list(MEASURES)
    assert kinds["tasks"] == ["classification", "points"]
    assert kinds["objectives"] == ["riesz", "separation", "polarization", "covering", "gram_determinant"]
    mhe = next(entry for entry in catalog["regularizers"] if entry["kind"] == "mhe")
    assert mhe["parameters"]["properties"]["s"]["description"] == "Riesz exponent; 0 is the logarithmic energy."
    assert mhe["source"].startswith("Liu et al. 2018")
    assert mhe["relative_cost"] == 1
    assert all(entry["formula"] and entry["latex"] and entry["source"] for entry in catalog["regularizers"])
    digits = next(entry for entry in catalog["datasets"] if entry["kind"] == "digits")
    assert (digits["available"], digits["shape"]) == (True, [1, 8, 8])


def test_the_catalog_tells_what_points_can_optimise(ada: TestClient) -> None:
    catalog = ada.get("/v1/catalog").json()
    objectives = {entry["kind"]: entry for entry in catalog["objectives"]}
    assert objectives["riesz"]["parameters"]["properties"]["s"]["minimum"] == 0
    assert [kind for kind, entry in objectives.items() if entry["higher_is_better"]] == [
        "separation",
        "polarization",
        "gram_determinant",
    ]
    assert [kind for kind, entry in objectives.items() if entry["is_of_pairs"]] == ["riesz", "separation"]
    assert [kind for kind, entry in objectives.items() if entry["caution"]] == ["polarization", "covering"]
    assert all(entry["formula"] and entry["summary"] for entry in objectives.values())
    points = next(entry for entry in catalog["tasks"] if entry["kind"] == "points")
    assert set(points["parameters"]["required"]) == {"task", "n", "d", "objective"}
    assert points["parameters"]["properties"]["n"]["description"].startswith("At most half as many in half space")


@pytest.mark.parametrize("objective", ["riesz", "separation", "polarization", "covering", "gram_determinant"])
def test_what_the_catalog_says_of_single_points_is_so(ada: TestClient, objective: str) -> None:
    (entry,) = (entry for entry in ada.get("/v1/catalog").json()["objectives"] if entry["kind"] == objective)
    asked = POINTS | {"n": 1, "objective": {"kind": objective}}
    assert ada.post("/v1/jobs", json=asked).status_code == (422 if entry["is_of_pairs"] else 201)
    assert ada.post("/v1/jobs", json=asked | {"half_space": True}).status_code == 201


def test_a_ready_service_says_so(http: TestClient) -> None:
    assert http.get("/readyz").json() == {"database": "ok", "redis": "ok"}


def test_a_service_without_redis_is_ready_and_says_that_it_is_away(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSU_REDIS_URL", "redis://127.0.0.1:1/0")
    settings.settings.cache_clear()
    assert http.get("/readyz").json() == {"database": "ok", "redis": "away"}


def test_a_database_without_the_tables_is_not_ready(http: TestClient, database_url: str) -> None:
    database.migrate(database_url, "base")
    answer = http.get("/readyz")
    assert answer.status_code == 503
    assert "run the migrations" in answer.json()["detail"]


def test_the_openapi_document_names_every_problem(http: TestClient) -> None:
    submit = http.get("/openapi.json").json()["paths"]["/v1/jobs"]["post"]
    assert {"201", "400", "401", "403", "413", "422"} <= set(submit["responses"])
    assert "application/problem+json" in submit["responses"]["422"]["content"]


def test_the_openapi_document_tells_what_a_result_holds(http: TestClient) -> None:
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    result = schemas["JobView"]["properties"]["result"]
    choices = next(choice for choice in result["anyOf"] if "discriminator" in choice)["discriminator"]["mapping"]
    assert set(choices) == {"classification", "points"}
    placed = schemas[choices["points"].rpartition("/")[2]]["properties"]
    assert {"value", "best_known", "gap", "points"} <= set(placed)
    assert placed["gap"]["description"].startswith("How much worse the value is than the best known one")
