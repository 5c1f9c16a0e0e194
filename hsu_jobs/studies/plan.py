"""Which cells does a study have, and which spec has each? Every arm at every point of the axes that it is crossed with.

A cell's spec is put together from the base, the arm's patch and the values of the axes. What is wrong with it points to
the one of them that says so.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from pydantic import ValidationError
from sqlalchemy.orm import Session

from hsu_jobs import spec_faults
from hsu_jobs.cluster import admission
from hsu_jobs.datasets import filling
from hsu_jobs.errors import Fault, Forbidden, SpecRejected
from hsu_jobs.forks import merged
from hsu_jobs.settings import Settings
from hsu_jobs.spec import JobSpec, parse
from hsu_jobs.studies.spec import BASELINE, MOST_MEMBERS, StudySpec, keys_of, pointer_of
from hsu_jobs.tables import ApiKey

WITHOUT_PENALTY: dict[str, Any] = {"regularizer": {"kind": "none"}, "strength": None}
"""The patch of the arm that is added."""
_OF_PENALTIES = ("regularizer", "strength")

At = dict[str, Any]
"""A point of the axes: values by JSON pointer."""


class Cell(NamedTuple):
    """An arm at a point of the axes."""

    arm: str
    at: At
    spec: JobSpec
    """With the first of the seeds."""


class _Draft(NamedTuple):
    """A cell before its spec is read."""

    arm: str
    at: At
    tree: Any


def baseline_of(study: StudySpec) -> str:
    """The name of the arm with which the others are compared."""
    return study.baseline or BASELINE


def cells(session: Session, study: StudySpec, settings: Settings, *, key: ApiKey) -> list[Cell]:
    """Every cell of a study, checked. Raises `SpecRejected` or `Forbidden`, pointing into the study."""
    drafts = list(_drafts(study))
    count = len(drafts) * len(study.all_seeds)
    if count > MOST_MEMBERS:
        detail = (
            f"a study may have {MOST_MEMBERS:,} runs, found {count:,}: {len(drafts):,} cells with "
            f"{len(study.all_seeds):,} seeds each"
        )
        raise SpecRejected(detail, faults=(Fault(pointer="/seeds", code="too_many_runs", detail=detail),))
    found = _read(session, study, drafts, key)
    _require_difference(study, found)
    _admit(session, study, found, settings, key)
    return found


def _drafts(study: StudySpec) -> Iterator[_Draft]:
    added = {} if study.baseline else {BASELINE: WITHOUT_PENALTY}
    base = _whole({**WITHOUT_PENALTY, **study.base})
    for arm, patch in {**added, **study.arms}.items():
        tree = _whole(merged(study.base if "task" in patch else base, patch))
        axes = _crossed_with(study, tree)
        for values in itertools.product(*(study.over[axis] for axis in axes)):
            at = dict(zip(axes, values, strict=True))
            yield _Draft(arm, at, _assigned(_as_strong(study, tree), at))


def _whole(tree: Any) -> Any:
    """The spec with its defaults, of which a patch or an axis may change a part; the tree itself if it is no spec."""
    try:
        return parse(tree).model_dump(mode="json")
    except (ValidationError, SpecRejected):
        return tree  # what is wrong with it is told when the cells are read


def _crossed_with(study: StudySpec, tree: Any) -> list[str]:
    """The axes of an arm: without a penalty, those of penalties are not among them."""
    return [axis for axis in study.over if _has_penalty(tree) or keys_of(axis)[0] not in _OF_PENALTIES]


def _has_penalty(tree: Any) -> bool:
    chosen = tree.get("regularizer") if isinstance(tree, Mapping) else None
    return isinstance(chosen, Mapping) and chosen.get("kind", "none") != "none"


def _as_strong(study: StudySpec, tree: Any) -> Any:
    """The tree with the study's strength, if it has a penalty and no strength of its own."""
    if study.strength is None or not _has_penalty(tree) or tree.get("strength") is not None:
        return tree
    return {**tree, "strength": study.strength.model_dump(mode="json")}


def _assigned(tree: Any, at: At) -> Any:
    for pointer, value in at.items():
        *above, last = keys_of(pointer)
        patch: Any = {last: value}
        for key in reversed(above):
            patch = {key: patch}
        tree = merged(tree, patch)
    return tree


def _read(session: Session, study: StudySpec, drafts: Sequence[_Draft], key: ApiKey) -> list[Cell]:
    """The specs of all cells; with the faults of all that cannot be read, each told once."""
    found: list[Cell] = []
    faults: dict[Fault, None] = {}
    for draft in drafts:
        tree = {**draft.tree, "seed": study.all_seeds[0], "name": study.name, "tags": list(study.tags)}
        try:
            spec = parse(filling.filled(session, key, tree))
        except ValidationError as error:
            faults |= dict.fromkeys(_blamed(study, draft, fault) for fault in spec_faults.of(error, tree))
        except SpecRejected as error:
            faults |= dict.fromkeys(_blamed(study, draft, fault) for fault in error.faults)
        else:
            found.append(Cell(draft.arm, draft.at, spec))
    if faults:
        raise spec_faults.rejected(tuple(faults))
    return found


def _blamed(study: StudySpec, draft: _Draft | Cell, fault: Fault) -> Fault:
    """The fault of a cell's spec, where the study says what is wrong: at an axis, in the arm, or in the base."""
    pointer = fault.pointer
    for axis, value in draft.at.items():
        if f"{pointer}/".startswith(f"{axis}/") or f"{axis}/".startswith(f"{pointer}/"):
            place = pointer_of("over", axis, str(study.over[axis].index(value)))
            return fault.model_copy(update={"pointer": place + pointer.removeprefix(axis) * pointer.startswith(axis)})
    is_of_arm = pointer and keys_of(pointer)[0] in study.arms.get(draft.arm, {})
    holder = pointer_of("arms", draft.arm) if is_of_arm else "/base"
    return fault.model_copy(update={"pointer": holder + pointer})


def _require_difference(study: StudySpec, found: Sequence[Cell]) -> None:
    """Raise `SpecRejected` if two cells would give equal results."""
    first: dict[str, Cell] = {}
    pairs = [(first.setdefault(cell.spec.fingerprint, cell), cell) for cell in found]
    if faults := tuple(_equal(study, one, other) for one, other in pairs if one is not other):
        raise spec_faults.rejected(faults)


def _equal(study: StudySpec, one: Cell, other: Cell) -> Fault:
    if one.arm != other.arm:
        name = other.arm if other.arm in study.arms else one.arm
        detail = f"the arms {one.arm} and {other.arm} are equal: leave one of them out"
        return Fault(pointer=pointer_of("arms", name), code="equal_arms", detail=detail)
    axis = next((axis for axis in other.at if one.at[axis] != other.at[axis]), next(iter(other.at)))
    detail = f"two points of the axes give the arm {other.arm} the same spec: {shown(one.at)} and {shown(other.at)}"
    return Fault(pointer=pointer_of("over", axis), code="equal_points", detail=detail)


def _admit(session: Session, study: StudySpec, found: Sequence[Cell], settings: Settings, key: ApiKey) -> None:
    """Raise `SpecRejected` or `Forbidden` if a job of a cell could not run here."""
    try:
        admission.check_all(session, [cell.spec for cell in found], settings, key=key)
    except (SpecRejected, Forbidden) as error:
        placed = [_Placed.of(fault) for fault in error.faults]
        error.faults = tuple(dict.fromkeys(_blamed(study, found[place], fault) for place, fault in placed))
        raise


class _Placed(NamedTuple):
    """A fault of one of many specs."""

    place: int
    fault: Fault

    @classmethod
    def of(cls, fault: Fault) -> Self:
        """From its pointer, `/jobs/3/batch_size`."""
        _, _, place, *rest = fault.pointer.split("/")
        return cls(int(place), fault.model_copy(update={"pointer": "".join(f"/{step}" for step in rest)}))


def shown(at: At) -> str:
    """A point of the axes, for people: `lr=0.05, depth=18`."""
    return ", ".join(f"{keys_of(pointer)[-1]}={json.dumps(value)}" for pointer, value in at.items())
