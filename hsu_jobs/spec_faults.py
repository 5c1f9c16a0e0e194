"""What is wrong with a spec? Each of pydantic's errors as a fault: where it is in what was sent, and in words."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from hsu_jobs import near_matches, unknown_kinds
from hsu_jobs.errors import Fault, SpecRejected


def of(error: ValidationError, spec: object, *, within: str = "") -> tuple[Fault, ...]:
    """The faults of a spec, which is at the JSON pointer `within` of what was sent."""
    return tuple(described(fault, fault["loc"], spec, within=within) for fault in error.errors())


def described(fault: Mapping[str, Any], path: Sequence[str | int], body: object, *, within: str = "") -> Fault:
    """One of pydantic's errors, at a path into a body."""
    found = "" if fault["type"] == "missing" else f" (found {_short(fault['input'])})"
    own = isinstance(fault.get("ctx"), Mapping) and "message" in fault["ctx"]
    pointer = within + _pointer(path, body)
    detail = unknown_kinds.advice(fault) or wrong_choice(fault, path) or fault["msg"] + ("" if own else found)
    return Fault(pointer=pointer, code=fault["type"], detail=detail)


def wrong_choice(fault: Mapping[str, Any], path: Sequence[str | int]) -> str | None:
    """Which choices there are, if the fault is that a menu has no such one; None for another fault."""
    match fault:
        case {"type": "union_tag_invalid", "ctx": {"tag": found, "expected_tags": expected}}:
            pass
        case {"type": "literal_error" | "enum", "input": str(found), "ctx": {"expected": expected}}:
            pass
        case _:
            return None
    field = next((step for step in reversed(path) if isinstance(step, str)), "choice")
    return near_matches.refusal(field, found, re.findall("'([^']*)'", expected))


def rejected(faults: tuple[Fault, ...]) -> SpecRejected:
    """The refusal of what has these faults."""
    return SpecRejected(first_of(faults), faults=faults)


def first_of(faults: tuple[Fault, ...]) -> str:
    """The first fault in one sentence, and how many more there are."""
    first, more = faults[0], len(faults) - 1
    others = f" (and {more} more: see errors)" if more else ""
    return f"{first.pointer or 'the body'}: {first.detail}{others}"


def _pointer(path: Sequence[str | int], body: object) -> str:
    """A JSON pointer (RFC 6901) into the body as it was sent.

    pydantic's path also names the chosen member of each union (`regularizer`, `mhe`, `s`). A step that is not in the
    body is such a name; but the last step may be a key that is missing or comes from a default.
    """
    steps: list[str] = []
    for place, step in enumerate(path):
        last = place == len(path) - 1
        if _has(body, step):
            body = body[step]  # type: ignore[index]
        elif not last or not isinstance(body, dict) or body.get("kind") == step:
            continue
        steps.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{step}" for step in steps)


def _has(body: object, step: str | int) -> bool:
    match body:
        case dict():
            return step in body
        case list():
            return isinstance(step, int) and step < len(body)
        case _:
            return False


def _short(value: object) -> str:
    """The beginning of a value, without writing out all of it first."""
    text = _BEGINNING.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


_BEGINNING = reprlib.Repr()
_BEGINNING.maxstring = _BEGINNING.maxother = _BEGINNING.maxlong = 80
_BEGINNING.maxdict = _BEGINNING.maxlist = _BEGINNING.maxtuple = 8
