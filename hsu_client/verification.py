"""Does a job's training give the same numbers again, on this machine? Its first steps, and its last ones.

One of the two files of the client that know another room: `hsu_core.replaying`, which needs no service. Needs the extra
`core`, and loads torch.
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hsu_client.answers import Job
from hsu_client.problem import Problem

if TYPE_CHECKING:
    from hsu_client.client import Client
    from hsu_core.replaying import Machine, Replayed

NOT_FOUND = 404
HASHES = ("data", "initial_weights", "first_batches", "final_weights")


Points = Mapping[tuple[str | None, str], Mapping[int, float]]
"""The values of each curve, of a layer or of the model, by step."""


class Difference(NamedTuple):
    """Where a job's record and its replay are not the same."""

    what: str
    """A curve as `layer/measure`, or what was hashed."""
    step: int | None
    """None for what belongs to no step."""
    recorded: object
    """By the job; None if it recorded nothing."""
    found: object
    """By the replay; None if it found nothing."""


class Part(NamedTuple):
    """Steps that were run again."""

    first: int
    """0, or the step of the checkpoint from which they were run."""
    last: int
    values: int
    """The values of curves that were compared."""
    same: tuple[str, ...]
    """What else is equal: hashes, the strength's factor, the answers to the test."""
    differences: tuple[Difference, ...]
    """In the order of the steps; empty if all is equal, to the last bit."""


class Verification(NamedTuple):
    """What came of running a job's steps again."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    """Why bits may differ on this machine, and what could not be compared."""

    @property
    def is_equal(self) -> bool:
        """Whether every value that was compared is the same."""
        return not any(part.differences for part in self.parts)


def verify(
    client: Client, job_id: int, *, steps: int = 20, data_dir: Path | None = None, allow_download: bool = False
) -> Verification:
    """Run the first steps of a training again, and the last ones from a checkpoint, and compare them with its record.

    At least `steps`, and on to the next point of its curves. The end is compared from the earliest kept checkpoint that
    is no more steps before it; without one, it is not. Raises ValueError for a job that trains nothing or has recorded
    nothing, or that this machine cannot run; ModuleNotFoundError without the extra `core`.
    """
    try:
        from hsu_core import replaying
    except ModuleNotFoundError as error:
        message = f"to run a training takes {error.name}: install the extra `core`"
        raise ModuleNotFoundError(message, name=error.name) from error
    job = client.job(job_id)
    certificate = _certificate(job)
    machine, notes = _machine(certificate, data_dir, allow_download=allow_download)
    record = _record(client, job)
    with TemporaryDirectory(prefix="hsu-") as folder:
        begin, initial = _begin(client, job, Path(folder))
        first = job["parent"]["step"] if job["parent"] else 0
        until = _until(record, first=first, steps=steps, total=job["total_steps"])
        found = replaying.replay(
            job["spec"],
            until=until if until < job["total_steps"] else None,
            machine=machine,
            resume_from=begin,
            initial_from=initial,
        )
        parts = [_part(job, record, found, first=first, last=until, answers=_answers(client, job))]
        step = _late(client, job, first=until, steps=until - first)
        if job["state"] == "succeeded" and until < job["total_steps"]:
            if step is None:
                notes.append(f"no checkpoint is kept of the last {until - first} steps: the end was not run again")
            else:
                late = client.download(job_id, folder, step=step)
                found = replaying.replay(job["spec"], machine=machine, resume_from=late)
                parts.append(_end(job, record, found, first=step, answers=_answers(client, job)))
    if not certificate:
        notes.append("the job has no certificate: only its curves were compared")
    return Verification(tuple(parts), tuple(notes))


def _certificate(job: Job) -> Mapping[str, Any]:
    if "regularizer" not in job["spec"]:
        raise ValueError(f"job {job['id']} trains no network: only trainings can be verified")
    found: Mapping[str, Any] = (job["result"] or {}).get("certificate") or {}
    return found


def _machine(
    certificate: Mapping[str, Any], data_dir: Path | None, *, allow_download: bool
) -> tuple[Machine, list[str]]:
    """How to run it again, and what differs from the machine that ran it first."""
    from hsu_core import replaying

    device = certificate.get("device") or {"type": "cpu", "name": "", "count": 1, "threads": None}
    has_device = device["type"] == "cpu" or replaying.has_cuda(device["count"])
    kind: Literal["cpu", "cuda"] = "cuda" if device["type"] == "cuda" and has_device else "cpu"
    processes = device["count"] if has_device else 1
    machine = replaying.Machine(kind, processes, device["threads"], data_dir, allow_download)
    told = {name: certificate[name] for name in ("python", "torch", "numpy") if name in certificate}
    told |= {"device": f"{device['type']} {device['name']}"} if certificate else {}
    now = replaying.here(kind)
    notes = [f"{name}: the job ran with {was}, this is {now[name]}" for name, was in told.items() if was != now[name]]
    return machine, notes


def _record(client: Client, job: Job) -> Points:
    """What the job recorded."""
    curves = client.curves(job["id"])
    if not curves:
        raise ValueError(f"job {job['id']} has recorded nothing yet")
    return {(each.layer, each.measure): dict(zip(each.steps, each.values, strict=True)) for each in curves}


def _begin(client: Client, job: Job, folder: Path) -> tuple[Path | None, Path | None]:
    """The files that the job began with: its parent's checkpoint, or that of the job whose weights it started from."""
    if parent := job["parent"]:
        return client.download(parent["id"], folder, step=parent["step"]), None
    initial = job["spec"].get("initial") or {}
    if "job" not in initial:
        return None, None
    return None, client.download(initial["job"], folder, step=initial["step"])


def _until(record: Points, *, first: int, steps: int, total: int) -> int:
    """The step up to which the beginning is compared: at least up to the first point after an update."""
    later = [step for values in record.values() for step in values if step > first]
    return min(total, max(first + steps, min(later, default=0)))


def _late(client: Client, job: Job, *, first: int, steps: int) -> int | None:
    """The step of the earliest kept checkpoint that is no more than so many steps before the end."""
    total = job["total_steps"]
    kept = [row["step"] for row in client.checkpoints(job["id"])]
    return min((step for step in kept if max(first, total - steps) <= step <= total), default=None)


def _answers(client: Client, job: Job) -> tuple[int, bytes] | None:
    if job["state"] != "succeeded":
        return None
    try:
        kept = client.answers(job["id"])
    except Problem as error:
        if error.status != NOT_FOUND:
            raise
        return None
    return kept["count"], b64decode(kept["bits"])


def _part(
    job: Job, record: Points, found: Replayed, *, first: int, last: int, answers: tuple[int, bytes] | None
) -> Part:
    """The steps from the start, with what the run started from."""
    certificate, result = _certificate(job), job["result"] or {}
    recorded = {name: certificate.get(name) for name in HASHES} | {"answers": answers}
    recorded["factor of the strength"] = (result.get("strength") or {}).get("factor")
    now = {**found.hashes, "factor of the strength": found.factor, "answers": _plain(found)}
    return _compared(record, found, first=first, last=last, recorded=recorded, now=now)


def _end(job: Job, record: Points, found: Replayed, *, first: int, answers: tuple[int, bytes] | None) -> Part:
    """The steps to the end, with what came of the run."""
    recorded = {"final_weights": _certificate(job).get("final_weights"), "answers": answers}
    now = {"final_weights": found.hashes.get("final_weights"), "answers": _plain(found)}
    return _compared(record, found, first=first, last=job["total_steps"], recorded=recorded, now=now)


def _plain(found: Replayed) -> tuple[int, bytes] | None:
    return (found.answers.count, found.answers.bits) if found.answers else None


def _compared(
    record: Points,
    found: Replayed,
    *,
    first: int,
    last: int,
    recorded: Mapping[str, object],
    now: Mapping[str, object],
) -> Part:
    """The curves between two steps, and what both the job and the replay tell beside them."""
    told = [name for name, was in recorded.items() if was is not None and now.get(name) is not None]
    beside = [Difference(name, None, _short(recorded[name]), _short(now[name])) for name in told]
    other = [each for each in beside if recorded[each.what] != now[each.what]]
    values = list(_values(record, found.points, first=first, last=last))
    differing = [each for each in values if not _is_same(each.recorded, each.found)]
    return Part(
        first,
        last,
        len(values),
        tuple(name for name in told if recorded[name] == now[name]),
        (*other, *sorted(differing, key=lambda each: (each.step or 0, each.what))),
    )


def _values(record: Points, found: Points, *, first: int, last: int) -> Iterator[Difference]:
    """Each value that either has."""
    for series in {**record, **found}:
        was, now = record.get(series, {}), found.get(series, {})
        name = "/".join(part for part in series if part)
        for step in sorted({step for step in (*was, *now) if first <= step <= last}):
            yield Difference(name, step, was.get(step), now.get(step))


def _is_same(was: object, now: object) -> bool:
    """To the last bit; NaN is NaN."""
    if isinstance(was, float) and isinstance(now, float) and math.isnan(was):
        return math.isnan(now)
    return was == now


def _short(told: object) -> object:
    if isinstance(told, tuple):
        count, bits = told
        return f"{int.from_bytes(bits, 'big').bit_count()} of {count} right"
    return told


def lines(verification: Verification, *, most: int = 10) -> Iterator[str]:
    """The verification in words: each part, its first differences, the notes, and the verdict."""
    for part in verification.parts:
        compared = f"steps {part.first} to {part.last}: {part.values} values of curves"
        beside = f", {', '.join(part.same)} equal" if part.same else ""
        verdict = f"{len(part.differences)} differ" if part.differences else "all equal"
        yield f"{compared}, {verdict}{beside}"
        yield from map(_line, part.differences[:most])
        if (more := len(part.differences) - most) > 0:
            yield f"  and {more} more"
    yield from (f"note: {note}" for note in verification.notes)
    yield "equal" if verification.is_equal else f"differs: {_first(verification.parts)}"


def _first(parts: Sequence[Part]) -> str:
    return _line(next(each for part in parts for each in part.differences)).strip()


def _line(difference: Difference) -> str:
    what, step, was, now = difference
    where = what if step is None else f"step {step}, {what}"
    by = f", a difference of {now - was:.3g}" if isinstance(was, float) and isinstance(now, float) else ""
    return f"  {where}: the job recorded {_written(was)}, this machine found {_written(now)}{by}"


def _written(value: object) -> str:
    return "nothing" if value is None else str(value)
