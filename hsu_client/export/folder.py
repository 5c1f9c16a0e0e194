"""How does a job become a folder that is read without anything of ours? One plain file for each part of it.

    DIR/3-digits/job.json, spec.json, result.json    what the service shows of it
    DIR/3-digits/events.jsonl                        what happened to it, an event a line
    DIR/3-digits/curves.parquet                      every point: layer, measure, step, time, value (or curves.csv)
    DIR/3-digits/logs/attempt-1.txt                  what its attempts printed
    DIR/3-digits/weights/step-250.safetensors        the network of each checkpoint
    DIR/3-digits/files/…                             what a tracked run has saved besides
    DIR/3-digits/MANIFEST                            the sha256 of each file: `sha256sum --check MANIFEST`

It is made in a hidden folder, and appears when it is whole. An export that broke off goes on with the weights that it
has already. Needs no library.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from hsu_client.client import Client
from hsu_client.export.run import Run

MANIFEST = "MANIFEST"
ARCHIVES = ("zip", "tar")


def write(
    client: Client,
    job_id: int,
    folder: Path,
    *,
    curves: Literal["parquet", "csv"] = "parquet",
    archive: Literal["zip", "tar"] | None = None,
) -> Path:
    """Write a job into a folder of its own below this one, or into an archive; FileExistsError if it is there."""
    run = Run(client.job(job_id), [])
    target = folder / (f"{run.name}.{archive}" if archive else run.name)
    if target.exists():
        raise FileExistsError(f"{target} is already there: remove it, or name another folder")
    partial = folder / f".{run.name}.part"
    partial.mkdir(parents=True, exist_ok=True)
    _fill(client, run, partial, curves=curves)
    if archive is None:
        return partial.rename(target)
    packed = _packed(partial, run.name, archive)
    shutil.rmtree(partial)
    return packed.rename(target)


def _fill(client: Client, run: Run, folder: Path, *, curves: str) -> None:
    job_id = run.job["id"]
    for name, value in (("job", dict(run.job)), ("spec", run.job["spec"]), ("result", run.job["result"])):
        _write(folder / f"{name}.json", [json.dumps(value, indent=2, ensure_ascii=False)])
    _write(folder / "events.jsonl", (json.dumps(event, ensure_ascii=False) for event in client.events(job_id)))
    with (folder / f"curves.{curves}").open("wb") as out:
        out.writelines(client.curves_file(job_id, form=curves, times=True))
    _write_logs(client, run, folder / "logs")
    _write_weights(client, job_id, folder / "weights")
    _write_files(client, job_id, folder / "files")
    _write(folder / MANIFEST, _sums(folder))


def _write_logs(client: Client, run: Run, folder: Path) -> None:
    for number in range(1, run.job["attempt_count"] + 1):
        folder.mkdir(exist_ok=True)
        with (folder / f"attempt-{number}.txt").open("w", encoding="utf-8", newline="") as out:
            out.writelines(client.log(run.job["id"], attempt=number))


def _write_weights(client: Client, job_id: int, folder: Path) -> None:
    for row in client.checkpoints(job_id):
        folder.mkdir(exist_ok=True)
        client.download(job_id, folder / f"step-{row['step']}.safetensors", step=row["step"], part="weights")


def _write_files(client: Client, job_id: int, folder: Path) -> None:
    for row in client.files(job_id):
        if row["step"] is None:  # the others are checkpoints
            target = folder / row["name"]
            if ".." in target.parts:
                raise OSError(f"the service names a file {row['name']!r}, which leads out of the folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(job_id, row["name"], target)


def _sums(folder: Path) -> Iterable[str]:
    """A line for each file, as `sha256sum` writes it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            with path.open("rb") as file:
                yield f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(folder).as_posix()}"


def _packed(folder: Path, name: str, archive: str) -> Path:
    """An archive of the folder beside it, in which it has this name."""
    named = folder.with_name(f".{name}.packed") / name
    named.parent.mkdir(exist_ok=True)
    shutil.rmtree(named, ignore_errors=True)
    folder.rename(named)
    try:
        return Path(shutil.make_archive(str(folder), archive, named.parent, name))
    finally:
        named.rename(folder)
        named.parent.rmdir()


def _write(path: Path, lines: Iterable[Any]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{line}\n" for line in lines)
