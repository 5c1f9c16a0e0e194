"""What is the spec of a job that continues from another job's checkpoint? The parent's with some fields changed.

Knows specs. A change is a JSON merge patch (RFC 7396), except that an object of another `kind` replaces the old one
whole: the parameters of one regularizer mean nothing to the next. It changes the spec as it is shown, in the present
shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hsu_core.spec import versions
from hsu_jobs.errors import Fault, SpecRejected
from hsu_jobs.spec import JobSpec, in_present_shape, parse, read


def changed(parent: Mapping[str, Any], change: Mapping[str, Any], *, from_step: int = 0) -> JobSpec:
    """The changed spec. Which weights it first started from is left out: it continues from the checkpoint.

    Raises pydantic's `ValidationError`, `SpecRejected` if it cannot continue from there, and `SpecNotReadable` if this
    version cannot read the parent's.
    """
    before, after = read(parent), parse(patched(parent, change))
    if from_step == 0:
        return after
    faults = tuple(
        Fault(pointer=pointer, code="does_not_fit_checkpoint", detail=reason)
        for pointer, reason in before.misfits(after, from_step)
    )
    if faults:
        raise SpecRejected("the changed spec cannot go on from this checkpoint", faults=faults)
    return after.model_copy(update=dict.fromkeys(after.of_the_start))


def patched(parent: Mapping[str, Any], change: Mapping[str, Any]) -> Any:
    """The parent's spec in the present shape, with the change applied. Raises `SpecNotReadable` or `SpecRejected`.

    A change cannot be of another version: its fields would be put into a spec of the present one.
    """
    if change.get("version") not in (None, versions.PRESENT):
        detail = f"a change is made to the spec as it is shown, in version {versions.PRESENT}: leave `version` out"
        raise SpecRejected(detail, faults=(Fault(pointer="/version", code="version_of_a_change", detail=detail),))
    return merged(in_present_shape(parent), change)


def merged(old: object, change: object) -> Any:
    """The merge patch applied; `null` removes a field, which then has its default."""
    if not isinstance(change, Mapping):
        return change
    other_kind = isinstance(old, Mapping) and "kind" in change and change["kind"] != old.get("kind")
    kept = {} if other_kind or not isinstance(old, Mapping) else old
    both = {**kept, **{name: merged(kept.get(name), value) for name, value in change.items()}}
    return {name: value for name, value in both.items() if not (name in change and change[name] is None)}
