"""Which plug-ins are installed, and which of them cannot be used, and why?

A plug-in is a Python distribution with entry points in the groups below. The name of an entry point is the kind that a
spec gives; its object is a torch-free class that derives from one of `plugin_bases.py`. Each menu calls `load` for its
group when it is made, once in a process: what is installed later counts after a restart. Whatever a plug-in raises, it
is only left out, and `broken` says why.
"""

from __future__ import annotations

import functools
import pkgutil
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib import metadata
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args

from pydantic import Field

from hsu_core.spec.menus import kinds, members

GROUPS = tuple(f"hsu.{group}" for group in ("models", "datasets", "tasks", "regularizers", "measures"))
MODELS, DATASETS, TASKS, REGULARIZERS, MEASURES = GROUPS
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_BUILDER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_Made = TypeVar("_Made")


class Plugin(NamedTuple):
    """What a distribution brings to one menu."""

    group: str
    kind: str
    spec: type[Any]
    distribution: str
    """Its name as package indexes compare it: lower case, with hyphens."""
    version: str


class Broken(NamedTuple):
    """An entry point that cannot be used."""

    group: str
    kind: str
    distribution: str
    version: str
    reason: str

    def __str__(self) -> str:
        """One line for logs."""
        return f"the plug-in {self.distribution} {self.version} cannot bring {self.kind} ({self.group}): {self.reason}"


class BuilderFailed(RuntimeError):
    """What makes a thing of a plug-in cannot be imported."""


def load(group: str, bases: tuple[type[Any], ...], *, taken: Collection[str], tag: str = "kind") -> None:
    """Read the plug-ins of a group. `taken`: kinds and names of classes that the menu has already."""
    so_far = set(taken)
    for entry, distribution, version in _entries(group):
        try:
            found = _checked(entry, bases, so_far, tag)
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # a plug-in may raise anything, SystemExit too
            _broken.append(Broken(group, entry.name, distribution, version, _reason(error)))
        else:
            so_far |= {entry.name, found.__name__}
            _installed[group, entry.name] = Plugin(group, entry.name, found, distribution, version)


def names(menu: object, *, tag: str = "kind") -> set[str]:
    """The kinds of a menu, and the names of its classes: a plug-in has its own."""
    return {*kinds(menu, tag=tag), *(member.__name__ for member in members(menu))}


def menu(built_in: object, *bases: type[Any], tag: str = "kind") -> Any:
    """A menu with the members that plug-ins bring: those that derive from one of these bases."""
    own = (plugin.spec for plugin in _installed.values() if issubclass(plugin.spec, bases))
    whole: Any = Union[(*members(built_in), *own)]  # whose members only a running process knows
    return whole if isinstance(whole, type) else Annotated[whole, Field(discriminator=tag)]


def derived(group: str, make: Callable[[type[Any]], _Made]) -> list[_Made]:
    """What is made of each class of a group; a plug-in of which it cannot be made is broken."""
    made = []
    for plugin in installed(group):
        try:
            made.append(make(plugin.spec))
        except Exception as error:
            del _installed[group, plugin.kind]
            _broken.append(Broken(group, plugin.kind, plugin.distribution, plugin.version, _reason(error)))
    return made


def installed(group: str | None = None) -> list[Plugin]:
    """What plug-ins bring, of one group or of all."""
    return [plugin for plugin in _installed.values() if group in (None, plugin.group)]


def broken() -> list[Broken]:
    """The entry points that cannot be used."""
    return list(_broken)


def find(group: str, kind: str) -> Plugin | None:
    """The plug-in that brings this kind; None for a built-in one, and for one that is not there."""
    return _installed.get((group, kind))


def distributions() -> dict[str, str]:
    """The installed distributions that bring something, with their versions."""
    return dict(sorted((plugin.distribution, plugin.version) for plugin in _installed.values()))


def used(choices: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The distributions that bring these choices, pairs of a group and a kind, with their versions."""
    found = [plugin for choice in choices if (plugin := _installed.get(choice))]
    return dict(sorted((plugin.distribution, plugin.version) for plugin in found))


def built_by(path: str) -> Any:
    """What `package.module:name` names. Raises `BuilderFailed`; call it only where torch is."""
    try:
        return pkgutil.resolve_name(path)
    except Exception as error:
        raise BuilderFailed(f"the plug-in's {path} cannot be imported: {type(error).__name__}: {error}") from error


_installed: dict[tuple[str, str], Plugin] = {}
"""By group and kind."""
_broken: list[Broken] = []


class _Unfit(ValueError):
    """What a class lacks to be on a menu."""


def _checked(entry: metadata.EntryPoint, bases: tuple[type[Any], ...], taken: Collection[str], tag: str) -> type[Any]:
    """The class of an entry point. Raises `_Unfit`, and whatever the plug-in raises."""
    found: Any = _imported(entry)
    if not _derives(found, bases):
        raise _Unfit(f"expected a class that derives from {_listed(base.__name__ for base in bases)}, found {found!r}")
    field = found.model_fields.get(tag)
    if field is None or get_args(field.annotation) != (entry.name,) or field.default != entry.name:
        raise _Unfit(f'expected the field `{tag}: Literal["{entry.name}"] = "{entry.name}"`, the entry point\'s name')
    if not _KIND.fullmatch(entry.name):
        raise _Unfit(f"expected a kind of lower-case letters, digits, - and _, 64 at most, found {entry.name!r}")
    for what, name in (("kind", entry.name), ("class name", found.__name__)):
        if name in taken:
            raise _Unfit(f"the {what} {name} is taken: choose another")
    if not (found.model_config.get("frozen") and found.model_config.get("extra") == "forbid"):
        raise _Unfit("expected a frozen class that forbids unknown fields, as its base is")
    if not _BUILDER.fullmatch(str(getattr(found, "builder", ""))):
        raise _Unfit('expected `builder: ClassVar[str] = "package.module:name"`')
    found.check()
    found.model_json_schema()
    return found  # type: ignore[no-any-return]


def _derives(found: object, bases: tuple[type[Any], ...]) -> bool:
    return isinstance(found, type) and issubclass(found, bases)


def _imported(entry: metadata.EntryPoint) -> Any:
    """The object of an entry point."""
    had_torch = "torch" in sys.modules
    try:
        found = entry.load()
    except AttributeError as error:
        if "partially initialized" not in str(error):
            raise
        package = entry.module.partition(".")[0]
        raise _Unfit(
            f"{entry.module} was imported before hsu_core.spec, which reads it: write `import hsu_core.spec` into "
            f"{package}/__init__.py"
        ) from error
    if "torch" in sys.modules and not had_torch:
        raise _Unfit(f"{entry.module} imports torch, which the API does not have: import it in the builder's module")
    return found


def _entries(group: str) -> Iterator[tuple[metadata.EntryPoint, str, str]]:
    """The entry points of a group, each with the name and the version of its distribution, in the order of names."""
    for name, version, entries in _distributions():
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.group == group:
                yield entry, name, version


@functools.cache
def _distributions() -> list[tuple[str, str, list[metadata.EntryPoint]]]:
    """The distributions that have plug-ins. What cannot be read of a distribution is no plug-in, and is told."""
    found: dict[str, tuple[str, str, list[metadata.EntryPoint]]] = {}
    for distribution in metadata.distributions():
        entries = [entry for entry in distribution.entry_points if entry.group in GROUPS]
        if not entries:
            continue
        try:
            name, version = re.sub(r"[-_.]+", "-", distribution.name).lower(), str(distribution.version)
            found.setdefault(name, (name, version, entries))  # the first on the path counts
        except Exception as error:
            reason = f"the metadata of its distribution cannot be read: {_reason(error)}"
            _broken.extend(Broken(entry.group, entry.name, "without a name", "", reason) for entry in entries)
    return [found[name] for name in sorted(found)]


def _listed(several: Iterable[str]) -> str:
    *first, last = several
    return f"{', '.join(first)} or {last}" if first else last


def _reason(error: BaseException) -> str:
    """One short line: a plug-in's error may hold anything."""
    line = " ".join((str(error) if isinstance(error, _Unfit) else f"{type(error).__name__}: {error}").split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


_LONGEST = 500
