"""Everything that one call can learn from a GPU: is the library right there, and how fast?

    python benchmarks/gpu.py --out DIR [--minutes 9] [--device cuda] [--small]

Writes DIR/gpu.json after every part, so that a call that is cut short leaves what it measured, and DIR/gpu.md, the
tables for docs/performance.md, with chip and date. Exits with 1 if a check does not hold or a part failed. A part for
which no time is left is named as left out.

Library only: no Postgres, no network, nothing of the service. It needs torch 2.6 or newer, numpy, scipy, safetensors,
scikit-learn, jaxtyping, and pydantic 2.12 or newer; where pydantic is missing, carry the wheels of `pydantic`,
`pydantic-core`, `annotated-types`, `typing-extensions` and `typing-inspection`. It runs from the root of a checkout and
is not installed.

`--small` makes each part as small as it can be, on any device: so the tests run it on a CPU. Its times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import device_checks, launches, regularizers, training
from hsu_core import fast, models, spec
from hsu_core import regularizers as penalties

Row = dict[str, Any]
MARGIN = 5.0
"""Seconds before the end in which no further row is begun."""


class Clock:
    """How much time is left."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    @property
    def is_over(self) -> bool:
        """Whether nothing more should begin."""
        return time.monotonic() > self._end - MARGIN


class Size(NamedTuple):
    """How much of everything."""

    rounds: int
    steps: int
    """Training steps in a round."""
    batch: int
    head: tuple[int, int]
    networks: tuple[str, ...]
    penalties: tuple[str, ...]
    is_small: bool


FULL = Size(5, 50, 128, (100_000, 512), tuple(regularizers.NETWORKS), tuple(launches.KINDS), is_small=False)
SMALL = Size(1, 1, 8, (600, 16), ("CNN-9",), ("mhe", "mgd"), is_small=True)


def main() -> None:
    """Run the parts, write the files, print the tables."""
    options = _options()
    device, size = torch.device(options.device), SMALL if options.small else FULL
    clock = Clock(options.minutes)
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"machine": _machine(device), "is_small": size.is_small, "parts": {}}
    for name, part in PARTS.items():
        report["parts"][name] = _run(part, device, size, clock)
        (folder / "gpu.json").write_text(json.dumps(report, indent=1))
        (folder / "gpu.md").write_text(_tables(report))
        print(f"{name}: {_in_brief(report['parts'][name])}", file=sys.stderr, flush=True)
    print(_tables(report))
    sys.exit(any(_is_bad(part) for part in report["parts"].values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder for gpu.json and gpu.md")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="each part as small as it can be")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no GPU; expected one, or --device cpu --small")
    return options


def _run(part: Callable[..., Iterator[Row]], device: torch.device, size: Size, clock: Clock) -> dict[str, Any]:
    """The rows of a part, how long it took, and whether it failed or the time ran out."""
    began = time.monotonic()
    found: dict[str, Any] = {"rows": [], "error": None, "is_cut_short": False}
    try:
        for row in part(device, size):
            found["rows"].append(row)
            if clock.is_over:
                found["is_cut_short"] = True
                break
    except Exception:
        found["error"] = traceback.format_exc()
    found["seconds"] = round(time.monotonic() - began, 1)
    return found


# --- the parts --------------------------------------------------------------------------------------------------------


def checks(device: torch.device, size: Size) -> Iterator[Row]:
    """Is it right?"""
    for check in device_checks.all_checks(device, small=size.is_small):
        error = check.error if math.isfinite(check.error) else str(check.error)
        yield {"group": check.group, "name": check.name, "error": error, "tolerance": check.tolerance,
               "holds": check.holds}  # fmt: skip


def step_with_each_penalty(device: torch.device, size: Size) -> Iterator[Row]:
    """One step of cnn9 with and without each penalty, in turns: milliseconds, launches, waits of the host."""
    for precision in ("fp32", "bf16"):
        plain = _cnn9_step(None, device, size, precision)
        for name in size.penalties:
            step = _cnn9_step(launches.KINDS[name], device, size, precision)
            times = _in_turns({"plain": plain, "penalized": step}, device, size)
            counts, plain_counts = _counts(step, device), _counts(plain, device)
            yield {
                "penalty": name,
                "precision": precision,
                "plain_ms": 1e3 * times["plain"],
                "step_ms": 1e3 * times["penalized"],
                "share": times["penalized"] / times["plain"] - 1,
                "launches": counts.launches - plain_counts.launches,
                "plain_launches": plain_counts.launches,
                "waits": counts.waits - plain_counts.waits,
            }


def training_loop(device: torch.device, size: Size) -> Iterator[Row]:
    """Samples a second of `train`, which records the whole panel every 50 steps, beside a plain loop."""
    images = training.random_images()
    for precision in ("fp32", "bf16"):
        plain = training.Plain(bf16=precision == "bf16", channels_last=True)
        ours, theirs = [], []
        for _ in range(size.rounds):
            ours.append(_seconds_of_train(images, precision, device, size.steps))
            theirs.append(_seconds_of_plain(images, plain, device, size.steps))
        rates = [training.BATCH * size.steps / statistics.median(taken) for taken in (ours, theirs)]
        yield {"precision": precision, "train": rates[0], "plain": rates[1], "ratio": rates[0] / rates[1]}


def classifier_head(device: torch.device, size: Size) -> Iterator[Row]:
    """Value and gradient of the energy of a large classifier: seconds, and memory beyond the weights' own."""
    n, d = size.head
    for form, low in (("fp32", False), ("products in bf16", True)):
        w = torch.randn(n, d, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
        run = partial(_backward, partial(fast.riesz, s=2.0, low_precision=low), w)
        run()
        before = _memory(device)
        times = [_seconds(run, device) for _ in range(size.rounds)]
        seconds = statistics.median(times)
        yield {
            "shape": f"{n} × {d}",
            "form": form,
            "seconds": seconds,
            "tflops": 4 * n * n * d / seconds / 1e12,
            "extra_gib": (_peak(device) - before) / 2**30 if device.type == "cuda" else None,
        }


def penalties_table(device: torch.device, size: Size) -> Iterator[Row]:
    """The speed table of benchmarks/regularizers.py on this device."""
    for case in regularizers.cases()[: 1 if size.is_small else None]:
        for network in case.networks:
            if network in size.networks:
                yield regularizers.measure(case, network, rounds=size.rounds, device=str(device))._asdict()


PARTS: dict[str, Callable[[torch.device, Size], Iterator[Row]]] = {
    "checks": checks,
    "step": step_with_each_penalty,
    "loop": training_loop,
    "head": classifier_head,
    "penalties": penalties_table,
}


# --- a step of cnn9 ---------------------------------------------------------------------------------------------------


def _cnn9_step(
    chosen: spec.LayerPenalty | None, device: torch.device, size: Size, precision: str
) -> Callable[[], None]:
    model = models.build(spec.CNN9(), training.FACTS, seed=0).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, fused=True)
    penalty = penalties.build(chosen or spec.NoRegularizer(), model, seed=0, total_steps=10**6)
    images = torch.randn(size.batch, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(training.FACTS.classes, (size.batch,), device=device)
    numbers = iter(range(10**6))

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits = model(images)
        loss = cross_entropy(logits.float(), labels)
        number = next(numbers)
        if chosen:
            loss = loss + penalty(number, lr=1e-3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _in_turns(runs: dict[str, Callable[[], None]], device: torch.device, size: Size) -> dict[str, float]:
    """Median seconds of one step of each; a first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(size.rounds + 1):
        for name, run in runs.items():
            times[name].append(_seconds(lambda run=run: [run() for _ in range(size.steps)], device) / size.steps)
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


class Counts(NamedTuple):
    """What the host asks of the device in one step."""

    launches: int
    """Kernels; on a CPU, calls of ATen operators."""
    waits: int
    """Times that the host waits for the device; on a CPU, times that it reads a number out of a tensor."""


LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
READS = "aten::_local_scalar_dense"


def _counts(step: Callable[[], None], device: torch.device) -> Counts:
    """The second step's less those of an empty profile, which waits for the device at its end."""
    step()
    found, empty = _profiled(step, device), _profiled(lambda: None, device)
    return Counts(found.launches - empty.launches, found.waits - empty.waits)


def _profiled(run: Callable[[], None], device: torch.device) -> Counts:
    activity = torch.profiler.ProfilerActivity
    activities = [activity.CPU, activity.CUDA] if device.type == "cuda" else [activity.CPU]
    _synchronize(device)
    with torch.profiler.profile(activities=activities) as profile:
        run()
    calls = {event.key: event.count for event in profile.key_averages()}
    if device.type == "cuda":
        return Counts(sum(calls.get(name, 0) for name in LAUNCHES), sum(calls.get(name, 0) for name in WAITS))
    return Counts(sum(count for name, count in calls.items() if name.startswith("aten::")), calls.get(READS, 0))


# --- the loop ---------------------------------------------------------------------------------------------------------


def _seconds_of_train(images: Any, precision: str, device: torch.device, steps: int) -> float:
    """Of `steps` steps after a first one, from one question whether to stop to another."""
    asked, began, ended = 0, 0.0, 0.0

    def should_stop() -> bool:
        nonlocal asked, began, ended
        asked += 1
        if asked == 2:
            _synchronize(device)
            began = time.perf_counter()
        if asked == steps + 2:
            _synchronize(device)
            ended = time.perf_counter()
        return asked == steps + 2

    training.train(images, precision, should_stop=should_stop, device=str(device))
    return ended - began


def _seconds_of_plain(images: Any, plain: training.Plain, device: torch.device, steps: int) -> float:
    loop = training.plain_loop(images, plain, device=str(device))
    next(loop)
    return _seconds(lambda: [next(loop) for _ in range(steps)], device)


# --- clocks and memory ------------------------------------------------------------------------------------------------


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    _synchronize(device)
    began = time.perf_counter()
    run()
    _synchronize(device)
    return time.perf_counter() - began


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _backward(energy: device_checks.Energy, w: torch.Tensor) -> None:
    w.grad = None
    energy(w).backward()


def _memory(device: torch.device) -> int:
    """Bytes allocated now; the peak is counted from here on."""
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device)


# --- the report -------------------------------------------------------------------------------------------------------


def _machine(device: torch.device) -> dict[str, str | None]:
    is_gpu = device.type == "cuda"
    return {
        "chip": torch.cuda.get_device_name(device) if is_gpu else f"CPU, {platform.machine()}",
        "cuda": torch.version.cuda if is_gpu else None,
        "cudnn": str(torch.backends.cudnn.version()) if is_gpu else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _is_bad(part: dict[str, Any]) -> bool:
    return part["error"] is not None or any(not row.get("holds", True) for row in part["rows"])


def _in_brief(part: dict[str, Any]) -> str:
    end = "failed" if part["error"] else "cut short" if part["is_cut_short"] else "done"
    broken = sum(not row.get("holds", True) for row in part["rows"])
    return f"{end} after {part['seconds']} s, {len(part['rows'])} rows{f', {broken} DO NOT HOLD' if broken else ''}"


def _tables(report: dict[str, Any]) -> str:
    """What docs/performance.md quotes."""
    machine = ", ".join(f"{name} {value}" for name, value in report["machine"].items() if value)
    lines = [f"`python benchmarks/gpu.py`: {machine}", ""]
    if report["is_small"]:
        lines += ["Small: the times mean nothing.", ""]
    for name, part in report["parts"].items():
        lines += [f"### {name}: {_in_brief(part)}", ""]
        if part["error"]:
            lines += ["```", part["error"].rstrip(), "```", ""]
        rows = _checks_by_group(part["rows"]) if name == "checks" else part["rows"]
        lines += [*_table(rows), ""]
    return "\n".join(lines)


def _checks_by_group(rows: list[Row]) -> list[Row]:
    """How many checks hold in each group, the one nearest to its tolerance, and each one that does not hold."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    found = [
        {"group": group, "holds": f"{sum(row['holds'] for row in own)} of {len(own)}", **_worst(own)}
        for group, own in groups.items()
    ]
    return found + [dict(row) for row in rows if not row["holds"]]


def _worst(rows: list[Row]) -> Row:
    def closeness(row: Row) -> float:
        return float(row["error"]) / (row["tolerance"] or 1e-300)

    return {name: max(rows, key=closeness)[name] for name in ("name", "error", "tolerance")}


def _table(rows: list[Row]) -> list[str]:
    if not rows:
        return ["(no rows)"]
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    return lines + [f"| {' | '.join(_cell(row.get(name)) for name in names)} |" for row in rows]


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)


if __name__ == "__main__":
    main()
