"""How are jobs exported from a terminal? By `hsu export`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import click

from hsu_client.client import Client
from hsu_client.export import folder, wandb_jsonl
from hsu_client.export import run as runs
from hsu_client.export.run import Run


@click.command()
@click.argument("job_ids", metavar="ID...", type=click.IntRange(min=1), nargs=-1, required=True)
@click.option(
    "--to",
    "target",
    metavar="TOOL TARGET",
    nargs=2,
    type=(click.Choice(["folder", "tensorboard", "mlflow", "wandb-jsonl"]), str),
    required=True,
    help="folder DIR, tensorboard DIR, mlflow URI (of a tracking server or a store), wandb-jsonl DIR or FILE.jsonl.",
)
@click.option("--experiment", default="hsu", show_default=True, help="Of MLflow's.")
@click.option("--archive", type=click.Choice(folder.ARCHIVES), help="A folder in one file.")
@click.option(
    "--curves", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True, help="Of a folder."
)
@click.pass_obj
def export(
    client: Client,
    job_ids: Sequence[int],
    target: tuple[str, str],
    experiment: str,
    archive: Literal["zip", "tar"] | None,
    curves: Literal["parquet", "csv"],
) -> None:
    """Export jobs with all their curves: to another tool, or with logs and weights to a folder of plain files.

    A repeated export to a tool adds what is new; a folder that is already there is refused.
    """
    tool, where = target
    if tool == "folder":
        for job_id in job_ids:
            try:
                written = folder.write(client, job_id, Path(where), curves=curves, archive=archive)
            except OSError as error:
                raise click.ClickException(str(error)) from error
            click.echo(f"job {job_id}: {written}")
        return
    if archive:
        raise click.UsageError(f"--archive is for a folder, found --to {tool}")
    if where.endswith(".jsonl") and len(job_ids) > 1:
        raise click.ClickException(f"{where} holds one job; for several name a folder")
    try:
        take = _tool(tool, where, experiment)
    except ModuleNotFoundError as error:
        raise click.ClickException(f"this needs {error.name}: install the `{tool}` extra") from error
    for job_id in job_ids:
        click.echo(f"job {job_id}: {take(runs.read(client, job_id))}")


def _tool(tool: str, where: str, experiment: str) -> Callable[[Run], object]:
    """The function that exports a run; the libraries are heavy, and only needed here."""
    match tool:
        case "tensorboard":
            from hsu_client.export import tensorboard

            return lambda run: tensorboard.write(run, Path(where))
        case "mlflow":
            from hsu_client.export import mlflow

            return lambda run: f"run {mlflow.log(run, where, experiment=experiment)}"
        case _ if where.endswith(".jsonl"):
            return lambda run: wandb_jsonl.write_history(run, Path(where))
        case _:
            return lambda run: wandb_jsonl.write(run, Path(where))
