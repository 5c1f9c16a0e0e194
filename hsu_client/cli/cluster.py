"""Which commands of `hsu` concern the cluster? Those for the queue, the machines, and users' shares and quotas."""

from __future__ import annotations

import click

from hsu_client.cli import render, terminal
from hsu_client.client import Client

WORKER = click.argument("name", metavar="NAME")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the service's own answer.")


@click.command()
@click.option("--pool", help="Only this pool.")
@AS_JSON
@click.pass_obj
def queue(client: Client, pool: str | None, *, as_json: bool) -> None:
    """Which jobs wait, why, and for how long, in the order in which they will probably start."""
    seen = client.queue(pool=pool)
    if as_json:
        terminal.echo_json(seen)
        return
    _print(render.pools(seen))
    if seen["places"]:
        click.echo()
        _print(render.places(seen))


@click.command()
@AS_JSON
@click.pass_obj
def workers(client: Client, *, as_json: bool) -> None:
    """The machines, how much of each is in use, and whether they take jobs."""
    every = client.workers()
    if as_json:
        terminal.echo_json(every)
        return
    _print(render.workers(every))


@click.group()
def worker() -> None:
    """Empty a machine, or let it take jobs again (for admins)."""


@worker.command()
@WORKER
@click.option("--now", is_flag=True, help="Do not wait for what it runs: those jobs are saved and go on elsewhere.")
@click.pass_obj
def drain(client: Client, name: str, *, now: bool) -> None:
    """Let worker NAME take no further job."""
    _print(render.workers([client.drain(name, now=now)]))


@worker.command()
@WORKER
@click.pass_obj
def restore(client: Client, name: str) -> None:
    """Let worker NAME, drained or excluded, take jobs again."""
    _print(render.workers([client.restore(name)]))


@click.command()
@click.pass_obj
def users(client: Client) -> None:
    """Shares of the cluster, GPUs in use, and GPU hours that count: all users' for an admin, otherwise your own."""
    _print(render.users(client.users()))


@click.command()
@click.argument("name")
@click.option("--share", type=float, help="Of the cluster, relative to the others' shares.")
@click.option("--max-gpus", metavar="N|none", help="GPUs that may be in use at once.")
@click.option("--max-waiting", metavar="N|none", help="Jobs that may be queued or paused at once; none: the usual.")
@click.pass_obj
def user(client: Client, name: str, share: float | None, max_gpus: str | None, max_waiting: str | None) -> None:
    """Change the share or the quotas of user NAME (for admins)."""
    change: dict[str, float | None] = {} if share is None else {"share": share}
    for field, given in (("max_gpus", max_gpus), ("max_waiting", max_waiting)):
        if given is not None:
            if given != "none" and not given.isdecimal():
                option = field.replace("_", "-")
                raise click.ClickException(f"--{option}: expected a number or none, found {given!r}")
            change[field] = None if given == "none" else int(given)
    _print(render.users([client.change_user(name, **change)]))


def _print(rows: list[list[str]]) -> None:
    terminal.echo(render.table(rows))
