"""A receiver is told of a real job by real processes: database, Redis, API, Celery worker and beat."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from receiving import receiver
from redis import Redis
from samples import DIGITS
from waiting import until

from hsu_client.client import Client
from hsu_client.webhooks import verify

New = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def telling(new_redis: New, new_database: New) -> Iterator[dict[str, str]]:
    """The service with loopback open to webhooks and short rests: url, key and redis_url."""
    folder = Path(tempfile.gettempdir(), f"hsu-e2e-{secrets.token_hex(6)}")
    command = [sys.executable, "-m", "embedded", "up", "--parent-pipe", "--folder", str(folder)]
    with new_database() as database_url, new_redis() as redis_url:
        environment = {
            **os.environ,
            "HSU_DATABASE_URL": database_url,
            "HSU_REDIS_URL": redis_url,
            "HSU_WEBHOOK_ALLOW": "127.0.0.1",
            "HSU_WEBHOOK_RETRY": "0.2",
            "HSU_POLL": "0.5",
            "HSU_SWEEP": "1",
        }
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            ready = process.stdout.readline() if process.stdout else ""
            if not ready:
                pytest.fail("the service did not start; what it said is above")
            yield {**json.loads(ready), "redis_url": redis_url}
        shutil.rmtree(folder)


@pytest.fixture
def client(telling: dict[str, str]) -> Iterator[Client]:
    with Client(telling["url"], telling["key"]) as client:
        yield client


def test_a_receiver_hears_each_event_of_a_job_though_it_fails_at_first_and_redis_is_emptied(
    client: Client, telling: dict[str, str]
) -> None:
    with receiver(500, 500) as there, Redis.from_url(telling["redis_url"]) as redis:
        webhook = client.create_webhook(f"{there.url}/hook", events=["submitted", "started", "succeeded"])
        job = client.submit(DIGITS)["id"]
        redis.delete("hsu")
        until(lambda: client.job(job)["state"] == "succeeded", seconds=120)
        until(lambda: [each["state"] for each in client.deliveries(webhook["id"])] == ["delivered"] * 3, seconds=60)
        taken = {got.headers["webhook-id"]: verify(got.body, got.headers, webhook["secret"]) for got in there.received}
        assert sorted(told["kind"] for told in taken.values()) == ["ended", "started", "submitted"]
        assert {told["job"]["id"] for told in taken.values()} == {job}
        (end,) = (told for told in taken.values() if told["kind"] == "ended")
        assert (end["event"]["state"], end["job"]["state"]) == ("succeeded", "succeeded")
        assert end["event"]["outcome"]["result"]["test_accuracy"] == client.job(job)["result"]["test_accuracy"]
        assert len(there.received) == 5, "two were refused, three taken, none twice"
        client.remove_webhook(webhook["id"])


def test_a_ping_arrives_at_once_from_a_terminal(client: Client, telling: dict[str, str]) -> None:
    with receiver() as there:
        webhook = client.create_webhook(there.url)
        command = [sys.executable, "-c", "from hsu_client.cli.main import main; main()", "webhook", "test"]
        environment = {"HSU_URL": telling["url"], "HSU_API_KEY": telling["key"]}
        done = subprocess.run(
            [*command, str(webhook["id"])], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert "delivered" in done.stdout
        (got,) = there.received
    assert verify(got.body, got.headers, webhook["secret"])["event"] == {"kind": "ping"}
    assert client.test_webhook(webhook["id"])["error"].startswith("ConnectError"), "nobody is there any more"
