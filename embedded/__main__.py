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
from embedded import home, stop_request
from embedded.errors import CannotStart, Unwanted
from embedded.up import Service, service
from embedded.up import down as stop_everything
from hsu_client.problem import Problem, Unreachable

PORT = click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="HSU_PORT",
    help="Of the API.  [default: HSU_PORT, or 8000, or the next free one]",
)
FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=home.default,
    help="Where everything is kept.  [default: HSU_HOME, or .hsu here]",
)


@click.group()
def main() -> None:
    """Run the whole service on this machine; PostgreSQL and Redis come with it."""


@main.command()
@FOLDER
@PORT
@click.option("--parent-pipe", is_flag=True, help="Print URL and key as one line of JSON; stop when stdin closes.")
def up(folder: Path, port: int | None, *, parent_pipe: bool) -> None:
    """Start everything and keep it running until Ctrl-C; a process that dies is started again."""
    if parent_pipe:
        stop_request.leave_the_terminal()
    signals = (signal.SIGTERM,) if parent_pipe else (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    stop = stop_request.StopRequest(*signals, parent_pipe=parent_pipe)
    with suppress(Unwanted), service(folder, port=port, stop=stop, say=_say) as running:
        print(json.dumps({"url": running.url, "key": running.key}) if parent_pipe else _how_to_try(running), flush=True)
        while not stop.wait(1):
            running.mend()
        _say("stopping")


@main.command()
@FOLDER
def down(folder: Path) -> None:
    """Stop everything that runs in FOLDER, including what a killed run left behind."""
    print("stopped " + " and ".join(stop_everything(folder) or ["nothing: nothing ran"]))


@main.command()
@FOLDER
@PORT
def demo(folder: Path, port: int | None) -> None:
    """Run one real job end to end and print its result; stop what was started for it."""
    from embedded.demo import demonstrate  # loads matplotlib, which is slow and only needed here

    stop = stop_request.StopRequest(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, parent_pipe=False)
    try:
        demonstrate(folder, port=port, stop=stop, say=_say)
    except Unwanted:
        sys.exit("hsu: stopped before the job ended")
    except (Problem, Unreachable) as error:
        sys.exit(f"hsu: {error}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--temporary", is_flag=True, help="Do not sync to disk, and remove FOLDER at the end.")
def engines(folder: Path, *, temporary: bool) -> None:
    """Run PostgreSQL and Redis in FOLDER until stdin closes; print their URLs as one line of JSON."""
    stop_request.leave_the_terminal()
    stop = stop_request.StopRequest(signal.SIGTERM, parent_pipe=True)
    try:
        urls = both_engines.start(folder, durable=not temporary)
        with suppress(BrokenPipeError):  # the reader is gone: stdin will have closed as well
            print(json.dumps(asdict(urls)), flush=True)
        while not stop.wait(60):
            pass
    finally:
        both_engines.stop(folder)
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)


def run() -> None:
    """The command line; a failed start is reported as a message, not as a traceback."""
    try:
        main.main(prog_name="python -m embedded")
    except CannotStart as error:
        sys.exit(f"hsu: {error}")


def _say(what: str) -> None:
    print(f"hsu: {what}", file=sys.stderr, flush=True)


def _how_to_try(running: Service) -> str:
    return f"""
HSU is up at {running.url} (documentation: {running.url}/docs). Ctrl-C stops it; the data stay in {running.folder}.

    export HSU_URL={running.url} HSU_API_KEY={running.key}
    curl -H "Authorization: Bearer $HSU_API_KEY" $HSU_URL/v1/catalog
    curl -H "Authorization: Bearer $HSU_API_KEY" -H "Content-Type: application/json" \\
         -d @examples/digits-mhe.json $HSU_URL/v1/jobs
    hsu follow 1
"""


if __name__ == "__main__":
    run()
