"""What does a refusal say of a kind that is not here? What is near, and how what is missing can be brought.

Knows pydantic's errors. Where a plug-in would bring the kind but cannot be used, it says why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from hsu_core.spec import plugins
from hsu_jobs import near_matches


class _Menu(NamedTuple):
    """A menu that can be added to."""

    group: str
    how: str


_PLUGIN = "plug-in can bring it (docs/plugins.md)"
_MENUS = {
    "model": _Menu(plugins.MODELS, f"A {_PLUGIN}"),
    "dataset": _Menu(plugins.DATASETS, f"`hsu data add` or a {_PLUGIN}"),
    "regularizer": _Menu(plugins.REGULARIZERS, f"A {_PLUGIN}"),
}


def advice(error: Mapping[str, Any]) -> str | None:
    """What to say in place of pydantic's message; None for every other error, and where it has been said."""
    field = error["loc"][-1] if error["loc"] else None
    if error["type"] != "union_tag_invalid" or field not in _MENUS or "tag" not in error["ctx"]:
        return None
    tag, known = error["ctx"]["tag"], re.findall("'([^']*)'", error["ctx"]["expected_tags"])
    return f"{near_matches.refusal(field, tag, known)}. {_how(_MENUS[field], tag)}"


def _how(menu: _Menu, kind: str) -> str:
    """How this kind can be brought."""
    failed = (broken for broken in plugins.broken() if (broken.group, broken.kind) == (menu.group, kind))
    return next((f"But {broken}" for broken in failed), menu.how)
