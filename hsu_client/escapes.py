r"""How is text from other users shown safely? Control and bidirectional characters become escapes: `\x1b`, `\u202e`."""

from __future__ import annotations

import re

_OBEYED = "\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""C0 and C1 controls, line and paragraph separators, the bidirectional controls of Unicode, lone surrogates."""
_IN_A_LINE = re.compile(f"[{_OBEYED}]")
_IN_A_TEXT = re.compile(f"(?![\n\t])[{_OBEYED}]")


def visible(text: str) -> str:
    """One line of text with control and bidirectional characters, including newlines, as escapes."""
    return _IN_A_LINE.sub(_escape, text)


def visible_text(text: str) -> str:
    """Like `visible`, for text of several lines; newlines and tabs stay."""
    return _IN_A_TEXT.sub(_escape, text.replace("\r\n", "\n"))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
