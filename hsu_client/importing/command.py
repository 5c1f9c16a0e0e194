"""How are runs of other tools imported from a terminal? By `hsu import`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from hsu_client.client import Client
from hsu_client.importing import sending
from hsu_client.importing.source import ForeignRun, Found, Unreadable
from hsu_client.problem import Problem


@click.command(name="import")
@click.option(
    "--from",
    "origin",
    metavar="TOOL SOURCE",
    nargs=2,
    type=(click.Choice(["mlflow", "tensorboard"]), str),
    required=True,
    help="mlflow URI (of a tracking server or a store), tensorboard DIR.",
)
@click.option("--experiment", "experiments", multiple=True, help="Of MLflow's; all by default.")
@click.option("--again", is_flag=True, help="Also runs that are there already, as new ones.")
@click.pass_obj
def import_runs(client: Client, origin: tuple[str, str], experiments: Sequence[str], *, again: bool) -> None:
    """Import runs of other tools, as tracked runs: curves, configuration, tags, times and how they ended.

    A run that is there already is not imported twice. What cannot be read is told, and the rest is imported; the exit
    code is then 1.
    """
    tool, where = origin
    is_whole = True
    try:
        for run in _runs(tool, where, experiments):
            is_whole &= _import(client, run, again=again)
    except ModuleNotFoundError as error:
        raise click.ClickException(f"this needs {error.name}: install the `{tool}` extra") from error
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if not is_whole:
        raise click.exceptions.Exit(1)


def _runs(tool: str, where: str, experiments: Sequence[str]) -> Found:
    """The runs; the libraries are heavy, and only needed here."""
    if tool == "mlflow":
        from hsu_client.importing import mlflow

        return mlflow.read(where, experiments)
    if experiments:
        raise click.UsageError("--experiment is for MLflow")
    from hsu_client.importing import tensorboard

    return tensorboard.read(Path(where))


def _import(client: Client, run: ForeignRun | Unreadable, *, again: bool) -> bool:
    """Import a run and tell what became of it; returns whether all of it was."""
    if isinstance(run, Unreadable):
        click.echo(f"{run.name}: {run.reason}", err=True)
        return False
    try:
        done = sending.send(client, run, again=again)
    except Problem as error:
        click.echo(f"{run.name}: {error}", err=True)
        return False
    for fault in run.broken:
        click.echo(f"{run.name}: {fault}", err=True)
    if done.was_there:
        more = f"; the run has {done.grown:,} more by now: --again imports it as a new one" if done.grown else ""
        click.echo(f"job {done.job}: {run.name}, is there already{more}")
        return not run.broken
    more = f", {run.left_out:,} left out: a curve has one value a step" if run.left_out else ""
    click.echo(f"job {done.job}: {run.name}, {done.values:,} values of {len(run.histories)} curves{more}")
    return not run.broken
