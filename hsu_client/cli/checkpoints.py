"""Which commands does `hsu` have for the saved states and files of a job?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO

import click

from hsu_client.cli import render, terminal
from hsu_client.client import Client
from hsu_client.download import DamagedDownload, Report

JOB = click.argument("job_id", metavar="ID", type=click.IntRange(min=1))


@click.command()
@JOB
@click.option("--removed", is_flag=True, help="Also those that are no longer there.")
@click.pass_obj
def checkpoints(client: Client, job_id: int, *, removed: bool) -> None:
    """The checkpoints of a job, from which it and its forks continue."""
    terminal.echo(render.table(render.checkpoints(client.checkpoints(job_id, removed=removed))))


@click.command()
@JOB
@click.option("--delete", "name", help="Delete this one.")
@click.pass_obj
def files(client: Client, job_id: int, name: str | None) -> None:
    """The files that tracked run ID has saved, its states among them; `hsu download ID --file NAME` gets one."""
    if name is not None:
        client.delete_file(job_id, name)
        return
    terminal.echo(render.table(render.files(client.files(job_id))))


@click.command()
@JOB
@click.option("--step", type=click.IntRange(min=0), help="Of the checkpoint; the newest by default.")
@click.option("--best", is_flag=True, help="The checkpoint with the best metric.")
@click.option("--weights", is_flag=True, help="The network alone, without the state of the optimizer.")
@click.option("--file", "name", help="A file that a tracked run has saved, by its name.")
@click.option("--to", type=click.Path(path_type=Path), default=".", help="A file, or a folder; here by default.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is already there.")
@click.pass_obj
def download(
    client: Client,
    job_id: int,
    step: int | None,
    name: str | None,
    to: Path,
    *,
    best: bool,
    weights: bool,
    overwrite: bool,
) -> None:
    """Download a checkpoint of job ID, a safetensors file, or with --file another one, and check its hash.

    A download that broke off goes on where it ended. `hsu_core.load(FILE)` in Python makes the network.
    """
    if best and step is not None:
        raise click.UsageError("give --step or --best, not both")
    if name is not None and (best or weights or step is not None):
        raise click.UsageError("--step, --best and --weights are for checkpoints, --file is for another file")
    how: Any = {"overwrite": overwrite, "report": progress(sys.stderr)}
    try:
        if name is not None:
            path = client.download_file(job_id, name, to, **how)
        else:
            path = client.download(job_id, to, step=step, best=best, part="weights" if weights else "all", **how)
    except FileExistsError as error:
        raise click.ClickException(f"{error}: give another name (--to), or --overwrite") from error
    except (OSError, DamagedDownload) as error:
        raise click.ClickException(str(error)) from error
    terminal.echo([str(path)])


def progress(out: TextIO) -> Report:
    """Shows how much is there: in one line that is rewritten on a terminal, else once, at the end."""

    def report(done: int, size: int) -> None:
        if not out.isatty() and done < size:
            return
        text = f"{render.size(done)} of {render.size(size)}"
        print(f"\r\x1b[K{text}" if out.isatty() else text, end="\n" if done == size else "", file=out, flush=True)

    return report
