"""In which fields do jobs differ, and in what did they end?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click

from hsu_client.answers import Job
from hsu_client.cli import terminal
from hsu_client.cli.render import table
from hsu_client.client import Client
from hsu_client.export.run import Run

Flat = Mapping[str, object]


@click.command()
@click.argument("job_ids", metavar="ID ID...", type=click.IntRange(min=1), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="An object: for each field its value of each job.")
@click.pass_obj
def diff(client: Client, job_ids: Sequence[int], *, as_json: bool) -> None:
    """What is different in the specs and the results of jobs, a row for each field; empty where a job has none."""
    if len(set(job_ids)) < 2:
        raise click.UsageError("give the IDs of two jobs or more")
    jobs = {job_id: client.job(job_id) for job_id in dict.fromkeys(job_ids)}
    found = differences(list(jobs.values()))
    if as_json:
        terminal.echo_json({field: dict(zip(jobs, values, strict=True)) for field, values in found.items()})
        return
    if not found:
        terminal.echo(["no difference"])
        return
    head = ["field", *(f"job {job_id}" for job_id in jobs)]
    terminal.echo(table([head, *([field, *map(_cell, values)] for field, values in found.items())]))


def differences(jobs: Sequence[Job]) -> dict[str, list[object]]:
    """The values of each field in which the jobs differ; None where a job has none. Results as `result.loss`."""
    flat = [_flat(job) for job in jobs]
    fields = dict.fromkeys(field for each in flat for field in each)
    values = {field: [each.get(field) for each in flat] for field in fields}
    return {field: found for field, found in values.items() if any(one != found[0] for one in found)}


def _flat(job: Job) -> Flat:
    run = Run(job, [])
    return {**run.parameters, **{f"result.{name}": value for name, value in run.result.items()}}


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case float():
            return f"{value:.6g}"
        case _:
            return json.dumps(value)
