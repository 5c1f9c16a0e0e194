"""How are jobs exported from a terminal? By `hsu export`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from hsu_client.client import Client
from hsu_client.export import run as runs
from hsu_client.export import wandb_jsonl
from hsu_client.export.run import Run


@click.command()
@click.argument("job_ids", metavar="ID...", type=click.IntRange(min=1), nargs=-1, required=True)
@click.option(
    "--to",
    "target",
    metavar="TOOL TARGET",
    nargs=2,
    type=(click.Choice(["tensorboard", "mlflow", "wandb-jsonl"]), str),
    required=True,
    help="tensorboard DIR, mlflow URI (of a tracking server or a store), or wandb-jsonl DIR or FILE.jsonl.",
)
@click.option("--experiment", default="hsu", show_default=True, help="Of MLflow's.")
@click.pass_obj
def export(client: Client, job_ids: Sequence[int], target: tuple[str, str], experiment: str) -> None:
    """Export jobs with all their curves to another tool; a repeated export adds what is new."""
    tool, where = target
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
