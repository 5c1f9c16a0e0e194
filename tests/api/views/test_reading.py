"""Catalog, health and the OpenAPI document."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from samples import POINTS

from hsu_core.spec import ALL_MEASURES
from hsu_jobs import database, recipes, settings
from hsu_jobs.spec import TASKS


def test_the_catalog_lists_every_choice_with_its_schema(ada: TestClient) -> None:
    catalog = ada.get("/v1/catalog").json()
    kinds = {
        menu: [entry["kind"] for entry in catalog[menu]] for menu in catalog if menu not in ("measures", "recipes")
    }
    family = {"mhe", "mhs", "mhp", "rmhp", "mhc", "mgd"}
    others = {"so", "dso", "mutual_coherence", "srip", "mma", "comhe", "lloyd", "sliced_dispersion"}
    others |= {"uniformity", "koleo", "wasserstein_uniformity", "sliced_gaussian", "hug"}
    assert {"none"} | family | others == set(kinds["regularizers"])
    assert {"mlp", "small_cnn", "cnn9"} <= set(kinds["models"])
    assert {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100"} <= set(kinds["datasets"])
    assert {"sgd", "adamw", "muon"} <= set(kinds["optimizers"])
    assert (kinds["parametrizations"], kinds["classifiers"]) == (["oft", "poet"], ["max_separation"])
    assert {"constant", "step", "cosine"} <= set(kinds["schedules"])
    assert catalog["measures"] == list(ALL_MEASURES)
    assert [entry["name"] for entry in catalog["recipes"]] == [recipe.name for recipe in recipes.recipes()]
    assert kinds["tasks"] == list(TASKS)
    assert kinds["objectives"] == ["riesz", "separation", "polarization", "covering", "gram_determinant"]
    mhe = next(entry for entry in catalog["regularizers"] if entry["kind"] == "mhe")
    assert mhe["parameters"]["properties"]["s"]["description"] == "Riesz exponent; 0 is the logarithmic energy."
    assert mhe["source"].startswith("Liu et al. 2018")
    assert mhe["relative_cost"] == 1
    assert all(entry["formula"] and entry["latex"] and entry["source"] for entry in catalog["regularizers"])
    digits = next(entry for entry in catalog["datasets"] if entry["kind"] == "digits")
    assert (digits["available"], digits["facts"]["shape"]) == (True, [1, 8, 8])


def test_of_every_regularizer_the_catalog_tells_all_that_there_is_to_know(ada: TestClient) -> None:
    regularizers = {entry["kind"]: entry for entry in ada.get("/v1/catalog").json()["regularizers"]}
    for kind, entry in regularizers.items():
        assert all(entry[fact] for fact in ("summary", "formula", "latex", "source", "acts_on")), kind
        assert (entry["relative_cost"] > 0) == (kind != "none")
        assert bool(entry["caution"]) == (kind != "none")
        assert bool(entry["differs"]) == (kind != "none")
        assert set(entry["presets"]) == (set() if kind == "none" else {"authors"})
        for parameters in (entry["parameters"], *entry["parameters"].get("$defs", {}).values()):
            for name, schema in parameters["properties"].items():
                assert name == "kind" or schema["description"], f"{kind}: {name}"
                assert "default" in schema or "const" in schema, f"{kind}: {name}"
                if schema.get("type") in ("integer", "number"):
                    assert {"minimum", "exclusiveMinimum"} & schema.keys(), f"{kind}: {name}"
    assert regularizers["mhp"]["presets"]["authors"]["inner"]["kind"] == "authors"
    assert regularizers["comhe"]["presets"]["authors"] == {"arithmetic": "authors", "dimension": 40}
    assert regularizers["rmhp"]["presets"]["authors"] == {}
    of_features = [kind for kind, entry in regularizers.items() if entry["acts_on"] == "features"]
    assert of_features == ["uniformity", "koleo", "wasserstein_uniformity", "sliced_gaussian", "hug"]


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
    assert set(choices) == {*TASKS, "tracked"}
    placed = schemas[choices["points"].rpartition("/")[2]]["properties"]
    assert {"value", "best_known", "gap", "points"} <= set(placed)
    assert placed["gap"]["description"].startswith("How much worse the value is than the best known one")
