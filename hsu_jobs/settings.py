"""What can be set from outside: `HSU_*` in the environment, read once into one frozen object.

Knows names, units and defaults. Knows nothing of how a setting is used. An error shows no secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hsu_jobs.names import PoolName, WorkerName


class BadSettings(Exception):
    """An invalid setting: which, what is expected, and what was found unless it may be a secret."""


def _seconds(value: object) -> object:
    """A bare number in the environment is a number of seconds."""
    if isinstance(value, str) and value.replace(".", "", 1).isdigit():
        return float(value)
    return value


Span = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0))]
"""A length of time: `45`, `45.5` (seconds), `00:00:45` or `PT45S`."""
MaybeSpan = Annotated[timedelta, BeforeValidator(_seconds), Field(ge=timedelta(0))]
"""A length of time, which may be zero."""


def _names(value: object) -> object:
    """Names in the environment are separated by commas."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
"""Several names: `a,b`."""


def _url(*schemes: str) -> AfterValidator:
    """A URL of one of these schemes. Errors do not show its parts: each may be a piece of a password."""

    def check(value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        scheme, found, rest = text.partition("://")
        if not found or scheme not in schemes:
            raise ValueError(f"expected a URL that begins with {' or '.join(f'{each}://' for each in schemes)}")
        authority = rest.partition("/")[0]
        if authority.count("@") > 1 or "@" in rest.removeprefix(authority):
            raise ValueError("its user or password holds an @ or a /: write %40 or %2F, or give the password apart")
        try:
            _ = urlsplit(text).port
        except ValueError:
            raise ValueError("its port is no number: a password with / or : is to be given apart") from None
        return value

    return AfterValidator(check)


PATH_PREFIX = "(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*"
"""No empty segment and none that begins with a dot: `//host` would lead to another server, `..` out of the prefix."""


def _without_slash(value: object) -> object:
    return value.rstrip("/") if isinstance(value, str) else value


class Settings(BaseSettings):
    """Every setting, its unit in its type. URLs may hold passwords and print as stars."""

    model_config = SettingsConfigDict(
        env_prefix="HSU_", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    database_url: Annotated[SecretStr, _url("postgresql", "postgres", "postgresql+psycopg")] = SecretStr(
        "postgresql://localhost/hsu"
    )
    """Postgres 15 or newer: the source of truth."""
    database_password: SecretStr | None = None
    """The password of `database_url`, unescaped."""
    redis_url: Annotated[SecretStr, _url("redis", "rediss", "unix")] = SecretStr("redis://localhost:6379/0")
    """Redis 6 or newer, `redis://`, `rediss://` or `unix://`: the doorbell. It may be emptied at any time."""
    redis_password: SecretStr | None = None
    """The password of `redis_url`, unescaped."""
    redis_visibility: Span = timedelta(hours=1)
    """Time after which Redis delivers an unacknowledged message again; every message is acknowledged at once."""
    data_dir: Path = Path("data")
    """Where the data sets are."""
    allow_download: bool = False
    """Whether a missing data set may be downloaded from its publisher."""
    artifacts_dir: Path = Path("artifacts")
    """Where checkpoints are kept: a folder that all workers share, or with `artifacts_url` each one's own scratch."""
    artifacts_url: str | None = None
    """An object store for the checkpoints, as fsspec writes it: `s3://bucket/prefix` (extra `s3`; its credentials and
    endpoint come from the AWS_* variables)."""
    dataset_bytes: Annotated[int, Field(ge=0)] = 20 * 1024**3
    """Bytes that the data sets which a user has brought may take together."""
    saved_bytes: Annotated[int, Field(ge=0)] = 20 * 1024**3
    """Bytes that the files which a user's tracked runs have saved may take together."""
    part_bytes: Annotated[int, Field(ge=1024, le=2**28)] = 4 * 1024 * 1024
    """Size of the parts in which data sets and files are uploaded, in bytes: each is in memory while it arrives."""
    dataset_cache: Path = Path("dataset-cache")
    """Where a worker keeps the data sets of users that its jobs read; each machine has its own."""
    dataset_cache_bytes: Annotated[int, Field(ge=0)] = 50 * 1024**3
    """Bytes that this cache may take; what was not used for longest is removed first, and nothing that a job uses."""
    storage_patience: Span = timedelta(minutes=5)
    """Time that the last state of an attempt waits for a storage that is away or full; a third of `limits.stall` at
    most, so that the wait does not count as hanging."""
    worker_name: WorkerName | None = None
    """A worker's name, unique among all; by default the machine's. A second process of one name refuses to start."""
    pool: PoolName = "default"
    """The pool that a worker belongs to: it runs the jobs that ask for it."""
    slots: Annotated[int, Field(ge=1)] = 1
    """Jobs that a worker on a machine without a GPU runs at once; each has its share of the cores."""
    slots_per_gpu: Annotated[int, Field(ge=1)] = 1
    """Jobs that share a GPU."""
    heartbeat: Span = timedelta(seconds=10)
    """Time between two renewals of an attempt's lease."""
    lease: Span = timedelta(seconds=45)
    """Time without a renewal after which an attempt counts as lost."""
    tracked_lease: Span = timedelta(minutes=2)
    """Time without a sign of life from a tracked run's client after which the run counts as lost."""
    poll: Span = timedelta(seconds=5)
    """Time after which an idle worker asks the database even if no message came."""
    sweep: Span = timedelta(seconds=10)
    """Time between two looks for expired leases and for queued jobs of which no worker was notified."""
    flush: Span = timedelta(seconds=1)
    """Time between two writes of a running job's curves."""
    keep_curves: Span | None = None
    """Time after a job's end for which its curves are kept; for ever by default."""
    spare_runner: bool = True
    """Whether a worker keeps a process ready that has imported torch, and forks runners from it: a job then begins
    seconds sooner, for 560 MB of memory."""
    shutdown: Span = timedelta(seconds=15)
    """Time that a running job gets to stop by itself before it is killed."""
    retry_after: Span = timedelta(seconds=5)
    """Time after which a job that crashed is tried again; twice as long after each further crash, 5 minutes at most."""
    patience: Span = timedelta(minutes=5)
    """Time that a job waits for several GPUs before a machine keeps GPUs that become free for it."""
    usage_half_life: Span = timedelta(days=1)
    """Time after which used GPU time counts half for the order of users."""
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
    """Time for which a request with an Idempotency-Key gets the same answer as the first time."""
    max_body: Annotated[int, Field(ge=1024)] = 1024 * 1024
    """Largest request body, in bytes."""
    max_head: Annotated[int, Field(ge=1024)] = 64 * 1024
    """Largest head of a request, in bytes: its line and its headers."""
    head_time: Span = timedelta(seconds=10)
    """Time from the connection, or the first byte, to the end of a request's head."""
    body_time: Span = timedelta(seconds=20)
    """Time from the end of a request's head to that of its body."""
    connections_per_address: Annotated[int, Field(ge=0)] = 500
    """Connections that one address may hold open to each API process, proxies of FORWARDED_ALLOW_IPS aside; 0: any
    number."""
    request_time: Span = timedelta(seconds=30)
    """Time within which an answer begins; otherwise it is a 504, and its statement in the database is cancelled."""
    key_cache: MaybeSpan = timedelta(seconds=2)
    """Time that an API process caches a key for: one that another process revokes stays valid for so long. 0: never."""
    rate_limit: Annotated[float, Field(ge=0)] = 100.0
    """Requests a second that a key may make in the long run; 0: any number."""
    rate_burst: Annotated[int, Field(ge=1)] = 500
    """Requests that a key may make at once, when it made none for a while."""
    failures_a_minute: Annotated[int, Field(ge=0)] = 60
    """Requests without a valid key that an address may make a minute; 0: any number."""
    streams_per_key: Annotated[int, Field(ge=1)] = 64
    """Streams, followed logs and waiting answers that a key may have open in each process of the API."""
    metrics_token: SecretStr | None = None
    """What Prometheus sends as `Authorization: Bearer …` to read /metrics; without it only an admin's key reads it."""
    root_path: Annotated[str, BeforeValidator(_without_slash), Field(pattern=f"^{PATH_PREFIX}$", max_length=200)] = ""
    """The path under which a proxy shows the service, `/hsu`; a trusted proxy's `X-Forwarded-Prefix` overrides it."""
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
    """Time for which delivery of a message is attempted."""
    webhook_failures: Annotated[int, Field(ge=1, le=2**15 - 1)] = 200
    """Attempts in a row that fail before a webhook is disabled: more than a day, with the rests between them."""
    webhook_couriers: Annotated[int, Field(ge=2, le=1000)] = 32
    """Webhooks that a worker calls at the same time: each is a thread that mostly waits."""
    webhook_couriers_per_user: Annotated[int, Field(ge=1)] = 4
    """Webhooks of one user that are called at the same time, by all workers together."""
    webhook_asked: Annotated[int, Field(ge=1)] = 100
    """Pings and messages requested again that a user may have pending."""
    webhook_log: Span = timedelta(days=30)
    """Time for which sent messages are kept."""

    @model_validator(mode="before")
    @classmethod
    def _passwords_join_their_urls(cls, given: Any) -> Any:
        """Code that connects then needs only the URL."""
        joined = dict(given)
        for name in ("database", "redis"):
            password = _plain(joined.get(f"{name}_password"))
            if password:
                url = joined.get(f"{name}_url", cls.model_fields[f"{name}_url"].default)
                joined[f"{name}_url"] = SecretStr(_with_password(_plain(url), password))
        return joined

    def environment(self) -> dict[str, str]:
        """The environment of a child process that is to read the same settings, and to use UTF-8."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        shown = {name: _text(value) for name, value in values.items() if value is not None}
        mine = {f"HSU_{name.upper()}": text for name, text in shown.items()}
        return dict(os.environ) | mine | {"PYTHONUTF8": "1"}  # what it prints is kept as UTF-8, whatever the locale


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


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")


def _with_password(url: str, password: str) -> str:
    """The URL with this password in place of its own, if it had any."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    user = user.partition(":")[0]
    return f"{scheme}{separator}{user}:{quote(password, safe='')}@{host if at else authority}{slash}{path}"


@cache
def settings() -> Settings:
    """The settings of this process. Raises `BadSettings`."""
    try:
        return Settings()
    except ValidationError as error:
        raise BadSettings("\n".join(_faults(error))) from None


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_context=False):
        name = "_".join(map(str, fault["loc"][:1]))
        found = "" if _is_secret(name) else f", found {fault['input']!r}"
        yield f"HSU_{name.upper()}: {fault['msg'].removeprefix('Value error, ')}{found}"


def _is_secret(name: str) -> bool:
    field = Settings.model_fields.get(name)
    return field is None or "SecretStr" in str(field.annotation)


ELSEWHERE = (
    "HSU_HOME",
    "HSU_PORT",
    "HSU_CHILD_OF",
    "HSU_DOORBELL",
    "HSU_URL",
    "HSU_API_KEY",
    "HSU_TEST_DATABASE_URL",
    "HSU_TEST_REDIS_URL",
)
"""Variables that other programs read: `make up`, the client, the tests."""


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """For each HSU_* variable that nothing reads: a line that says so, and which one may be meant."""
    known = [*(f"HSU_{name.upper()}" for name in Settings.model_fields), *ELSEWHERE]
    found = sorted(name for name in environment if name.startswith("HSU_") and name not in known)
    meant = {name: get_close_matches(name, known, 1) for name in found}
    return [f"{name} is no setting" + (f"; is {meant[name][0]} meant?" if meant[name] else "") for name in found]
