r"""How does text reach a terminal, a pipe or a file? And how is a spec read from one?

Names, tags, messages and logs come from other users. A terminal executes control characters, and reorders lines by
bidirectional ones: both are shown as escapes (`escapes`). Characters that a stream's encoding lacks are escapes too, so
that no command fails after the service has fulfilled the request. Knows nothing of HTTP.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO

import click
import yaml

from hsu_client.escapes import visible


def set_up() -> None:
    """Make every character printable, in any encoding of the terminal or locale."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def echo(lines: Iterable[str]) -> None:
    """Print lines."""
    click.echo("\n".join(map(visible, lines)))


def echo_json(value: object, *, indent: int | None = None) -> None:
    """Print JSON; on a stream that is not UTF-8, characters beyond ASCII are written as JSON's own escapes."""
    click.echo(_json(value, indent=indent))


def echo_once(text: str) -> None:
    """Print text that cannot be requested again: a secret, or the result of a request that must not be repeated.

    If standard output does not take it, it is printed to standard error, and the command exits with 1.
    """
    try:
        click.echo(text)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the rest of its buffer would fail again at exit
        click.echo(f"standard output does not take this: {error}\n{text}", err=True)
        sys.exit(1)


def read_spec(file: BinaryIO) -> Any:
    """The content of a YAML file, by its name, or else of a JSON file. Raises `click.ClickException`."""
    name = str(getattr(file, "name", ""))
    if not name.endswith((".yaml", ".yml")):
        return read_json(file)
    try:
        return yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise click.ClickException(f"{name} is not valid YAML: {error}") from error


def read_json(file: BinaryIO) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Does not depend on the locale. Raises `click.ClickException` for anything else.
    """
    name = getattr(file, "name", "the file")
    try:
        return json.loads(file.read())
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{name} is neither UTF-8 nor UTF-16 nor UTF-32: {error}") from error
    except RecursionError as error:
        raise click.ClickException(f"{name} is nested too deeply") from error
    except ValueError as error:
        raise click.ClickException(f"{name} is not valid JSON: {error}") from error


def _json(value: object, *, indent: int | None) -> str:
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return json.dumps(value, indent=indent, ensure_ascii=encoding != "utf8")
