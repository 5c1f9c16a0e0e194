"""A job as a folder of plain files: all of it, exact, with the hash of each file."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from hsu_client.cli.main import main
from hsu_client.client import Client
from hsu_client.export import folder
from hsu_core.outcomes import Saved


def test_every_part_of_a_job_is_there(client: Client, whole: int, saved: list[Saved], tmp_path: Path) -> None:
    written = folder.write(client, whole, tmp_path / "new" / "folder")
    assert written.name == f"{whole}-digits-with-mhe"
    assert {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()} == {
        *("job.json", "spec.json", "result.json", "events.jsonl", "curves.parquet", "logs/attempt-1.txt", "MANIFEST"),
        *(f"weights/step-{state.step}.safetensors" for state in saved),
    }
    job = client.job(whole)
    for name, value in (("job", job), ("spec", job["spec"]), ("result", job["result"])):
        assert json.loads((written / f"{name}.json").read_text(encoding="utf-8")) == value
    events = [json.loads(line) for line in (written / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert events == list(client.events(whole))
    assert (written / "logs" / "attempt-1.txt").read_bytes().decode() == "epoch 1\r\nepoch 2: ∇ = 0\n"
    for state in saved:
        network = client.job(whole).model(step=state.step).state_dict()
        kept = load_file(written / "weights" / f"step-{state.step}.safetensors")
        assert {name.removeprefix("model/") for name in kept} == set(network)
        assert all((kept[f"model/{name}"] == value).all() for name, value in network.items())
    assert [path for path in written.parent.iterdir() if path != written] == []


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_curves_are_exact(client: Client, whole: int, tmp_path: Path, form: Literal["parquet", "csv"]) -> None:
    file = folder.write(client, whole, tmp_path, curves=form) / f"curves.{form}"
    if form == "parquet":
        rows = pyarrow.parquet.read_table(file).to_pylist()
    else:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    read = {(row["layer"] or None, row["measure"], int(row["step"])): float(row["value"]) for row in rows}
    told = {
        (curve.layer, curve.measure, step): value
        for curve in client.curves(whole)
        for step, value in zip(curve.steps, curve.values, strict=True)
    }
    assert read.keys() == told.keys()
    for point, value in told.items():
        assert read[point] == value or (math.isnan(read[point]) and math.isnan(value))
    assert all(float(row["time"]) > 1e9 for row in rows)


def test_the_manifest_has_the_hash_of_each_file(client: Client, whole: int, tmp_path: Path) -> None:
    written = folder.write(client, whole, tmp_path)
    lines = (written / "MANIFEST").read_text(encoding="utf-8").splitlines()
    hashes = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = [path for path in written.rglob("*") if path.is_file() and path.name != "MANIFEST"]
    assert hashes == {
        path.relative_to(written).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    check = ["sha256sum", "--check", "--strict", "--quiet", "MANIFEST"]
    assert subprocess.run(check, cwd=written, check=False).returncode == 0
    (written / "spec.json").write_text("{}", encoding="utf-8")
    assert subprocess.run(check, cwd=written, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_an_archive_holds_the_folder(client: Client, whole: int, tmp_path: Path, form: Literal["zip", "tar"]) -> None:
    plain = folder.write(client, whole, tmp_path / "plain")
    packed = folder.write(client, whole, tmp_path / "packed", archive=form)
    assert packed.name == f"{plain.name}.{form}"
    assert list(packed.parent.iterdir()) == [packed]
    if form == "zip":
        zipfile.ZipFile(packed).extractall(tmp_path)
    else:
        with tarfile.open(packed) as opened:
            opened.extractall(tmp_path, filter="data")
    names = [path.relative_to(plain) for path in plain.rglob("*") if path.is_file()]
    for name in names:
        assert (tmp_path / plain.name / name).read_bytes() == (plain / name).read_bytes()


def test_an_export_that_broke_off_goes_on_and_nothing_is_replaced(
    client: Client, whole: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = folder.write(client, whole, tmp_path / "first")
    with monkeypatch.context() as patched:
        patched.setattr(folder, "_sums", None)  # it breaks off at the end
        with pytest.raises(TypeError):
            folder.write(client, whole, tmp_path)
    assert not (tmp_path / first.name).exists()
    kept = next(tmp_path.glob(".*.part/weights/step-2.safetensors"))
    before = kept.stat().st_ino
    written = folder.write(client, whole, tmp_path)
    assert (written / "weights" / "step-2.safetensors").stat().st_ino == before
    assert (written / "MANIFEST").read_bytes() == (first / "MANIFEST").read_bytes()
    with pytest.raises(FileExistsError, match="is already there: remove it, or name another folder"):
        folder.write(client, whole, tmp_path)
    shutil.rmtree(written)
    assert folder.write(client, whole, tmp_path) == written


def test_a_job_that_never_ran_has_what_there_is(client: Client, whole: int, tmp_path: Path) -> None:
    waiting = client.submit({**client.job(whole)["spec"], "name": "never ran"})["id"]
    client.cancel(waiting)
    written = folder.write(client, waiting, tmp_path)
    assert not (written / "weights").exists()
    assert not (written / "logs").exists()
    assert json.loads((written / "result.json").read_text(encoding="utf-8")) is None
    assert pyarrow.parquet.read_table(written / "curves.parquet").num_rows == 0


def test_people_type_it(served: Any, whole: int, tmp_path: Path) -> None:
    def hsu(*arguments: str) -> Result:
        environment = {"HSU_URL": served.url, "HSU_API_KEY": served.key}
        return CliRunner().invoke(main, ["export", str(whole), "--to", *arguments], env=environment)

    done = hsu("folder", str(tmp_path), "--curves", "csv")
    assert done.output == f"job {whole}: {tmp_path}/{whole}-digits-with-mhe\n"
    assert hsu("folder", str(tmp_path), "--archive", "zip").exit_code == 0
    again = hsu("folder", str(tmp_path))
    assert (again.exit_code, "is already there" in again.stderr) == (1, True)
    wrong = hsu("wandb-jsonl", str(tmp_path), "--archive", "zip")
    assert (wrong.exit_code, "--archive is for a folder, found --to wandb-jsonl" in wrong.stderr) == (2, True)
