"""The job that the README begins with, over HTTP, in real processes."""

from __future__ import annotations

import subprocess
import sys

from hsu_client.cli import render
from hsu_client.client import Client


def test_the_demo_uses_the_service_that_runs_and_its_job_learns_and_lowers_its_energy(service: dict[str, str]) -> None:
    command = [sys.executable, "-m", "embedded", "demo", "--folder", service["folder"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"using the service that runs at {service['url']}" in done.stderr

    with Client(service["url"], service["key"]) as client:
        job = next(client.jobs(state="succeeded"))
        energies = {curve.layer: curve for curve in render.energies(client.curves(job["id"]))}
    assert job["result"]["test_accuracy"] >= 0.95
    assert list(energies) == ["conv1", "conv2", "conv3", "classifier"]
    assert energies["conv1"].values[-1] < energies["conv1"].values[0]
    # Ten points in 64 dimensions can form a simplex: all distances² 20/9, so the mean of their inverses is 0.45.
    assert abs(energies["classifier"].values[-1] - 0.45) < 1e-3
    assert energies["classifier"].steps[-1] == job["total_steps"]
