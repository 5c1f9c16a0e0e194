"""Which shape does a stored spec have, and how is an older one converted to the present shape?

A spec is stored for years: in a job's row, in the header of a checkpoint. It has a number, `version`. To change
the shape, raise `PRESENT` by one and add one small step to `UPGRADES`. A step takes a plain tree of values of its
version and returns the tree of the next version. Decision record 36 says what a step must preserve.

Knows plain trees. Knows no types: the types describe only the present version.
"""

from __future__ import annotations

import copy
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

Tree = dict[str, Any]

PRESENT = 1
"""The version that is written now."""
UNMARKED = 1
"""The version of a stored spec without a number: the number was introduced with this one."""

UPGRADES: dict[int, Callable[[Tree], Tree]] = {}
"""For each version below the present one: the step from it to the next. The step may change the tree that it is given,
but not `version`."""


class UnknownVersion(ValueError):
    """The spec has a version that this service does not know, or a shape that its version never had."""


class NewerVersion(UnknownVersion):
    """A newer service wrote the spec."""


def upgraded(stored: Mapping[str, Any], *, unmarked: int = UNMARKED) -> Tree:
    """The spec in the present shape; the stored tree stays as it is. Raises `UnknownVersion`.

    `unmarked`: the version of a spec that has no number.
    """
    version = _version(stored.get("version", unmarked))
    tree = copy.deepcopy(dict(stored)) if version < PRESENT else dict(stored)
    for step in range(version, PRESENT):
        try:
            tree = UPGRADES[step](tree)
        except Exception as error:  # the tree may contain anything
            problem = f"it does not have the shape of spec version {step}: {type(error).__name__}: {error}"
            raise UnknownVersion(problem) from error
    return {**tree, "version": PRESENT}


def _version(found: object) -> int:
    is_whole = isinstance(found, int | float) and not isinstance(found, bool) and found == found // 1
    if not is_whole or found < 1:  # type: ignore[operator]
        raise UnknownVersion(f"expected a whole number from 1 to {PRESENT}, found {_SHORT.repr(found)}")
    if found > PRESENT:  # type: ignore[operator]
        written_by = f"it was written by spec version {_SHORT.repr(found)}"
        raise NewerVersion(f"{written_by}; this service reads the versions 1 to {PRESENT}")
    return int(found)  # type: ignore[call-overload,no-any-return]


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 40
