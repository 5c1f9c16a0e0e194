"""How does a command stay with jobs until they have ended, and what if the user leaves earlier?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from hsu_client.cli import render, terminal
from hsu_client.client import Client

DETACHED = 130
"""The exit code after Ctrl-C, as shells have it."""


@contextmanager
def detaching(*job_ids: int) -> Iterator[None]:
    """Inside, Ctrl-C ends the command and not the jobs, and says so."""
    try:
        yield
    except KeyboardInterrupt:
        jobs = f"job {job_ids[0]} goes on" if len(job_ids) == 1 else f"{len(job_ids)} jobs go on"
        click.echo(f"\nno longer following: {jobs}; `hsu cancel ID` stops one", err=True)
        sys.exit(DETACHED)


def follow_to_end(client: Client, job_id: int) -> None:
    """Show the progress of a job until it has ended, then its result; exits with 1 unless it succeeded."""
    with detaching(job_id):
        job = render.progress(client.follow(job_id), sys.stderr)
    terminal.echo(render.details(job))
    if job["state"] != "succeeded":
        sys.exit(1)


@click.command()
@click.argument("job_ids", metavar="[ID]...", type=click.IntRange(min=1), nargs=-1)
@click.option("--tag", multiple=True, help="All your jobs with this tag; repeat for those with all of several.")
@click.pass_obj
def wait(client: Client, job_ids: Sequence[int], tag: Sequence[str]) -> None:
    """Wait until jobs have ended, and print each; exits with 0 only if all of them succeeded."""
    if bool(job_ids) == bool(tag):
        raise click.UsageError("give the IDs of jobs, or --tag")
    waited = list(job_ids) or [job["id"] for job in client.jobs(tag=tag, fields=("id",))]
    if not waited:
        raise click.ClickException(f"no job has the tag {' and '.join(tag)}")
    states = set()
    with detaching(*waited):
        for job_id in waited:
            *_, job = client.follow(job_id)
            terminal.echo([render.line(job)])
            states.add(job["state"])
    if states != {"succeeded"}:
        sys.exit(1)
