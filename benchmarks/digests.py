"""Do two versions of the service give the same weights and curves, bit for bit? Digests of small jobs of every kind.

    HSU_SLOTS=2 make up                                  # each version in turn; then set HSU_URL and HSU_API_KEY
    python benchmarks/digests.py --write before.json     # at the one: some 60 jobs, minutes on two cores
    python benchmarks/digests.py --compare before.json   # at the other: exits with 1 if a job differs, and says in what

Asks as any client does: of every regularizer in the catalog the default, the presets, and each switch by itself.
Checkpoints are not served: they are looked for below --artifacts, by the digests that the service tells.
Compare on one machine, with as many slots: on other processors or with other threads sums round differently.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hsu_client.answers import Curve, Job
from hsu_client.client import Client

Digests = dict[str, str]  # of one job: weights, state (of optimizer and penalty), curves, result; device in words
DIGITS: dict[str, Any] = {"dataset": {"kind": "digits"}, "duration": {"epochs": 2}, "record": {"every": 5}}
TRAINING = DIGITS | {"model": {"kind": "small_cnn"}, "optimizer": {"kind": "sgd", "lr": 0.05}}
POINTS: dict[str, Any] = {"task": "points", "n": 10, "d": 3, "starts": 4}
AUTHORS_MHP: dict[str, Any] = {"kind": "mhp", "preset": "authors"}  # its poles are part of the saved state
TWO_RANKS = TRAINING | {"name": "two ranks", "regularizer": AUTHORS_MHP, "resources": {"gpus": 2}}
PAUSED = TRAINING | {"name": "paused", "regularizer": AUTHORS_MHP, "augment": "crop_flip", "duration": {"steps": 600}}
OTHERWISE = DIGITS | {
    "name": "otherwise",
    "model": {"kind": "mlp"},
    "regularizer": {"kind": "mhe", "every": 3, "schedule": {"kind": "warmup"}},
    "optimizer": {"kind": "adamw"},
    "schedule": {"kind": "step"},
    "precision": "bf16",
}
BESIDE = ("device", "certificate")  # of a result: what tells where it comes from, such as the versions of libraries
TIMES = re.compile("second|duration|throughput")  # in the names of what measures time, and is never twice the same


def main() -> None:
    """Run the jobs, print a line for each, and write or compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kept = os.environ.get("HSU_ARTIFACTS_DIR") or Path(os.environ.get("HSU_HOME", ".hsu"), "artifacts")
    options.add_argument("--artifacts", type=Path, default=kept, help=f"the folder of the checkpoints: {kept}")
    options.add_argument("--write", type=Path, metavar="FILE")
    options.add_argument("--compare", type=Path, metavar="FILE")
    chosen = options.parse_args()
    before = json.loads(chosen.compare.read_text(encoding="utf-8")) if chosen.compare else {}
    with Client(os.environ.get("HSU_URL", "http://127.0.0.1:8000"), os.environ.get("HSU_API_KEY", "")) as client:
        found = dict(_digests(client, chosen.artifacts))
    print(f"{'all':30} {_hash([json.dumps(found, sort_keys=True).encode()])}")
    if chosen.write:
        chosen.write.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if chosen.compare:
        sys.exit("\n".join(_differences(before, found)) or None)


def _digests(client: Client, artifacts: Path) -> Iterator[tuple[str, Digests]]:
    """Of each job, by its name. The first two come before the others: they need both slots, and somebody to pause."""
    ids = [client.submit(TWO_RANKS)["id"], _paused(client)]
    for job_id in ids + [job["id"] for job in client.submit_many(list(_specs(client.catalog())))]:
        *_, job = client.follow(job_id)
        if job["state"] != "succeeded":
            sys.exit(f"{job['name']}: expected job {job_id} to succeed, found it {job['state']}: {job['failure']}")
        found = _of_checkpoint(client, job_id, artifacts) | _of_answers(job, client.curves(job_id))
        shown = (f"{part} {digest[:16]:16}" for part, digest in found.items() if part != "device")
        print(f"{job['name']:30}", *shown, flush=True)
        yield job["name"], found


def _paused(client: Client) -> int:
    """A job that stopped amid its training and is to go on from what it saved."""
    job_id: int = client.submit(PAUSED)["id"]
    next((job for job in client.follow(job_id, poll=0.2) if job["step"]), None)
    client.pause(job_id)
    next((job for job in client.follow(job_id) if job["state"] == "paused"), None)
    client.resume(job_id)
    return job_id


def _specs(catalog: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield OTHERWISE
    for entry in catalog["regularizers"]:
        for change in _changes(entry):
            name = " ".join([entry["kind"], *(f"{field}={value}" for field, value in change.items())])
            yield TRAINING | {"name": name, "regularizer": {"kind": entry["kind"], **change}}
    for entry in catalog["objectives"]:
        yield POINTS | {"name": f"points {entry['kind']}", "objective": {"kind": entry["kind"]}}


def _changes(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """None, then each preset that fills something in, then each other value of what has only a few."""
    yield {}
    yield from ({"preset": name} for name, filled in entry["presets"].items() if filled)
    for name, field in entry["parameters"]["properties"].items():
        values = (True, False) if field.get("type") == "boolean" else field.get("enum", ())
        yield from ({name: value} for value in values if value != field["default"])


def _of_checkpoint(client: Client, job_id: int, artifacts: Path) -> Digests:
    """Of the tensors of the last one, in the order of their names, without what the file says of itself."""
    last = next(iter(client.checkpoints(job_id)), None)
    if last is None:
        return {"weights": "none", "state": "none"}  # points save nothing
    for path in artifacts.rglob("*.safetensors"):
        if path.stat().st_size == last["bytes"] and _hash([content := path.read_bytes()]) == last["sha256"]:
            start = 8 + int.from_bytes(content[:8], "little")
            header = json.loads(content[8:start])
            parts: dict[str, list[bytes]] = {"weights": [], "state": []}
            for name in sorted(header.keys() - {"__metadata__"}):
                first, end = header[name]["data_offsets"]
                described = f"{name} {header[name]['dtype']} {header[name]['shape']}".encode()
                parts["weights" if name.startswith("model/") else "state"] += [described, content[start:][first:end]]
            return {part: _hash(values) for part, values in parts.items()}
    sys.exit(f"expected a file of sha256 {last['sha256']} below {artifacts}, found none")


def _of_answers(job: Job, curves: Iterable[Curve]) -> Digests:
    """Of what came of a job, and of all its curves; JSON writes a number so that no bit is lost."""
    lasting = sorted((curve.layer or "", curve.measure, curve) for curve in curves if not TIMES.search(curve.measure))
    points = [
        f"{layer}/{measure}".encode() + struct.pack(f"<{2 * len(curve.steps)}d", *curve.steps, *curve.values)
        for layer, measure, curve in lasting
    ]
    result = {name: value for name, value in job["result"].items() if name not in BESIDE and not TIMES.search(name)}
    device = "{count} x {threads} threads of {name}".format_map(job["result"]["device"])
    told = json.dumps([result, [(curve.random, curve.optimum) for *_, curve in lasting]], sort_keys=True).encode()
    return {"curves": _hash(points), "result": _hash([told]), "device": device}


def _hash(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _differences(before: Mapping[str, Digests], after: Mapping[str, Digests]) -> Iterator[str]:
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name, {}), after.get(name, {})
        if other := [part for part in old | new if old.get(part) != new.get(part)]:
            yield f"{name}: {', '.join(other)} differ" + ("" if old and new else ", as only one version has the job")


if __name__ == "__main__":
    main()
