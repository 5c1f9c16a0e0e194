"""Which cells does a study have, and which spec has each? Every arm at every point of the axes that it is crossed with.

A cell's spec is put together from the base, the arm's patch and the values of the axes. What is wrong with it points to
the one of them that says so.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from hsu_jobs.studies.names import OF_PENALTIES, keys_of, overlap, pointer_of
from hsu_jobs.studies.search.spec import place_of
from hsu_jobs.studies.spec import BASELINE, MOST_MEMBERS, StudySpec
from hsu_jobs.tables import ApiKey

WITHOUT_PENALTY: dict[str, Any] = {"regularizer": {"kind": "none"}, "strength": None}
"""The patch of the arm that is added."""

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
    _require_few(study, drafts)
    ends = list(_ends(study, drafts))
    read = _read(session, study, [*drafts, *ends], key)
    found, at_ends = read[: len(drafts)], read[len(drafts) :]
    _require_difference(study, found)
    _require_effect(at_ends)
    _admit(session, study, read, settings, key)
    return found


def _require_few(study: StudySpec, drafts: Sequence[_Draft]) -> None:
    """Raise `SpecRejected` if there are too many runs, or too many values to check before a search."""
    trials = study.search.trials if study.search else 1
    count = len(drafts) * trials * len(study.all_seeds)
    detail = (
        f"a study may have {MOST_MEMBERS:,} runs, found {count:,}: {len(drafts):,} cells with "
        f"{f'{trials:,} trials of ' if study.search else ''}{len(study.all_seeds):,} seeds each"
    )
    if count > MOST_MEMBERS:
        raise SpecRejected(detail, faults=(Fault(pointer="/seeds", code="too_many_runs", detail=detail),))
    ends = sum(len(searched.ends) for searched in study.search.space.values()) if study.search else 0
    if len(drafts) * ends > MOST_MEMBERS:
        detail = f"{len(drafts):,} cells with {ends:,} values to check: there may be {MOST_MEMBERS:,} in all"
        raise SpecRejected(detail, faults=(Fault(pointer="/search/space", code="too_many_values", detail=detail),))


def _drafts(study: StudySpec) -> Iterator[_Draft]:
    added = {} if study.baseline else {BASELINE: WITHOUT_PENALTY}
    base = _whole({**WITHOUT_PENALTY, **study.base})
    for arm, patch in {**added, **study.arms}.items():
        tree = _whole(merged(study.base if "task" in patch else base, patch))
        axes = applying(study.over, tree)
        for values in itertools.product(*(study.over[axis] for axis in axes)):
            at = dict(zip(axes, values, strict=True))
            yield _Draft(arm, at, assigned(_as_strong(study, tree), at))


def _whole(tree: Any) -> Any:
    """The spec with its defaults, of which a patch or an axis may change a part; the tree itself if it is no spec."""
    try:
        return parse(tree).model_dump(mode="json")
    except (ValidationError, SpecRejected):
        return tree  # what is wrong with it is told when the cells are read


def _ends(study: StudySpec, drafts: Sequence[_Draft]) -> Iterator[_Draft]:
    """Each cell with each field of the search at the ends of its range, or at each of its choices."""
    space = study.search.space if study.search else {}
    for draft in drafts:
        for pointer in applying(space, draft.tree):
            for value in space[pointer].ends.values():
                point = {pointer: value}
                yield _Draft(draft.arm, draft.at | point, assigned(draft.tree, point))


def applying(pointers: Iterable[str], tree: Any) -> list[str]:
    """The fields that an arm has: without a penalty, those of penalties are not among them."""
    return [pointer for pointer in pointers if _has_penalty(tree) or keys_of(pointer)[0] not in OF_PENALTIES]


def _has_penalty(tree: Any) -> bool:
    chosen = tree.get("regularizer") if isinstance(tree, Mapping) else None
    return isinstance(chosen, Mapping) and chosen.get("kind", "none") != "none"


def _as_strong(study: StudySpec, tree: Any) -> Any:
    """The tree with the study's strength, if it has a penalty and no strength of its own."""
    if study.strength is None or not _has_penalty(tree) or tree.get("strength") is not None:
        return tree
    return {**tree, "strength": study.strength.model_dump(mode="json")}


def assigned(tree: Any, at: At) -> Any:
    """A spec in which the fields of a point have its values."""
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
        if overlap(pointer, axis):
            place = _place(study, axis, value)
            return fault.model_copy(update={"pointer": place + pointer.removeprefix(axis) * pointer.startswith(axis)})
    is_of_arm = pointer and keys_of(pointer)[0] in study.arms.get(draft.arm, {})
    holder = pointer_of("arms", draft.arm) if is_of_arm else "/base"
    return fault.model_copy(update={"pointer": holder + pointer})


def _place(study: StudySpec, field: str, value: Any) -> str:
    """Where the study says that a field may have a value."""
    if study.search and field in study.search.space:
        return place_of(field, study.search.space[field], value)
    return pointer_of("over", field, str(study.over[field].index(value)))


def _require_effect(at_ends: Sequence[Cell]) -> None:
    """Raise `SpecRejected` if a field is searched that changes no result."""
    faults: dict[Fault, None] = {}
    for one, other in itertools.pairwise(at_ends):
        pointer = next(reversed(other.at))
        if (
            one.spec.fingerprint == other.spec.fingerprint
            and next(reversed(one.at)) == pointer
            and one.arm == other.arm
        ):
            detail = f"{pointer} changes no result of the arm {other.arm}: there is nothing to search"
            faults[Fault(pointer=pointer_of("search", "space", pointer), code="changes_nothing", detail=detail)] = None
    if faults:
        raise spec_faults.rejected(tuple(faults))


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
