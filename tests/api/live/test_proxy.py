"""Behind a proxy, as uvicorn itself tells the app of it."""

from __future__ import annotations

import httpx2
import pytest
from samples import DIGITS


@pytest.mark.parametrize("told", [{}, {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}])
def test_a_proxy_that_uvicorn_trusts_says_the_prefix(ada: httpx2.Client, told: dict[str, str]) -> None:
    behind = told | {"X-Forwarded-Prefix": "/hsu"}
    made = ada.post("/v1/jobs", json=DIGITS, headers=behind)
    assert made.headers["location"] == f"/hsu/v1/jobs/{made.json()['id']}"
    assert ada.get("/openapi.json", headers=behind).json()["servers"] == [{"url": "/hsu"}]
    assert "servers" not in ada.get("/openapi.json", headers=told).json()
