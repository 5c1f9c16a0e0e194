"""Which choices are there in place of one that does not exist, and which was probably meant?"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Sequence

MOST_NEAR = 3
"""Choices that are suggested."""


def refusal(what: str, found: object, choices: Sequence[str]) -> str:
    """What is said of a wrong choice; what was probably meant comes first, as a long text is cut at its end."""
    named = found.lower()[:80] if isinstance(found, str) else ""
    near = difflib.get_close_matches(named, choices, n=MOST_NEAR)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"there is no {what} {_SHORT.repr(found)} here; {meant}there are {', '.join(choices)}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
