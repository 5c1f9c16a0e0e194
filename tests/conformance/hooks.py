"""What generated calls must leave alone, and what a schema-valid body may be refused for. Schemathesis loads it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import get_args

import schemathesis
from pydantic_core.core_schema import ErrorType
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.generation import GenerationMode

_ENDED_JOB = int(os.environ["HSU_ENDED_JOB"])
_FIRST_KEY = int(os.environ["HSU_FIRST_KEY"])
_PATCHES = ("/change", "/base", "/arms", "/over")
_OF_SCHEMAS = frozenset(get_args(ErrorType))


@schemathesis.hook
def before_call(_context: HookContext, case: Case, _kwargs: dict[str, object]) -> None:
    """Do not revoke the key that asks; follow only what ends, and wait for nothing."""
    named = case.path_parameters or {}
    if str(named.get("key_id")).isdigit() and int(named["key_id"]) >= _FIRST_KEY:
        named["key_id"] = 1
    asked = case.query or {}
    if ("follow" in asked or case.operation.path.endswith("/stream")) and str(named.get("job_id")).isdigit():
        named["job_id"] = _ENDED_JOB
    with suppress(TypeError, ValueError):
        asked |= {"wait": 0.1} if 0.1 < float(asked.get("wait", 0)) <= 60 else {}


@schemathesis.check
def refused_only_for_what_no_schema_says(_context: CheckContext, response: Response, case: Case) -> None:
    """A body that fits its schema is not refused for its shape."""
    meta = case.meta
    if meta is None or meta.generation.mode is not GenerationMode.POSITIVE or response.status_code != 422:
        return
    faults = response.json().get("errors", [])
    of_shape = [fault for fault in faults if fault["code"] in _OF_SCHEMAS and not _is_free(fault)]
    assert not of_shape, f"the schema allows what is refused: {of_shape}"


def _is_free(fault: dict[str, str]) -> bool:
    """Whether the schema is not to blame: it leaves patches open, and that `d` is needed not every call heeds."""
    is_d = fault["code"] == "missing" and fault["pointer"].endswith("/d")
    return is_d or fault["pointer"].startswith(_PATCHES)
