"""What are the parts of a study called? Arms, metrics, and the fields of a spec, which are named by JSON pointers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import StringConstraints

ArmName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=40)]
Pointer = Annotated[str, StringConstraints(pattern=r"^(/[^/\x00]+)+$", max_length=200)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20][^\x00]*$", max_length=200)]
"""A number of the results (`test_accuracy`), or the last value of a curve (`mhe_s2_half@conv*`: the mean of layers)."""

OF_STUDY = ("seed", "name", "tags")
"""Fields that a study sets itself in the specs of its jobs."""
OF_PENALTIES = ("regularizer", "strength")
"""Fields that mean nothing in an arm without a penalty."""


def sets(patch: Any, pointer: str) -> bool:
    """Whether a merge patch gives the field at a JSON pointer a value, or one above it."""
    for key in keys_of(pointer):
        if not isinstance(patch, dict):
            return True  # a value above
        if key not in patch:
            return False
        patch = patch[key]
    return True


def keys_of(pointer: str) -> list[str]:
    """The unescaped keys of a JSON pointer (RFC 6901)."""
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def pointer_of(*keys: str) -> str:
    """The JSON pointer of keys."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def lies_within(pointer: str, other: str) -> bool:
    """Whether a field is a part of another one."""
    return pointer.startswith(f"{other}/")


def overlap(pointer: str, other: str) -> bool:
    """Whether one of two fields is the other, or a part of it."""
    return pointer == other or lies_within(pointer, other) or lies_within(other, pointer)
