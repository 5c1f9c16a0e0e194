"""Which command of `hsu` runs a job's steps again, and compares?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hsu_client import verification
from hsu_client.cli import terminal
from hsu_client.client import Client


@click.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True, help="How many, at least.")
@click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="HSU_DATA_DIR",
    show_envvar=True,
    help="The folder with the files of data sets.",
)
@click.option("--download", "allow_download", is_flag=True, help="Fetch a data set that is not there.")
@click.pass_obj
def verify(client: Client, job_id: int, steps: int, data_dir: Path | None, *, allow_download: bool) -> None:
    """Run the first and the last steps of job ID again, on this machine, and compare them with its record.

    Says that all is equal, or at which step, in which curve and by how much it differs; then it exits with 1. Needs the
    extra `core`.
    """
    try:
        done = verification.verify(client, job_id, steps=steps, data_dir=data_dir, allow_download=allow_download)
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from error
    terminal.echo(verification.lines(done))
    if not done.is_equal:
        sys.exit(1)
