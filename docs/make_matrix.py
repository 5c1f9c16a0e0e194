"""Write docs/matrix.md: which regularizer acts on which task, asked of the specs themselves.

python docs/make_matrix.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hsu_core import spec

HERE = Path(__file__).parent
HEAD = """# Which regularizer acts on which task

Asked of the specs by `python docs/make_matrix.py`; `tests/hsu_core/tasks/test_every_task.py` trains a network with each
pair, or sees that it is refused with this reason.
"""


def main() -> None:
    """Write the page."""
    (HERE / "matrix.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as it must be."""
    tasks = spec.members(spec.AnyTraining)
    names = [task.model_fields["task"].default for task in tasks]
    lines = [HEAD, f"| regularizer | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    reasons: dict[str, str] = {}
    for kind in spec.kinds(spec.Regularizer):
        cells = [_cell(task, kind, reasons) for task in tasks]
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"`{code}`: {reason}." for code, reason in reasons.items()), ""])


def _cell(task: type[spec.Spec], regularizer: str, reasons: dict[str, str]) -> str:
    smallest = {"dataset": _first(task, "dataset"), "model": _first(task, "model"), "duration": {"steps": 1}}
    name = task.model_fields["task"].default
    try:
        task.model_validate({"task": name, **smallest, "regularizer": {"kind": regularizer}})
    except ValidationError as error:
        (why,) = error.errors()
        reasons.setdefault(why["type"], why["msg"])
        return f"refused: `{why['type']}`"
    return "yes"


def _first(task: type[spec.Spec], field: str) -> dict[str, Any]:
    """The first of a menu, with its defaults."""
    return {"kind": spec.kinds(task.model_fields[field].annotation)[0]}


if __name__ == "__main__":
    main()
