"""A client that a generator makes of the OpenAPI document works as it is."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conformance.suite import unlimited
from samples import DIGITS

New = Callable[[], AbstractContextManager[str]]
_BIN = Path(sys.executable).parent


def test_a_generated_client_submits_looks_lists_and_reads_curves(
    new_database: New, new_redis: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as undo:
        engines = (undo.enter_context(new()) for new in (new_database, new_redis))
        served = undo.enter_context(unlimited(*engines))
        document = tmp_path / "openapi.json"  # the generator itself waits for five seconds only
        document.write_bytes(httpx2.get(f"{served.url}/openapi.json", timeout=300).content)
        _generate(document, tmp_path / "generated_hsu")
        monkeypatch.syspath_prepend(tmp_path)
        client = undo.enter_context(_part("client").AuthenticatedClient(base_url=served.url, token=served.key))
        job = _part("models.classification_job").ClassificationJob.from_dict(DIGITS)

        submitted = _part("api.jobs.submit_job").sync(client=client, body=job)
        seen = _part("api.jobs.show_job").sync(submitted.id, client=client)
        assert (seen.state.value, seen.owner, seen.name) == ("queued", "root", DIGITS["name"])
        assert seen.spec.regularizer.half_space is True

        page = _part("api.jobs.list_jobs").sync(client=client, limit=200)
        assert submitted.id in [each.id for each in page.jobs]

        (curve,) = _part("api.curves.read_curves").sync(served.job, client=client).curves
        assert (curve.layer, curve.measure, curve.steps[-1], curve.values[0]) == ("hidden_1", "mhe_s2", 19, 0.5)

        nothing = _part("api.jobs.show_job").sync(10**9, client=client)
        assert (nothing.status, nothing.code) == (404, "not_found")


def _generate(document: Path, into: Path) -> None:
    command = [str(_BIN / "openapi-python-client"), "generate", "--path", str(document)]
    command += ["--output-path", str(into), "--meta", "none", "--fail-on-warning"]
    path = {"PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}"}  # it formats what it made with ruff
    done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout.upper(), done.stdout


def _part(name: str) -> Any:
    return importlib.import_module(f"generated_hsu.{name}")
