"""Behind a path prefix: everything that leads somewhere leads back through the prefix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from samples import DIGITS

from api.app import create_app
from hsu_jobs import settings
from hsu_jobs.settings import Settings

Behind = Callable[..., TestClient]


@pytest.fixture
def behind(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Behind]:
    """The app behind a proxy, asked with ada's key."""

    def client(*, root_path: str = "", trusted: str = "testclient", **headers: str) -> TestClient:
        monkeypatch.setenv("HSU_ROOT_PATH", root_path)
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
        settings.settings.cache_clear()
        sent = {"Authorization": ada.headers["authorization"]} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return TestClient(create_app(), headers=sent, raise_server_exceptions=False)

    yield client
    settings.settings.cache_clear()


@pytest.fixture(params=["setting, taken off", "setting, left there", "header, taken off", "header, left there"])
def hsu(request: pytest.FixtureRequest, behind: Behind) -> Callable[..., TestClient]:
    """The service under /lab/hsu, in every way; paths as a browser has them."""
    how, _, by_proxy = str(request.param).partition(", ")
    client = behind(root_path="/lab/hsu/") if how == "setting" else behind(X_Forwarded_Prefix="/lab/hsu")
    if by_proxy == "taken off":
        build = client.build_request

        def taken_off(method: str, url: object, **rest: Any) -> object:
            return build(method, str(url).replace("/lab/hsu", "", 1), **rest)

        client.build_request = taken_off  # type: ignore[method-assign, assignment]
    return lambda: client


def test_a_location_leads_to_what_was_made(hsu: Callable[..., TestClient]) -> None:
    client = hsu()
    once = {"Idempotency-Key": "7"}
    for _ in range(2):  # also where the answer is given again
        made = client.post("/lab/hsu/v1/jobs", json=DIGITS, headers=once)
        assert made.status_code == 201, made.text
        assert made.headers["location"] == f"/lab/hsu/v1/jobs/{made.json()['id']}"
    assert client.get(made.headers["location"]).json()["id"] == made.json()["id"]
    key = client.post("/lab/hsu/v1/keys", json={})
    assert key.headers["location"] == f"/lab/hsu/v1/keys/{key.json()['id']}"


def test_the_documentation_loads(hsu: Callable[..., TestClient]) -> None:
    client = hsu()
    page = client.get("/lab/hsu/docs")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    files = re.findall(r'(?:href|src)="(\./[^"]+)"', page.text)
    assert len(files) == 3
    for file in files:
        assert client.get(urljoin("/lab/hsu/docs", file)).status_code == 200
    start = client.get("/lab/hsu/docs/start.js").text
    (document,) = re.findall(r'url: "([^"]+)"', start)
    told = client.get(urljoin("/lab/hsu/docs", document)).json()
    assert told["servers"] == [{"url": "/lab/hsu"}]


def test_what_is_refused_is_told_of_the_route(hsu: Callable[..., TestClient]) -> None:
    answer = hsu().put("/lab/hsu/v1/jobs", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def test_one_idempotency_key_counts_with_and_without_the_prefix(ada: TestClient, behind: Behind) -> None:
    once = {"Idempotency-Key": "7"}
    first = ada.post("/v1/jobs", json=DIGITS, headers=once)
    again = behind(root_path="/hsu").post("/hsu/v1/jobs", json=DIGITS, headers=once)
    assert (again.status_code, again.json()) == (201, first.json())
    assert (first.headers["location"], again.headers["location"]) == (
        f"/v1/jobs/{first.json()['id']}",
        f"/hsu/v1/jobs/{first.json()['id']}",
    )


def test_prefixes_of_several_proxies_are_one(behind: Behind) -> None:
    client = behind(X_Forwarded_Prefix="/lab, /hsu/")
    assert client.post("/v1/jobs", json=DIGITS).headers["location"].startswith("/lab/hsu/v1/jobs/")


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "/a//b", "https://evil.example", "evil", "/..", "/a/../b", "/a b", "/" + "a" * 200, ""]
)
def test_what_is_no_prefix_is_not_heeded(behind: Behind, prefix: str) -> None:
    made = behind(X_Forwarded_Prefix=prefix).post("/v1/jobs", json=DIGITS)
    assert made.headers["location"] == f"/v1/jobs/{made.json()['id']}"
    assert "servers" not in behind(X_Forwarded_Prefix=prefix).get("/openapi.json").json()


@pytest.mark.parametrize(
    ("trusted", "client", "is_heeded"),
    [
        ("127.0.0.1", ("203.0.113.7", 4711), False),
        ("127.0.0.1", ("127.0.0.1", 4711), True),
        ("10.0.0.0/8,::1", ("10.1.2.3", 4711), True),
        ("10.0.0.0/8", ("11.1.2.3", 4711), False),
        ("*", ("203.0.113.7", 4711), True),
        ("127.0.0.1", ("203.0.113.7", 0), True),  # as uvicorn names the client of a proxy that it trusts
    ],
)
def test_only_a_trusted_proxy_is_heeded(behind: Behind, trusted: str, client: tuple[str, int], is_heeded: bool) -> None:
    app = behind(trusted=trusted).app
    there = TestClient(app, client=client, headers={"X-Forwarded-Prefix": "/hsu"})
    assert ("servers" in there.get("/openapi.json").json()) is is_heeded


@pytest.mark.parametrize("wrong", ["hsu", "//evil.example", "/a/../b", "/a?b", "/a b"])
def test_a_setting_that_is_no_path_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        Settings(root_path=wrong)
    assert Settings(root_path="/").root_path == ""
