"""What can be set from outside: `HSU_*` in the environment, read once into one frozen object.

Knows names, units and defaults. Knows nothing of how a setting is used.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _seconds(value: object) -> object:
    """A bare number in the environment is a number of seconds."""
    if isinstance(value, str) and value.replace(".", "", 1).isdigit():
        return float(value)
    return value


Span = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0))]
"""A length of time: `45`, `45.5` (seconds), `00:00:45` or `PT45S`."""
MaybeSpan = Annotated[timedelta, BeforeValidator(_seconds), Field(ge=timedelta(0))]
"""A length of time that may be none."""


def _names(value: object) -> object:
    """Names in the environment are parted by commas."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
"""Several names: `a,b`."""


PATH_PREFIX = "(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*"
"""No empty segment and none that begins with a dot: `//host` would lead to another server, `..` out of the prefix."""


def _without_slash(value: object) -> object:
    return value.rstrip("/") if isinstance(value, str) else value


class Settings(BaseSettings):
    """Every setting, its unit in its type. URLs may hold passwords and print as stars."""

    model_config = SettingsConfigDict(env_prefix="HSU_", frozen=True, use_attribute_docstrings=True)

    database_url: SecretStr = SecretStr("postgresql://localhost/hsu")
    """Postgres 15 or newer: the truth."""
    redis_url: SecretStr = SecretStr("redis://localhost:6379/0")
    """Redis 6 or newer, `redis://` or `unix://`: the doorbell. It may be emptied at any moment."""
    redis_visibility: Span = timedelta(hours=1)
    """Time after which Redis hands out a message again that nobody has acknowledged; every message is at once."""
    data_dir: Path = Path("data")
    """Where the data sets lie."""
    allow_download: bool = False
    """Whether a missing data set may be fetched from its publisher."""
    artifacts_dir: Path = Path("artifacts")
    """Where checkpoints are kept: a folder that all workers share, or with `artifacts_url` each one's own scratch."""
    artifacts_url: str | None = None
    """An object store for the checkpoints, as fsspec writes it: `s3://bucket/prefix` (extra `s3`; its credentials and
    endpoint come from the AWS_* variables)."""
    worker_name: str | None = None
    """A worker's name, its own among all; by default the machine's."""
    pool: str = "default"
    """The pool that a worker belongs to: it runs the jobs that ask for it."""
    slots: Annotated[int, Field(ge=1)] = 1
    """Jobs that a worker on a machine without a GPU runs at once."""
    slots_per_gpu: Annotated[int, Field(ge=1)] = 1
    """Jobs that share a GPU."""
    heartbeat: Span = timedelta(seconds=10)
    """Time between two renewals of an attempt's lease."""
    lease: Span = timedelta(seconds=45)
    """Time without a renewal after which an attempt counts as lost."""
    poll: Span = timedelta(seconds=5)
    """Time after which an idle worker asks the database even if no message came."""
    sweep: Span = timedelta(seconds=10)
    """Time between two looks for expired leases and for queued jobs that nobody was told of."""
    flush: Span = timedelta(seconds=1)
    """Time between two writes of a running job's curves."""
    keep_curves: Span | None = None
    """Time after a job's end for which its curves are kept; for good by default."""
    shutdown: Span = timedelta(seconds=15)
    """Time that a running job gets to stop by itself before it is killed."""
    retry_after: Span = timedelta(seconds=5)
    """Time after which a job that crashed is tried again; twice as long after each further crash, 5 minutes at most."""
    patience: Span = timedelta(minutes=5)
    """Time that a job waits for several GPUs before a machine keeps what becomes free for it."""
    usage_half_life: Span = timedelta(days=1)
    """Time after which used GPU time counts half when users take turns."""
    member_priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """The highest priority that a member may ask for; admins may ask for any."""
    max_waiting: Annotated[int, Field(ge=0)] = 10_000
    """Jobs that a user may have queued or paused at once, unless an admin gave them a quota of their own."""
    log_limit: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024
    """Bytes kept of what an attempt prints; the newest stay."""
    log_format: Literal["text", "json"] = "text"
    """How log lines look: for people, or one JSON object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are written."""
    idempotency_keep: Span = timedelta(hours=24)
    """Time for which a request with an Idempotency-Key is answered as it was the first time."""
    max_body: Annotated[int, Field(ge=1024)] = 1024 * 1024
    """Largest request body, in bytes."""
    request_time: Span = timedelta(seconds=30)
    """Time within which an answer begins, or is 504; its statement in the database is cancelled then."""
    key_cache: MaybeSpan = timedelta(seconds=2)
    """Time that an API process remembers a key for: one that another process revokes opens for so long. 0: never."""
    rate_limit: Annotated[float, Field(ge=0)] = 100.0
    """Requests a second that a key may make in the long run; 0: any number."""
    rate_burst: Annotated[int, Field(ge=1)] = 500
    """Requests that a key may make at once, when it made none for a while."""
    failures_a_minute: Annotated[int, Field(ge=0)] = 60
    """Requests without a valid key that an address may make a minute; 0: any number."""
    root_path: Annotated[str, BeforeValidator(_without_slash), Field(pattern=f"^{PATH_PREFIX}$", max_length=200)] = ""
    """The path under which a proxy shows the service, `/hsu`; a trusted proxy's `X-Forwarded-Prefix` goes first."""
    cors_origins: Names = ()
    """Origins of web pages that may call this service from a browser: `https://lab.example`."""
    audit_retention: Span = timedelta(days=365)
    """Time that the audit log is kept."""

    webhook_allow: Names = ()
    """Networks, addresses and host names that webhooks may lead to although they are not public ones."""
    webhook_retry: Span = timedelta(seconds=10)
    """Time after which a message that failed is sent again; twice as long after each further failure, 4 hours at most,
    and 10 minutes at most for a webhook all of whose messages fail."""
    webhook_patience: Span = timedelta(days=1)
    """Time for which a message is tried."""
    webhook_failures: Annotated[int, Field(ge=1, le=2**15 - 1)] = 200
    """Attempts in a row that fail before a webhook is disabled: more than a day, with the rests between them."""
    webhook_couriers: Annotated[int, Field(ge=2, le=1000)] = 32
    """Webhooks that a worker calls at the same time: each is a thread that mostly waits."""
    webhook_couriers_per_user: Annotated[int, Field(ge=1)] = 4
    """Webhooks of one user that are called at the same time, by all workers together."""
    webhook_asked: Annotated[int, Field(ge=1)] = 100
    """Pings and messages asked for again that a user may have on their way."""
    webhook_log: Span = timedelta(days=30)
    """Time for which is kept what was sent."""

    def environment(self) -> dict[str, str]:
        """The environment of a child process that is to read these very settings."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        shown = {name: _text(value) for name, value in values.items() if value is not None}
        return dict(os.environ) | {f"HSU_{name.upper()}": text for name, text in shown.items()}


def _text(value: object) -> str:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case timedelta():
            return str(value.total_seconds())
        case tuple():
            return ",".join(value)
        case _:
            return str(value)


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
