"""How are MLflow's runs read, from a tracking server or a local store? Through MLflow's own client.

Needs the `mlflow` extra.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path

from hsu_client.importing import source
from hsu_client.importing.source import ForeignRun, Found, History, Unreadable

PAGE = 100
_HOW: Mapping[str, Literal["finished", "failed", "cancelled", "paused"]] = {
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "cancelled",
}
"""A run that goes on there is paused here: a later import writes it anew."""
_OWN = "mlflow."


def read(uri: str, experiments: Sequence[str] = ()) -> Found:
    """The runs of a store that were not deleted, of these experiments or of all, the oldest first.

    Raises ValueError for a name that no experiment has, and for a store that cannot be read.
    """
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder `mlruns`: newer versions only read on demand
    try:
        client = MlflowClient(tracking_uri=uri)
        there = {each.name: each.experiment_id for each in _pages(client.search_experiments)}
    except Exception as error:  # each kind of store has its own errors
        raise ValueError(f"{uri} cannot be read: {type(error).__name__}: {error}") from error
    if unknown := set(experiments) - set(there):
        raise ValueError(f"{uri} has no experiment {', '.join(sorted(unknown))}; there are {', '.join(sorted(there))}")
    for name in experiments or sorted(there):
        for run in _runs(client, uri, there[name]):
            yield run if isinstance(run, Unreadable) else _run(client, name, run)


def _runs(client: MlflowClient, uri: str, experiment_id: str) -> list[Run | Unreadable]:
    try:
        return list(_pages(client.search_runs, [experiment_id], order_by=["attributes.start_time ASC"]))
    except (MlflowException, ValueError, OSError):
        folder = Path(local_file_uri_to_path(uri)) / experiment_id  # type: ignore[no-untyped-call]
        if not folder.is_dir():
            raise
        return [_one(client, path.parent) for path in sorted(folder.glob("*/meta.yaml"))]


def _one(client: MlflowClient, folder: Path) -> Run | Unreadable:
    """A run of a folder in which one file is broken, so that MLflow lists none."""
    try:
        return client.get_run(folder.name)
    except (MlflowException, ValueError, OSError) as error:
        return Unreadable(str(folder), f"a file in it is broken: {error}")


def _pages(ask: Any, *what: Any, **how: Any) -> Iterator[Any]:
    token = None
    while True:
        page = ask(*what, max_results=PAGE, page_token=token, **how)
        yield from page
        token = page.token
        if not token:
            return


def _run(client: MlflowClient, experiment: str, run: Run) -> ForeignRun:
    info, given = run.info, dict(run.data.tags)
    own = {name: value for name, value in given.items() if not name.startswith(_OWN)}
    histories, left_out, broken = _histories(client, run)
    config = dict(run.data.params) | ({"mlflow_tags": str(own)} if own else {})
    return ForeignRun(
        tool="mlflow",
        key=info.run_id,
        name=source.plain(info.run_name or info.run_id),
        how=_HOW.get(info.status, "paused"),
        config=source.config(config),
        tags=source.tags(own | {"experiment": experiment}),
        environment=_environment(given),
        began=_seconds(info.start_time),
        ended=_seconds(info.end_time),
        histories=tuple(histories),
        left_out=left_out,
        broken=tuple(broken),
    )


def _histories(client: MlflowClient, run: Run) -> tuple[list[History], int, list[str]]:
    histories, left_out, broken = list[History](), 0, list[str]()
    for key in sorted(run.data.metrics):
        try:
            points = client.get_metric_history(run.info.run_id, key)
        except (MlflowException, OSError, ValueError) as error:
            broken.append(f"metric {key} of run {run.info.run_id}: {error}")
            continue
        logged = sorted(points, key=lambda each: each.timestamp)
        taken, surplus = source.history(key, ((each.step, each.timestamp / 1000, each.value) for each in logged))
        left_out += surplus
        histories.append(taken)
    return histories, left_out, broken


def _environment(given: Mapping[str, str]) -> dict[str, Any]:
    commit, script = given.get("mlflow.source.git.commit"), given.get("mlflow.source.name")
    found = {"git": {"commit": commit} if commit else None, "command": [script] if script else None}
    return {name: value for name, value in found.items() if value}


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else max(0.0, milliseconds / 1000)
