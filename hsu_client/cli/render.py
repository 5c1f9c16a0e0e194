"""How is a job shown on a terminal? As text made from views and curves. Knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from hsu_client.answers import ENDED, Curve, Job, depth
from hsu_client.escapes import visible

HIDDEN_ENERGY, FINAL_ENERGY = "mhe_s2_half", "mhe_s2"
"""The energies shown by default: half space for hidden layers, never for the classifier."""


def line(job: Job) -> str:
    """A job in one line."""
    return " · ".join([*_standing_of(job), job["name"]])


def listed(job: Job) -> str:
    """A job in one line of a list: also its regularizer, its seed, and its accuracy if it has ended."""
    spec = job["spec"] if not job.get("spec_error") else {}
    parts = [spec["regularizer"]["kind"]] if "regularizer" in spec else []
    parts += [f"seed {spec['seed']}"] if "seed" in spec else []
    result = job["result"] or {}
    accuracy = next((name for name in result if name.endswith("accuracy") and result[name] is not None), None)
    parts += [f"{accuracy} {_maybe(result[accuracy])}"] if accuracy else []
    return " · ".join([*_standing_of(job), *parts, job["name"]])


def _standing_of(job: Job) -> list[str]:
    """Which job it is, its state and its progress."""
    steps = job["total_steps"]
    unknown = "spec not readable" if steps is None else "tracked"  # only its loop knows how many there are
    percent = f"{100 * _part(job):3.0f} %" if steps else unknown
    is_asked = job["state"] == "running" and job["wanted"] != "run"
    state = f"running, is to {job['wanted']}" if is_asked else job["state"]
    return [f"job {job['id']}", state, f"step {job['step']} of {steps or '?'}", percent]


def details(job: Job) -> Iterator[str]:
    """A job in a few lines: its progress, its result, its attempts."""
    yield line(job)
    yield f"owner      {job['owner']}" + (f"   tags {', '.join(job['tags'])}" if job["tags"] else "")
    if job["parent"]:
        yield f"from       job {job['parent']['id']} at step {job['parent']['step']}"
    for name in ("created_at", "started_at", "finished_at", "deadline_at"):
        if job[name]:
            yield f"{name.removesuffix('_at'):<10} {utc(job[name])}"
    if job["waiting"]:
        yield f"waiting    {_why(job['waiting'])}"
    for name, value in _outcome(job):
        yield f"{name:<10} {value}"
    if job["failure"]:
        first, *others = job["failure"]["message"].splitlines() or [""]
        yield f"failure    {job['failure']['code']}: {first}"
        yield from (f"           {each}" for each in others)
    if job.get("spec_error"):
        yield f"spec       {job['spec_error']}"
    if (earlier := job.get("attempt_count", 0) - len(job["attempts"])) > 0:
        yield f"attempts   {earlier} earlier ones (hsu events {job['id']})"
    for attempt in job["attempts"]:
        kind = (attempt["outcome"] or {"kind": "running"}).get("kind", "unknown")
        begun = f", from step {attempt['resumed_from']}" if attempt["resumed_from"] is not None else ""
        where = f"{attempt['worker']} {attempt['device']}"
        yield f"attempt {attempt['number']}  {where}: {kind} at step {attempt['step']}{begun}"


def quote(quoted: Mapping[str, Any]) -> Iterator[str]:
    """The expected costs and times of a job, in a few lines."""
    yield f"steps      {quoted['total_steps']}"
    if costs := quoted["costs"]:
        memory, share = costs["memory"], 100 * costs["penalty_share"]
        yield f"parameters {costs['parameters']:,}"
        yield f"step       {_number(costs['flops_per_step'] / 1e9)} GFLOP and the penalty's, about {share:.2g} % of all"
        parts = {"activations": memory["activations"], "penalty": memory.get("penalty", 0)}
        shown = ", ".join(f"{name} {size(count)}" for name, count in parts.items())
        yield f"memory     {size(memory['total'])}, of it {shown}"
        if found := costs.get("strength_flops"):
            yield f"strength   {_number(found / 1e9)} GFLOP to find it, once"
        yield f"curves     {costs['curve_values']:,} values, {size(costs['curve_bytes'])}"
        for option in costs.get("evaluation", ()):
            passed = f"{option['forwards']:,} examples through the network"
            yield f"at the end {option['option']}: {passed}, {_number(option['flops'] / 1e9)} GFLOP"
    yield f"waiting    {_why(quoted['waiting'])}"
    yield "run time   " + (
        f"about {_span(quoted['seconds'])}" if quoted["seconds"] is not None else "no like job has run yet"
    )
    if quoted["duplicates"]:
        yield duplicates([each["id"] for each in quoted["duplicates"]])


def duplicates(ids: Iterable[int]) -> str:
    """A hint that other jobs give the same result."""
    return f"duplicates jobs with the same result: {', '.join(map(str, ids))}"


def event(seen: Mapping[str, Any]) -> str:
    """An event of a job in one line."""
    quoted = {name: value for name, value in seen["event"].items() if name != "kind" and value is not None}
    if isinstance(outcome := quoted.get("outcome"), Mapping):
        quoted["outcome"] = outcome.get("kind", "unknown")
    if isinstance(layers := quoted.get("layers"), Mapping):
        quoted["layers"] = "; ".join(f"{name} {reason}" for name, reason in layers.items())
    rest = ", ".join(f"{name} {value}" for name, value in quoted.items())
    return f"{utc(seen['at'])}  {seen['event']['kind']:<11} {rest}".rstrip()


def checkpoints(kept: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """A job's checkpoints, as rows for `table`."""
    rows = [
        [
            str(row["step"]),
            str(row["attempt"]),
            size(row["bytes"]),
            _maybe(row["metric"]),
            _standing(row),
            utc(row["created_at"]),
        ]
        for row in kept
    ]
    return [["step", "attempt", "size", "metric", "", "saved"], *rows]


def files(saved: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The files of a tracked run, as rows for `table`."""
    rows = [
        [row["name"], str(row["step"] or ""), str(row["attempt"]), size(row["bytes"]), utc(row["created_at"])]
        for row in saved
    ]
    return [["name", "step", "attempt", "size", "saved"], *rows]


def pools(queue: Mapping[str, Any]) -> list[list[str]]:
    """The pools of a queue, as rows for `table`."""
    counts = ("workers", "slots", "busy", "waiting")
    rows = [[pool["name"], *(str(pool[name]) for name in counts)] for pool in queue["pools"]]
    return [["pool", *counts], *rows]


def places(queue: Mapping[str, Any]) -> list[list[str]]:
    """The waiting jobs in order, as rows for `table`."""
    rows = [
        [
            f"{place['pool']} {place['position']}",
            *(str(place[name]) for name in ("job", "priority", "gpus")),
            place["owner"] or "",
            _span(place["starts_in"]),
            place["detail"] or place["reason"],
        ]
        for place in queue["places"]
    ]
    return [["place", "job", "priority", "gpus", "owner", "starts in", "why"], *rows]


def workers(every: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The machines, as rows for `table`."""
    rows = [
        [
            worker["name"],
            worker["pool"],
            f"{worker['busy']} of {worker['slots']}",
            _duty(worker),
            " ".join(worker["devices"]),
        ]
        for worker in every
    ]
    return [["worker", "pool", "busy", "duty", "devices"], *rows]


def _duty(worker: Mapping[str, Any]) -> str:
    if not worker["is_there"]:
        return f"{worker['duty']}, away"
    return "; ".join([worker["duty"], *(f"lacks {lack}" for lack in worker.get("lacks", ()))])


def users(every: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Shares, quotas and usage, as rows for `table`."""
    rows = [
        [
            user["name"],
            _number(user["share"]),
            f"{user['gpus']} of {'any' if user['max_gpus'] is None else user['max_gpus']}",
            f"{user['usage'] / 3600:.2f}",
        ]
        for user in every
    ]
    return [["user", "share", "GPUs", "GPU hours"], *rows]


def webhooks(every: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Webhooks as rows for `table`."""
    rows = [
        [
            str(hook["id"]),
            "active" if hook["active"] else f"inactive: {hook['disabled_because'] or 'as was asked'}",
            str(hook["failures"]),
            " ".join(hook["events"]),
            hook["url"],
        ]
        for hook in every
    ]
    return [["webhook", "", "failures", "events", "address"], *rows]


def deliveries(sent: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The deliveries to a webhook, as rows for `table`."""
    rows = [
        [
            str(each["id"]),
            each["kind"],
            "" if each["job"] is None else str(each["job"]),
            each["state"],
            str(each["attempts"]),
            each["error"] or ("" if each["status"] is None else str(each["status"])),
            utc(each["next_attempt_at"]),
        ]
        for each in sent
    ]
    return [["delivery", "kind", "job", "state", "attempts", "answer", "not before"], *rows]


def datasets(every: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Versions of data sets as rows for `table`."""
    rows = [
        [
            each["name"],
            str(each["version"]),
            each["owner"],
            "shared" if each["shared"] else "",
            each["state"],
            size(each["bytes"]),
            _holds(each["facts"]),
        ]
        for each in every
    ]
    return [["data set", "version", "owner", "", "state", "size", "holds"], *rows]


def dataset(found: Mapping[str, Any]) -> Iterator[str]:
    """A version of a data set, in lines."""
    yield f"{found['name']}, version {found['version']} of {found['owner']}: {found['state']}"
    if found["reason"]:
        yield f"  {found['reason']}"
    facts = found["facts"]
    if facts is None:
        return
    yield f"  {_holds(facts)}, {size(found['bytes'])}, sha256 {found['sha256']}"
    for name, train, test in zip(
        facts.get("class_names", ()), facts.get("train_counts", ()), facts.get("test_counts", ()), strict=True
    ):
        yield f"  {name}: {train} to train on, {test} to test"


def _holds(facts: Mapping[str, Any] | None) -> str:
    if facts is None:
        return ""
    if facts["holds"] == "interactions":
        return f"{facts['train']} and {facts['test']} interactions of {facts['users']} users, {facts['items']} items"
    shape = f" of {'×'.join(map(str, facts['shape']))}" if "shape" in facts else ""
    counts = f"{sum(facts['train_counts'])} and {sum(facts['test_counts'])}"
    return f"{counts} {facts['holds']}{shape}, {len(facts['class_names'])} classes"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of text in columns; the first row has the names. Numbers are aligned right, the rest left."""
    rows = [[visible(cell) for cell in row] for row in rows]
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    aligned = [str.rjust if all(map(_is_number, column[1:])) else str.ljust for column in columns]
    for row in rows:
        cells = (align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def summary(curves: Iterable[Curve]) -> list[list[str]]:
    """Each curve's first and last value and its references, as rows for `table`."""
    head = ["layer", "measure", "points", "first", "last", "random", "optimum", "bound", "proven by"]
    return [head, *(_row(curve) for curve in sorted(curves, key=depth) if curve.values)]


def energies(curves: Iterable[Curve]) -> list[Curve]:
    """Each layer's own energy: in half space for hidden layers, plain for the classifier."""
    chosen = [curve for curve in curves if curve.layer and curve.measure == _energy_of(curve.layer)]
    return sorted(chosen, key=depth)


def progress(views: Iterable[Job], out: TextIO) -> Job:
    """Show the progress of a job, in one line that is rewritten on a terminal; returns its last view."""
    shown = ""
    view: Job = {}
    for view in views:
        text = visible(line(view))
        if out.isatty():
            print(f"\r\x1b[K{_bar(view)} {text}", end="", file=out, flush=True)
        elif _worth_a_line(view, shown):
            print(text, file=out, flush=True)
            shown = _stage(view)
    if out.isatty():
        print(file=out)
    return view


def utc(time: str | None) -> str:
    """A time of the service (RFC 3339), to the second in UTC: `2026-11-27T15:09:35Z`; empty for None."""
    if not time:
        return ""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def _outcome(job: Job) -> Iterator[tuple[str, object]]:
    """The result of a job, by name: all numbers of a training; the value of placed points."""
    match job["result"]:
        case None:
            return
        case {"task": "points"} as placed if not job.get("spec_error"):
            yield from _placed(job["spec"], placed)
        case trained:
            for name, value in trained.items():
                if isinstance(value, list):
                    yield from ((name, _cells(row)) for row in value)
                elif name not in ("device", "plugins", "strength", "certificate") and value is not None:
                    yield name, _number(value) if isinstance(value, float) else value
            if strength := trained.get("strength"):
                weights = ", ".join(f"{name} {_number(weight)}" for name, weight in strength["weights"].items())
                yield "strength", f"factor {_number(strength['factor'])}: {weights}"
            if certificate := trained.get("certificate"):
                yield "certificate", _certificate(certificate)
            if plugins := trained.get("plugins"):
                yield "plug-ins", ", ".join(f"{name} {version}" for name, version in plugins.items())
            if device := trained.get("device"):
                yield "trained on", _device(device)


def _cells(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value) if isinstance(value, float) else value}" for name, value in row.items())


def _certificate(certificate: Mapping[str, Any]) -> str:
    hashes = {"from": certificate["initial_weights"], "to": certificate["final_weights"]}
    weights = " ".join(f"{word} {found[:12]}" for word, found in hashes.items() if found)
    return f"weights {weights}, torch {certificate['torch']}, hsu-service {certificate['version']}"


def _device(device: Mapping[str, Any]) -> str:
    many = f"{device['count']} × " if device["count"] > 1 else ""
    return f"{many}{device['type']} {device['name']}, threads {device['threads']}"


def _placed(spec: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Leave out the coordinates, which can be 40,000 numbers. `float` also reads the strings "NaN" and "Infinity"."""
    mirrored = " with their mirror images" if spec["half_space"] else ""
    yield "points", f"{spec['n']} in {spec['d']} dimensions{mirrored} (--json prints them)"
    yield "value", f"{float(result['value']):.10g}" + (f" (worst pole: {result['inner']})" if result["inner"] else "")
    known = result["best_known"]
    if known is None:
        yield "best known", "nothing to compare with"
        return
    yield (
        "best known",
        f"{float(known['value']):.10g} ({'' if known['is_proven'] else 'not '}proven; {known['source']})",
    )
    yield "gap", f"{float(result['gap']):.3g}"


def _worth_a_line(view: Job, shown: str) -> bool:
    return _stage(view) != shown


def _stage(view: Job) -> str:
    """A text that a plain log shows once: each state, and each tenth of the steps."""
    tenth = int(10 * _part(view)) if view["state"] not in ENDED else 10
    return f"{view['state']} {tenth}"


def _bar(view: Job, width: int = 24) -> str:
    done = int(width * _part(view))
    return "█" * done + "░" * (width - done)


def _part(view: Job) -> float:
    """The progress of a job, from 0 to 1; 0 where the service cannot read the spec, and so does not know it."""
    return view["step"] / view["total_steps"] if view["total_steps"] else 0.0


def _energy_of(layer: str) -> str:
    return FINAL_ENERGY if layer == "classifier" else HIDDEN_ENERGY


def _row(curve: Curve) -> list[str]:
    numbers = (curve.values[0], curve.values[-1], curve.random, curve.optimum, curve.bound)
    shown = ["" if number is None else _number(number) for number in numbers]
    return [curve.layer or "(model)", curve.measure, str(len(curve.values)), *shown, curve.bound_source or ""]


def _is_number(cell: str) -> bool:
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


def _why(waiting: Mapping[str, Any]) -> str:
    when = _span(waiting["starts_in"])
    return f"{waiting['detail']}; about {when} to go" if when else str(waiting["detail"])


def _span(seconds: float | None) -> str:
    """A readable length of time; empty if it is not known."""
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _standing(checkpoint: Mapping[str, Any]) -> str:
    return checkpoint["removed_because"] or ("best" if checkpoint["is_best"] else "")


def size(count: int) -> str:
    """A number of bytes."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _maybe(value: float | str | None) -> str:
    """A number, also one of the strings "NaN" and "Infinity"."""
    return "" if value is None else _number(float(value))


def _number(value: float) -> str:
    return f"{value:.6g}"
