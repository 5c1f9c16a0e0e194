"""Which commands does `hsu data` have? Those for data sets of your own."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Any

import click

from hsu_client.cli import render, terminal
from hsu_client.client import Client

NAME = click.argument("name")
OWNER = click.option("--owner", help="Its user; by default you, or else the one who shares it.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the service's own answer.")


@click.group()
def data() -> None:
    """Bring data sets of your own, and train on them."""


@data.command()
@NAME
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--test", type=click.Path(exists=True, path_type=Path), help="The test part, of the same kind as PATH.")
@click.option(
    "--as",
    "source",
    type=click.Choice(["folder", "npz", "parquet", "texts", "interactions"]),
    help="What PATH is, if its name does not say it.",
)
@click.option("--size", type=click.IntRange(min=1), help="Scale all images to squares of so many pixels.")
@click.option(
    "--test-fraction",
    type=click.FloatRange(min=0, min_open=True, max=1, max_open=True),
    help="The part of each class that is held out if there is no test part; 0.2 by default.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Which examples these are; 0 by default.")
@click.option("--licence", default="", help="A note for those who use it.")
@click.option("--shared", is_flag=True, help="All users may use it.")
@AS_JSON
@click.pass_obj
def add(
    client: Client,
    /,
    name: str,
    path: Path,
    test: Path | None,
    source: str | None,
    licence: str,
    *,
    shared: bool,
    as_json: bool,
    **options: float | None,
) -> None:
    """Add PATH as a new version of the data set NAME, and wait until it can be used.

    PATH is a folder with a folder of images (PNG, JPEG, WebP) for each class, or a .npz, .parquet or .csv file. An
    upload that was cut off goes on where it was; exits with 1 if the data are refused.
    """
    given = {name: value for name, value in options.items() if value is not None}
    with click.progressbar(length=1, label=f"sending {path.name or path}", file=sys.stderr) as bar:

        def show(sent: int, total: int) -> None:
            bar.length = total
            bar.update(sent - bar.pos)

        begun = client.add_dataset(
            name, path, test=test, source=source, options=given, licence=licence, shared=shared, progress=show
        )
    click.echo("it is converted …", err=True)
    made = client.await_dataset(name, begun["version"], owner=begun["owner"])
    _show(made, as_json=as_json)
    if made["state"] != "ready":
        sys.exit(1)


@data.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@AS_JSON
@click.pass_obj
def list_datasets(client: Client, limit: int, *, as_json: bool) -> None:
    """Your data sets and those that others share, each version, the newest first."""
    every = list(islice(client.datasets(page=min(limit, 100)), limit))
    if as_json:
        terminal.echo_json(every)
        return
    terminal.echo(render.table(render.datasets(every)))


@data.command()
@NAME
@click.option("--version", type=click.IntRange(min=1), help="The newest by default.")
@OWNER
@AS_JSON
@click.pass_obj
def show(client: Client, name: str, version: int | None, owner: str | None, *, as_json: bool) -> None:
    """What the data set NAME holds."""
    _show(client.dataset(name, version, owner=owner), as_json=as_json)


@data.command()
@NAME
@click.argument("version", type=click.IntRange(min=1))
@click.option("--licence", help="A note for those who use it.")
@click.option("--shared/--private", default=None, help="Whether all users may use it.")
@AS_JSON
@click.pass_obj
def change(client: Client, name: str, version: int, licence: str | None, *, shared: bool | None, as_json: bool) -> None:
    """Change the note of a VERSION of your data set NAME, or who may use it; its data never change."""
    _show(client.change_dataset(name, version, licence=licence, shared=shared), as_json=as_json)


@data.command()
@NAME
@click.argument("version", type=click.IntRange(min=1))
@OWNER
@click.pass_obj
def delete(client: Client, name: str, version: int, owner: str | None) -> None:
    """Delete a VERSION of the data set NAME, unless jobs that have not ended use it."""
    client.delete_dataset(name, version, owner=owner)
    terminal.echo([f"deleted version {version} of {name}"])


def _show(dataset: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        terminal.echo_json(dataset)
        return
    terminal.echo(render.dataset(dataset))
