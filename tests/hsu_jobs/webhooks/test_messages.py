"""What is sent, and its signature, checked by another implementation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

from sending import claim
from sqlalchemy.orm import Session

from hsu_jobs import attempts
from hsu_jobs.attempts import Claim
from hsu_jobs.outcomes import Failed
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Job, User
from hsu_jobs.webhooks import messages, subscriptions

OPEN = Settings(webhook_allow=("127.0.0.1",))


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    """The example of the specification: https://github.com/standard-webhooks/standard-webhooks."""
    signed = messages.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signed["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert signed["webhook-timestamp"] == "1614265330"


def test_a_secret_is_new_each_time_and_signs_with_its_bytes() -> None:
    secrets = {messages.new_secret() for _ in range(10)}
    assert len(secrets) == 10
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        assert len(key) == 32
        expected = hmac.new(key, b"a.1.body", hashlib.sha256).digest()
        signature = messages.headers(secret, "a", 1, b"body")["webhook-signature"]
        assert base64.b64decode(signature.removeprefix("v1,")) == expected


def test_a_message_tells_the_event_and_its_job_in_brief(
    session: Session, owner: User, submit: Callable[..., Job], claimed: Callable[[], Claim]
) -> None:
    hook = subscriptions.create(session, owner, url="http://127.0.0.1:9000/", events=["failed"], settings=OPEN)
    job = submit(owner, name="λ", tags=["a"])
    attempts.settle(session, claimed().token, Failed(code="diverged", message="NaN at step 3"), Settings())
    session.flush()
    turn = claim(session, hook.id)
    assert turn is not None
    (message,) = turn.messages
    told = json.loads(message.body)
    assert set(told) == {"id", "kind", "at", "job", "event"}
    assert (told["id"], told["kind"]) == (message.id, "ended")
    assert told["event"]["outcome"] == {"kind": "failed", "code": "diverged", "message": "NaN at step 3"}
    assert (told["event"]["attempt"], told["event"]["state"]) == (1, "failed")
    brief = told["job"]
    assert (brief["id"], brief["name"], brief["tags"], brief["owner"]) == (job.id, "λ", ["a"], "ada")
    assert (brief["state"], brief["failure"]["code"]) == ("failed", "diverged")
    assert brief["finished_at"] == told["at"]


def test_a_ping_tells_of_no_job(session: Session, owner: User) -> None:
    hook = subscriptions.create(session, owner, url="http://127.0.0.1:9000/", events=["failed"], settings=OPEN)
    delivery = subscriptions.ping(session, hook)
    told = json.loads(messages.body(delivery, None, None))
    assert told | {"at": "", "id": ""} == {"id": "", "at": "", "kind": "ping", "job": None, "event": {"kind": "ping"}}
