"""Bodies that are made to hurt, sent to every route that takes one: what is refused, refused cheaply, and told why.

Each is a request within the size that a body may have. What it costs is the processor time of the API's process, which
does not depend on what else the machine does.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import psutil
from conformance.filled import Served
from samples import DIGITS, POINTS

MOST_BYTES = 64_000
MOST_SECONDS = 1.0

_JSON = {"Content-Type": "application/json"}
_LIKE_A_SPEC = json.dumps(DIGITS).encode()


class Sent(NamedTuple):
    """A body on its way."""

    name: str
    body: bytes
    headers: dict[str, str] = _JSON


def unreadable() -> Iterator[Sent]:
    """What is no body of any route."""
    yield Sent("gzip", gzip.compress(_LIKE_A_SPEC), _JSON | {"Content-Encoding": "gzip"})
    yield Sent("gzip that does not say so", gzip.compress(_LIKE_A_SPEC))
    yield Sent("Brotli", _LIKE_A_SPEC, _JSON | {"Content-Encoding": "br"})
    yield Sent("Latin-1", '{"name": "Ångström"}'.encode("latin-1"))
    yield Sent("Latin-1 that says so", b'{"name": "\xc5"}', {"Content-Type": "application/json; charset=iso-8859-1"})
    yield Sent("half a character", b'{"name": "\xc3"}')
    yield Sent("a form", b"name=x", {"Content-Type": "application/x-www-form-urlencoded"})
    yield Sent("text", _LIKE_A_SPEC, {"Content-Type": "text/plain"})
    yield Sent("no type", _LIKE_A_SPEC, {})
    yield Sent("a broken type", _LIKE_A_SPEC, {"Content-Type": ";;;"})
    yield Sent("nothing but a mark", b"\xef\xbb\xbf")
    yield Sent("half of it", _LIKE_A_SPEC[:-1])
    yield Sent("two", _LIKE_A_SPEC * 2)
    yield Sent("NaN", b'{"name": NaN}')
    yield Sent("-Infinity", b'{"name": -Infinity}')
    yield Sent("a number beyond doubles", b'{"name": 1e400}')
    yield Sent("a number of 401 digits", b'{"name": ' + b"9" * 401 + b"}")
    yield Sent("a number of 500,000 digits", b'{"name": ' + b"9" * 500_000 + b"}")
    yield Sent("a fraction of 500,000 digits", b'{"name": 0.' + b"9" * 500_000 + b"}")
    yield Sent("a key twice", b'{"name": "a", "name": "b"}')
    yield Sent("lists in lists", b"[" * 500_000)
    yield Sent("lists in lists that end", b"[" * 33 + b"]" * 33)
    yield Sent("objects in objects", b'{"a":' * 150_000)
    yield Sent("objects in objects that end", b'{"name":' * 500 + b"1" + b"}" * 500)
    yield Sent("60,000 keys", json.dumps(DIGITS | {f"k{i}": 0 for i in range(60_000)}).encode())
    yield Sent("60,000 keys within", json.dumps({"change": {f"k{i}": 0 for i in range(60_000)}}).encode())


def unfit() -> Iterator[Sent]:
    """What can be read, and fits no route."""
    bodies: dict[str, object] = {
        "200,000 numbers": [0] * 200_000,
        "100,000 objects": [{}] * 100_000,
        "a long text": "x" * 1_000_000,
        "999 keys": {f"k{i}": 0 for i in range(999)},
        "a long key": {"k" * 1_000_000: 0},
        "long keys": {f"{i}" + "k" * 1000: "v" * 10 for i in range(900)},
        "control characters": {"\x00\x1b[2J" * 1000: "\x00" * 1000},
        "halves of characters": {"\ud800": "\udfff"},
        "a number": 7,
        "nothing": None,
    }
    for name, body in bodies.items():
        yield Sent(name, json.dumps(body).encode())


def specs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Specs of jobs that no machine could run, or that are long."""
    many = {"wrong": ["wrong"] * 20_000, "short": ["a"] * 200_000, "patterns": [f"c{i}_*" for i in range(50_000)]}
    for name, names in many.items():
        yield f"measures: {name}", {"record": {"measures": names}}
        yield f"recorded layers: {name}", {"record": {"layers": names}}
        yield f"layers: {name}", {"regularizer": {"kind": "mhe", "layers": names}}
        yield f"tags: {name}", {"tags": names}
    weights = {"0" * 9 + str(i): 1 for i in range(900)}
    yield "900 factors", {"regularizer": {"kind": "mhe", "layer_weights": weights}}
    yield "widths", {"model": {"kind": "mlp", "hidden": [1] * 200_000}}
    yield "milestones", {"schedule": {"kind": "step", "milestones": [0.5] * 200_000}}
    yield "betas", {"optimizer": {"kind": "adamw", "betas": [0.5] * 200_000}}
    yield "a long name", {"name": "x" * 900_000}
    yield "a long pattern", {"record": {"layers": ["*a" * 300_000]}}
    yield "NUL in a pattern", {"record": {"layers": ["a\0"]}}
    yield "half a character in a name", {"name": "\ud800"}
    yield "an unknown kind, long", {"model": {"kind": "x" * 900_000}}
    yield "an unknown task, long", {"task": "x" * 900_000}
    yield "a model of 10^20 parameters", {"model": {"kind": "mlp", "hidden": [2**31 - 1] * 32}}
    yield "a model of 10^11 parameters", {"model": {"kind": "mlp", "hidden": [2**17] * 32}}
    yield "a wide network", {"model": {"kind": "small_cnn", "width": 2**17}}
    yield "a deadline of 1e308 seconds", {"limits": {"deadline": 1e308}}
    yield "a stall of 1e308 seconds", {"limits": {"stall": 1e308}}
    yield "a checkpoint in 1e308 seconds", {"checkpoint": {"seconds": 1e308}}
    yield "a rate of 1e308", {"optimizer": {"kind": "sgd", "lr": 1e308}}
    yield "a weight of 1e308", {"regularizer": {"kind": "mhe", "hidden_weight": 1e308}}
    yield "a factor of 1e308", {"schedule": {"kind": "step", "gamma": 1e308}}
    yield "a seed of 400 digits", {"seed": 10**399}
    yield "2^31 epochs", {"duration": {"epochs": 2**31 - 1}}
    yield "curves of 10^11 values", {"duration": {"steps": 2**31 - 1}, "record": {"every": 1}}
    yield "an exponent of 1e308", POINTS | {"objective": {"kind": "riesz", "s": 1e308}}


def faults(served: Served) -> list[str]:
    """What is wrong with the answers to all of them, each in words; none if all is well."""
    with httpx2.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.key}"}, timeout=60) as client:
        routes = list(_routes(client, served))
        assert len(routes) >= 8, routes
        calls = [(*route, sent) for sent in (*unreadable(), *unfit()) for route in routes if _is_for(route, sent)]
        return [told for call in (*calls, *_of_specs(served)) for told in _faults(client, served, *call)]


def _is_for(route: tuple[str, str], sent: Sent) -> bool:
    """Long bodies go to the routes of jobs alone, to save time: what all have in common is looked at before routes."""
    return len(sent.body) < 50_000 or route[1].startswith("/v1/jobs")


def _routes(client: httpx2.Client, served: Served) -> Iterator[tuple[str, str]]:
    """Every route that takes a body."""
    named = defaultdict(lambda: 1, job_id=served.job, name="w")
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                yield method, path.format_map(named)


def _of_specs(served: Served) -> Iterator[tuple[str, str, Sent]]:
    for name, change in specs():
        whole = {} if "task" in change and change["task"] == "points" else DIGITS
        alone = Sent(name, _json(whole | change))
        yield "post", "/v1/jobs", alone
        if len(alone.body) > 50_000:  # the others read it in the same way, which takes time
            continue
        yield "post", "/v1/jobs?dry_run=true", alone
        yield "post", f"/v1/jobs/{served.job}/fork", Sent(name, _json({"step": 0, "change": change}))
        yield "post", "/v1/jobs/bulk", Sent(name, _json({"jobs": [DIGITS, whole | change]}))
    wrong = {"k": 0, "tags": [7] * 32, "model": {"kind": "mlp", "hidden": [0] * 32}, "record": {"measures": [0] * 32}}
    yield "post", "/v1/jobs/bulk", Sent("a thousand wrong ones", _json({"jobs": [DIGITS | wrong] * 1000}))
    yield "post", "/v1/jobs/bulk", Sent("a thousand of the wrong kind", _json({"jobs": [7] * 1000}))
    deep = DIGITS | {"dataset": {"kind": "cifar10"}, "model": {"kind": "resnet_cifar", "depth": 1202}, "batch_size": 16}
    yield "post", "/v1/jobs/bulk", Sent("a thousand deep ones", _json({"jobs": [deep] * 1000}))
    rotated = [deep | {"parametrization": {"kind": "oft", "layers": [f"none{i}"] * 64}} for i in range(800)]
    yield "post", "/v1/jobs/bulk", Sent("hundreds that name layers", _json({"jobs": rotated}))
    drawn = random.Random(0)
    patterns = [["".join(f"{drawn.choice('abcdef')}*" for _ in range(99)) for _ in range(4)] for _ in range(900)]
    unknown = [DIGITS | {"record": {"layers": each, "measures": []}} for each in patterns]
    yield "post", "/v1/jobs/bulk", Sent("patterns of a megabyte", _json({"jobs": unknown}))
    keys = {f"k{i}": 0 for i in range(80)}
    yield "post", "/v1/jobs/bulk", Sent("a thousand with unknown keys", _json({"jobs": [keys] * 1000}))


def _json(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _faults(client: httpx2.Client, served: Served, method: str, path: str, sent: Sent) -> Iterator[str]:
    where = f"{sent.name} to {method} {path}"
    assert len(sent.body) <= 2**20, where
    before = _seconds(served)
    answer = client.request(method, path, content=sent.body, headers=sent.headers)
    if (took := _seconds(served) - before) > MOST_SECONDS:
        yield f"{where}: took {took:.2f} s"
    if not 400 <= answer.status_code < 500:
        yield f"{where}: answered {answer.status_code} {answer.text[:200]}"
        return
    if len(answer.content) > MOST_BYTES:
        yield f"{where}: an answer of {len(answer.content)} bytes"
    told = answer.json()
    if not told.get("detail") or len(told.get("errors", ())) > 20:
        yield f"{where}: {answer.text[:500]}"


def _seconds(served: Served) -> float:
    """Processor time of the API's process until now."""
    return sum(psutil.Process(served.process).cpu_times()[:2])
