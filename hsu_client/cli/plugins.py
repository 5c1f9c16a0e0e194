"""How does a plug-in begin? `hsu plugin new NAME` writes a package that works: the project's example under this name.

Needs no service.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

TEMPLATE = "plugin-template"
"""The folder of the example, in which these names are replaced."""
DISTRIBUTION, PACKAGE, CLASSES = "hsu-example", "hsu_example", "HsuExample"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
"""Characters of a name: a kind begins with it, and has 64 at most."""
_KEPT = frozenset({".json", ".md", ".py", ".toml", ".typed"})


@click.group()
def plugin() -> None:
    """Write networks, regularizers and measures of your own (docs/plugins.md)."""


@plugin.command()
@click.argument("name")
def new(name: str) -> None:
    """Write the package NAME into a folder of this name: a network, a regularizer and a measure, with tests."""
    package, folder = name.replace("-", "_"), Path(name)
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise click.UsageError(
            f"NAME: expected lower-case letters, digits and single hyphens, {_LONGEST} characters at most, "
            f"as lab-networks; found {name!r}"
        )
    if keyword.iskeyword(package) or importlib.util.find_spec(package) is not None:
        raise click.ClickException(f"{package} is a word of Python, or an installed package: choose another name")
    if folder.exists():
        raise click.ClickException(f"{folder} exists already: choose another name, or another folder to be in")
    names = {DISTRIBUTION: name, PACKAGE: package, CLASSES: "".join(map(str.capitalize, name.split("-")))}
    _write(resources.files(__package__ or "") / TEMPLATE, folder, names)
    click.echo(f"wrote {folder}: begin with {folder}/README.md")


def _write(template: Traversable, to: Path, names: dict[str, str]) -> None:
    """Copy a file or a folder, with other names in the texts and in the paths."""
    if template.is_dir():
        for each in sorted(template.iterdir(), key=lambda each: each.name):
            if each.name not in ("__pycache__", "build") and not each.name.endswith(".egg-info"):
                _write(each, to / _renamed(each.name, names), names)
    elif Path(template.name).suffix in _KEPT:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(_renamed(template.read_text(encoding="utf-8"), names), encoding="utf-8")


def _renamed(text: str, names: dict[str, str]) -> str:
    for old, own in names.items():
        text = text.replace(old, own)
    return text
