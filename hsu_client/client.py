"""How does Python submit jobs, follow them and read their curves?

    with Client("http://127.0.0.1:8000", key) as client:
        job = client.submit({"dataset": {"kind": "digits"}, ...})
        for view in client.follow(job["id"]):
            print(view["state"], view["step"])

Knows the HTTP interface of the service. Needs neither torch nor a database.
"""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from hsu_client import live
from hsu_client.answers import ENDED, Curve
from hsu_client.download import File, Report, download
from hsu_client.job import BoundJob
from hsu_client.live import Points, Rollback
from hsu_client.packing import Packed, source_of
from hsu_client.problem import UNREACHED, Problem, Unreachable
from hsu_client.studies import Studies
from hsu_client.upload import send_parts

_DIRECT: dict[str, None] = dict.fromkeys(("all://localhost", "all://127.0.0.1", "all://[::1]"))
"""This machine is reached directly; for all others HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY apply."""


def _silent(_done: int, _size: int) -> None:
    """Report nothing."""


class Client:
    """A connection to one service with one API key. Raises `Problem` if the service refuses, and `Unreachable`."""

    def __init__(self, url: str, key: str, *, timeout: float = 30.0) -> None:
        """`timeout` in seconds, for each request."""
        if not key.isascii() or not key.strip():
            raise ValueError("the API key is empty or holds characters that no key has")
        headers = {"Authorization": f"Bearer {key.strip()}"}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout, mounts=_DIRECT)
        self.studies = Studies(self._send)
        """Studies: many jobs that are run to be compared."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> BoundJob:
        """Queue a job. With a key, a repeated request with the same spec returns the same job."""
        return self._job("POST", "/v1/jobs", json=spec, headers=_once(idempotency_key))

    def submit_many(
        self, specs: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> list[dict[str, Any]]:
        """Queue up to 1,000 jobs, all of them or none: the `id`, `name`, `fingerprint` and `duplicates` of each."""
        answer = self._ask("POST", "/v1/jobs/bulk", json={"jobs": list(specs)}, headers=_once(idempotency_key))
        return list(answer["jobs"])

    def quote(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """What a job would cost, when it would start and how long it would take; nothing is queued."""
        return self._ask("POST", "/v1/jobs", params={"dry_run": True}, json=spec)

    def job(self, job_id: int, *, wait: float = 0, during: str | None = None, fields: Sequence[str] = ()) -> BoundJob:
        """One job; with `wait` as soon as its state is not `during` (default: its present state), or after the seconds.

        A service waits 60 seconds at most. With `fields`, only those fields.
        """
        if not wait:
            return self._job("GET", f"/v1/jobs/{job_id}", params=_only(fields))
        params = {"wait": min(wait, 60.0)} | ({"while": during} if during else {}) | _only(fields)
        timeout = httpx2.Timeout(self._http.timeout.connect, read=wait + (self._http.timeout.read or 0))
        return self._job("GET", f"/v1/jobs/{job_id}", params=params, timeout=timeout)

    def jobs(
        self,
        *,
        state: str | Sequence[str] | None = None,
        fields: Sequence[str] = (),
        page: int = 100,
        **filters: str | Sequence[str] | None,
    ) -> Iterator[BoundJob]:
        """Your jobs, newest first (all users' for an admin), fetched page by page when needed.

        Filters: `tag`, `regularizer`, `model`, `dataset` and `state` (one or several), `owner`, `name`, `pool`,
        `fingerprint`, `created_after`, `created_before`, `where="test_accuracy:gt:0.97"`; and `sort="-test_accuracy"`.
        With `fields`, only those fields of each.
        """
        chosen = {name: value for name, value in {"state": state, **filters}.items() if value is not None}
        for view in self._pages("/v1/jobs", "jobs", {"limit": page} | _only(fields) | chosen):
            yield BoundJob(view, self)

    def cancel(self, job_id: int) -> BoundJob:
        """Ask a job to stop. A waiting job stops at once, a running one soon after."""
        return self._job("POST", f"/v1/jobs/{job_id}/cancel")

    def pause(self, job_id: int) -> BoundJob:
        """Keep a job from running until it is resumed; a running one first saves its state."""
        return self._job("POST", f"/v1/jobs/{job_id}/pause")

    def resume(self, job_id: int) -> BoundJob:
        """Put a paused job back into the queue."""
        return self._job("POST", f"/v1/jobs/{job_id}/resume")

    def prioritise(self, job_id: int, priority: int) -> BoundJob:
        """Change a job's priority, also while it runs; jobs of higher priority start first."""
        return self._job("POST", f"/v1/jobs/{job_id}/priority", json={"priority": priority})

    def fork(
        self,
        job_id: int,
        change: Mapping[str, Any] | None = None,
        *,
        step: int | None = None,
        idempotency_key: str | None = None,
    ) -> BoundJob:
        """A new job that continues from this job's checkpoint of a step (default: the newest) with a changed spec.

        `change` is a merge patch (RFC 7396) of the spec: `{"regularizer": {"kind": "comhe"}}`.
        """
        asked = {"step": step, "change": dict(change or {})}
        return self._job("POST", f"/v1/jobs/{job_id}/fork", json=asked, headers=_once(idempotency_key))

    def retry(self, job_id: int, *, idempotency_key: str | None = None) -> BoundJob:
        """A new job with the spec of an ended job, from its last checkpoint if it has one."""
        return self._job("POST", f"/v1/jobs/{job_id}/retry", headers=_once(idempotency_key))

    def compare(self, job_id: int, other: int) -> dict[str, Any]:
        """Two jobs on the same test examples: would new examples show a difference between their networks?"""
        return self._ask("GET", f"/v1/jobs/{job_id}/answers/compare", params={"other": other})

    def checkpoints(self, job_id: int, *, removed: bool = False) -> list[dict[str, Any]]:
        """The checkpoints that a job or a fork can continue from, newest first; with `removed`, all there were."""
        answer = self._ask("GET", f"/v1/jobs/{job_id}/checkpoints", params={"removed": removed})
        return list(answer["checkpoints"])

    def answers(self, job_id: int) -> dict[str, Any]:
        """Which test examples the network of a job classified right: `count`, `right`, and a bit each as base64."""
        return self._ask("GET", f"/v1/jobs/{job_id}/answers")

    def download(
        self,
        job_id: int,
        to: str | Path = ".",
        *,
        step: int | None = None,
        best: bool = False,
        part: str = "all",
        overwrite: bool = False,
        report: Report = _silent,
    ) -> Path:
        """Download a checkpoint, the newest unless a `step` or the `best` is asked for, into a folder or a file.

        `part="weights"`: without the state of the optimizer. A download that broke off goes on; its hash is checked. A
        file that has these very bytes already stays; raises FileExistsError for another one, unless `overwrite`.
        """
        if best and step is not None:
            raise ValueError("give a step or the best, not both")
        at = self._checkpoint(job_id, best=best) if step is None else step
        name = f"job-{job_id}-step-{at}" + ("" if part == "all" else f"-{part}") + ".safetensors"
        target = Path(to) / name if Path(to).is_dir() else Path(to)
        file = File(f"/v1/jobs/{job_id}/checkpoints/{at}", {"part": part})
        return download(self._http, file, target, overwrite=overwrite, report=report)

    def files(self, job_id: int) -> list[dict[str, Any]]:
        """The files that a tracked run has saved, by name, its states among them."""
        return list(self._ask("GET", f"/v1/jobs/{job_id}/files")["files"])

    def download_file(
        self, job_id: int, name: str, to: str | Path = ".", *, overwrite: bool = False, report: Report = _silent
    ) -> Path:
        """Download a file that a tracked run has saved, into a folder or under a name; otherwise as `download`."""
        target = Path(to) / name.rpartition("/")[2] if Path(to).is_dir() else Path(to)
        return download(self._http, File(_file(job_id, name), {}), target, overwrite=overwrite, report=report)

    def delete_file(self, job_id: int, name: str) -> None:
        """Delete a file that a tracked run has saved, unless jobs that have not ended start from it."""
        self._send("DELETE", _file(job_id, name))

    def _checkpoint(self, job_id: int, *, best: bool) -> int:
        """The step of the newest checkpoint, or of the best one."""
        for row in self.checkpoints(job_id):
            if row["is_best"] or not best:
                return int(row["step"])
        raise ValueError(f"job {job_id} has no {'best ' if best else ''}checkpoint")

    def events(self, job_id: int, *, page: int = 200) -> Iterator[dict[str, Any]]:
        """The events of a job until now, the oldest first."""
        yield from self._pages(f"/v1/jobs/{job_id}/events", "events", {"limit": page})

    def log(
        self,
        job_id: int,
        *,
        attempt: int | None = None,
        tail: int | None = None,
        from_byte: int = 0,
        follow: bool = False,
    ) -> Iterator[str]:
        """The output of an attempt, in pieces: all of it, its last `tail` lines, or the part after a byte.

        The last attempt by default. With `follow`, also new output, until the attempt has ended.
        """
        chosen = {"attempt": attempt, "tail": tail, "from_byte": from_byte, "follow": follow}
        given = {name: value for name, value in chosen.items() if value is not None}
        patience = httpx2.Timeout(self._http.timeout.connect, read=None) if follow else self._http.timeout
        with (
            self._reaching(),
            self._http.stream("GET", f"/v1/jobs/{job_id}/log", params=given, timeout=patience) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise Problem.of(answer)
            yield from answer.iter_text()

    def queue(self, *, pool: str | None = None) -> dict[str, Any]:
        """The `pools`, and the `places` of the waiting jobs, in the order in which they will probably start."""
        return self._ask("GET", "/v1/queue", params={"pool": pool} if pool else {})

    def workers(self) -> list[dict[str, Any]]:
        """The machines, their devices and slots, and whether they take jobs."""
        return list(self._ask("GET", "/v1/workers")["workers"])

    def drain(self, worker: str, *, now: bool = False) -> dict[str, Any]:
        """Let a worker take no further job; `now`: its jobs are saved and continue elsewhere. For admins."""
        return self._ask("POST", f"/v1/workers/{quote(worker, safe='')}/drain", json={"now": now})

    def restore(self, worker: str) -> dict[str, Any]:
        """Let a drained or excluded worker take jobs again. For admins."""
        return self._ask("POST", f"/v1/workers/{quote(worker, safe='')}/restore")

    def users(self) -> list[dict[str, Any]]:
        """All users' shares, quotas and usage for an admin, otherwise your own."""
        return list(self._ask("GET", "/v1/users")["users"])

    def change_user(self, name: str, **change: float | None) -> dict[str, Any]:
        """Change a user's `share` of the cluster, `max_gpus` or `max_waiting`. For admins.

        None means no limit for `max_gpus`, and the general limit for `max_waiting`.
        """
        return self._ask("PATCH", f"/v1/users/{quote(name, safe='')}", json=change)

    def keys(self) -> Iterator[dict[str, Any]]:
        """Your keys without their secrets, the newest first; all users' keys for an admin."""
        yield from self._pages("/v1/keys", "keys", {"limit": 200})

    def create_key(
        self, *, name: str = "", user: str | None = None, role: str | None = None, expires_in: float | None = None
    ) -> dict[str, Any]:
        """A new key for yourself or, for admins, any user. `key` is shown only here. `expires_in` is in seconds."""
        wanted = {"name": name, "user": user, "role": role, "expires_in": expires_in}
        return self._ask("POST", "/v1/keys", json=wanted)

    def rotate_key(self, key_id: int, *, overlap: float = 0.0) -> dict[str, Any]:
        """A new key that replaces another one; the old key stays valid for `overlap` seconds."""
        return self._ask("POST", f"/v1/keys/{key_id}/rotate", json={"overlap": overlap})

    def revoke_key(self, key_id: int, *, descendants: bool = True) -> dict[str, Any]:
        """Revoke a key; with `descendants` also the keys that were made with it, and with those."""
        return self._ask("DELETE", f"/v1/keys/{key_id}", params={"descendants": descendants})

    def audit(
        self, *, user: str | None = None, action: str | None = None, since: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Who changed what, the newest first. For admins."""
        chosen = {"user": user, "action": action, "since": since}
        given = {name: value for name, value in chosen.items() if value is not None}
        yield from self._pages("/v1/audit", "entries", {"limit": 200} | given)

    def webhooks(self) -> list[dict[str, Any]]:
        """The addresses to which the events of your jobs are sent."""
        return list(self._ask("GET", "/v1/webhooks")["webhooks"])

    def create_webhook(self, url: str, *, events: Sequence[str] = ()) -> dict[str, Any]:
        """Send these events of your jobs to an address (default: how they end). Its `secret` is shown only here."""
        return self._ask("POST", "/v1/webhooks", json={"url": url} | ({"events": list(events)} if events else {}))

    def change_webhook(self, webhook_id: int, **change: Any) -> dict[str, Any]:
        """Change a webhook's `url`, `events` or whether it is `active`."""
        return self._ask("PATCH", f"/v1/webhooks/{webhook_id}", json=change)

    def remove_webhook(self, webhook_id: int) -> None:
        """Remove a webhook and what was sent to it."""
        self._send("DELETE", f"/v1/webhooks/{webhook_id}")

    def rotate_webhook(self, webhook_id: int) -> dict[str, Any]:
        """Give a webhook a new `secret`, shown only here; the old one is no longer used."""
        return self._ask("POST", f"/v1/webhooks/{webhook_id}/rotate")

    def test_webhook(self, webhook_id: int, *, patience: float = 20.0) -> dict[str, Any]:
        """Send a ping; returns its delivery once it was attempted, or as it is after `patience` seconds."""
        delivery = self._ask("POST", f"/v1/webhooks/{webhook_id}/test")
        deadline = time.monotonic() + patience
        while not delivery["attempts"] and time.monotonic() < deadline:
            time.sleep(0.1)
            delivery = self._ask("GET", f"/v1/webhooks/{webhook_id}/deliveries/{delivery['id']}")
        return delivery

    def deliveries(self, webhook_id: int, *, state: str | None = None, page: int = 100) -> Iterator[dict[str, Any]]:
        """The deliveries to a webhook (pending, delivered or failed), the newest first."""
        chosen = {"limit": page} | ({"state": state} if state else {})
        yield from self._pages(f"/v1/webhooks/{webhook_id}/deliveries", "deliveries", chosen)

    def redeliver(self, webhook_id: int, delivery_id: int) -> dict[str, Any]:
        """Send a message once more, in whatever state it is."""
        return self._ask("POST", f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver")

    def add_dataset(
        self,
        name: str,
        path: Path,
        *,
        test: Path | None = None,
        source: str | None = None,
        options: Mapping[str, Any] | None = None,
        licence: str = "",
        shared: bool = False,
        progress: Callable[[int, int], object] = lambda _sent, _total: None,
    ) -> dict[str, Any]:
        """Upload a folder of images, or an npz, Parquet or CSV file, as a new version of a data set.

        `test` holds the test part, of the same kind. `options`: `size`, `test_fraction`, `seed`. What has arrived of
        the same data is not sent again. `progress` gets the bytes that were sent, and those of all. The version is then
        converted: `await_dataset`.
        """
        packed = Packed(path, test)
        whole = packed.measure()
        new = {"name": name, "source": source or source_of(path), **whole._asdict(), "options": dict(options or {})}
        begun = self._ask("POST", "/v1/datasets", json=new | {"licence": licence, "shared": shared})
        if begun["state"] != "uploading":
            return begun
        place = _version_of(name, begun["version"])

        def send(number: int, content: bytes, sha256: str) -> None:
            headers = {"Content-Type": "application/octet-stream"}
            self._send("PUT", f"{place}/parts/{number}", params={"sha256": sha256}, content=content, headers=headers)

        arrived = {part["number"]: part["sha256"] for part in begun["arrived"]}
        size = begun["part_bytes"]
        send_parts(packed, send, size=size, arrived=arrived, progress=lambda done: progress(done, whole.bytes))
        return self._ask("POST", f"{place}/complete")

    def await_dataset(self, name: str, version: int, *, owner: str | None = None, poll: float = 0.5) -> dict[str, Any]:
        """A version once it is ready or refused; asks every `poll` seconds."""
        while (found := self.dataset(name, version, owner=owner))["state"] in ("uploading", "converting"):
            time.sleep(poll)
        return found

    def datasets(self, *, page: int = 100) -> Iterator[dict[str, Any]]:
        """Your data sets and those that others share, each version, the newest first."""
        yield from self._pages("/v1/datasets", "datasets", {"limit": page})

    def dataset(self, name: str, version: int | None = None, *, owner: str | None = None) -> dict[str, Any]:
        """A version of a data set, by default the newest."""
        params = {"owner": owner} if owner else {}
        if version is None:
            version = self._ask("GET", f"/v1/datasets/{quote(name, safe='')}", params=params)["versions"][0]["version"]
        return self._ask("GET", _version_of(name, version), params=params)

    def change_dataset(
        self, name: str, version: int, *, licence: str | None = None, shared: bool | None = None
    ) -> dict[str, Any]:
        """Change the licence note of a version of a data set, or whether all users may use it."""
        change = {"licence": licence, "shared": shared}
        given = {field: value for field, value in change.items() if value is not None}
        return self._ask("PATCH", _version_of(name, version), json=given)

    def delete_dataset(self, name: str, version: int, *, owner: str | None = None) -> None:
        """Delete a version of a data set, unless jobs that have not ended use it."""
        self._send("DELETE", _version_of(name, version), params={"owner": owner} if owner else {})

    def curves(
        self,
        *job_ids: int,
        layers: Sequence[str] = (),
        measures: Sequence[str] = (),
        relative_to: str | None = None,
        max_points: int | None = None,
        times: bool = False,
    ) -> list[Curve]:
        """The curves of a job, or of several, also while they run; all of them unless layers or measures are named.

        `relative_to` "random", "optimum" or "bound": the gap to that reference, for the curves that have it. With
        `max_points` a chart: each curve in at most that many buckets of steps, equal for all, with minimum, maximum and
        last value.
        """
        chosen = {"job": job_ids, "layer": layers, "measure": measures, "times": times}
        given = {"relative_to": relative_to, "max_points": max_points}
        params = chosen | {name: value for name, value in given.items() if value is not None}
        return [Curve.of(curve) for curve in self._ask("GET", "/v1/curves", params=params)["curves"]]

    def curves_file(self, *job_ids: int, form: str = "parquet", **chosen: Any) -> Iterator[bytes]:
        """All points of the jobs' curves as a table (`csv`, `parquet` or `arrow`), in pieces to be written to a file.

        `chosen` as for `curves`, with the service's names: `layer`, `measure`, `first_step`, `max_points`, …
        """
        params = {"job": job_ids, "format": form} | chosen
        with self._reaching(), self._http.stream("GET", "/v1/curves", params=params) as answer:
            if not answer.is_success:
                answer.read()
                raise Problem.of(answer)
            yield from answer.iter_bytes()

    def send_run(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """A request about a tracked run, as `hsu_client.tracking` makes it; empty where the service has no answer."""
        answer = self._send(method, path, **request)
        return _object(answer) if answer.content else {}

    def catalog(self) -> dict[str, Any]:
        """Everything that a spec may contain, with the JSON Schema of each choice."""
        return self._ask("GET", "/v1/catalog")

    def recipe(self, name: str) -> dict[str, Any]:
        """The spec of a recipe of the catalog, with its name, and a tag of its name and version.

        Raises ValueError with similar names if there is no such recipe.
        """
        found = {each["name"]: each for each in self.catalog()["recipes"]}
        if name not in found:
            similar = difflib.get_close_matches(name, found, n=5, cutoff=0.4) or list(found)
            raise ValueError(f"there is no recipe {name!r}; there are {', '.join(similar)} and others in the catalog")
        one = found[name]
        return {"name": name, "tags": [f"recipe:{name}:{one['version']}"], **one["spec"]}

    def follow(self, job_id: int, *, poll: float = 2.0, patience: float = 60.0) -> Iterator[BoundJob]:
        """Yield the job after each change of state, and at least every `poll` seconds, up to and including its end.

        Waits up to `patience` seconds for a service that does not answer, or is not ready (503).
        """
        heard, state = time.monotonic(), None
        while True:
            try:
                view = self.job(job_id, wait=poll if state else 0, during=state)
            except (Unreachable, Problem) as error:
                passes = isinstance(error, Unreachable) or error.status == httpx2.codes.SERVICE_UNAVAILABLE
                if not passes or time.monotonic() - heard > patience:
                    raise
                time.sleep(min(poll, 1.0))
            else:
                heard, state = time.monotonic(), view["state"]
                yield view
                if state in ENDED:
                    return

    def follow_events(
        self, job_id: int, *, after: int | None = None, patience: float = 60.0
    ) -> Iterator[dict[str, Any]]:
        """Past events of a job (since an event, by its id), then new ones as they happen, until the job has ended.

        A stream that breaks off is resumed; waits up to `patience` seconds for a service that is away.
        """
        place = "" if after is None else str(after)
        stream = live.follow(self._http, f"/v1/jobs/{job_id}/events/stream", params={}, after=place, patience=patience)
        for received in stream:
            yield json.loads(received.data)

    def follow_curves(
        self, job_id: int, *, layers: Sequence[str] = (), measures: Sequence[str] = (), patience: float = 60.0
    ) -> Iterator[Points | Rollback]:
        """Past points of a job's curves, then new ones as they are written, until its end. See `follow_events`."""
        chosen = {"layer": list(layers), "measure": list(measures)}
        for received in live.follow(self._http, f"/v1/jobs/{job_id}/curves/stream", params=chosen, patience=patience):
            data = json.loads(received.data)
            yield Rollback(data["step"]) if received.event == "rollback" else Points.of(data)

    def _pages(self, path: str, items: str, chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            answer = self._ask("GET", path, params=chosen | ({"cursor": cursor} if cursor else {}))
            yield from answer[items]
            cursor = answer["next_cursor"]
            if cursor is None:
                return

    def _job(self, method: str, path: str, **request: Any) -> BoundJob:
        return BoundJob(self._ask(method, path, **request), self)

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        return _object(self._send(method, path, **request))

    def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        with self._reaching():
            answer = self._http.request(method, path, **request)
        if not answer.is_success:
            raise Problem.of(answer)
        return answer

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except UNREACHED as error:
            raise Unreachable(f"no answer from {self._http.base_url}: {error or type(error).__name__}") from error


def _once(idempotency_key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": idempotency_key} if idempotency_key else {}


def _file(job_id: int, name: str) -> str:
    return f"/v1/jobs/{job_id}/files/{quote(name)}"


def _version_of(name: str, version: int) -> str:
    return f"/v1/datasets/{quote(name, safe='')}/versions/{version}"


def _only(fields: Sequence[str]) -> dict[str, str]:
    return {"fields": ",".join(fields)} if fields else {}


def _object(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON object in an answer."""
    try:
        received = answer.json()
    except ValueError:
        received = answer.text
    if not isinstance(received, dict):
        raise Unreachable(f"{answer.url} is not an HSU service: it answered with {str(received)[:60]!r}")
    return received
