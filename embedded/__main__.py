"""`python -m embedded up | down | demo | engines`: everything on one machine, with nothing installed."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import click

from embedded import engines as both_engines
from embedded import leash
from embedded.errors import CannotStart


@click.group()
def main() -> None:
    """Run the whole service on this machine; PostgreSQL and Redis come with it."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--temporary", is_flag=True, help="Do not sync to disk, and remove FOLDER at the end.")
def engines(folder: Path, *, temporary: bool) -> None:
    """Hold PostgreSQL and Redis up in FOLDER until stdin closes; print their URLs as one line of JSON."""
    leash.leave_the_terminal()
    wish = leash.Wish(signal.SIGTERM, leashed=True)
    try:
        urls = both_engines.start(folder, durable=not temporary)
        with suppress(BrokenPipeError):  # nobody reads any more: stdin will have closed as well
            print(json.dumps(asdict(urls)), flush=True)
        while not wish.wait(60):
            pass
    finally:
        both_engines.stop(folder)
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)


def run() -> None:
    """The command line; what cannot start is told in words, not as a traceback."""
    try:
        main.main(prog_name="python -m embedded")
    except CannotStart as error:
        sys.exit(f"hsu: {error}")


if __name__ == "__main__":
    run()
