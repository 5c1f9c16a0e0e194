"""The client of a tracked run, request by request."""

from __future__ import annotations

import json
import struct
import uuid
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

Tree = dict[str, Any]


def token() -> str:
    return str(uuid.uuid4())


def begin(client: TestClient, mine: str, **change: Any) -> Tree:
    answer = client.post("/v1/runs", json={"token": mine, "name": "mine", "config": {"lr": 0.1}} | change)
    assert answer.status_code == 201, answer.text
    return answer.json()


def come_back(client: TestClient, run: int, mine: str, **asked: Any) -> Any:
    return client.post(f"/v1/runs/{run}/return", json={"token": mine} | asked)


def send(client: TestClient, run: int, mine: str, number: int, steps: list[int], **curves: list[float]) -> Any:
    """A batch in bytes."""
    head = {"columns": [{"series": [[None, name] for name in curves], "steps": len(steps)}]}
    encoded = json.dumps(head).encode()
    parts = [struct.pack("<I", len(encoded)), encoded, np.array(steps, "<i8").tobytes(), np.ones(len(steps)).tobytes()]
    body = b"".join([*parts, *(np.array(values, "<f8").tobytes() for values in curves.values())])
    headers = {"HSU-Token": mine, "Content-Type": "application/octet-stream"}
    return client.put(f"/v1/runs/{run}/batches/{number}", content=body, headers=headers)


def post(client: TestClient, run: int, mine: str, what: str, **body: Any) -> Any:
    return client.post(f"/v1/runs/{run}/{what}", json=body, headers={"HSU-Token": mine})
