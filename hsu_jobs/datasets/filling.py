"""What does a spec say of the data set that a user has brought? All its facts, filled in when it is submitted.

A stored spec is so complete in itself, and a job records the hash of what it was trained on. Facts that a request gives
itself must be the true ones. A set that the key may not use is like one that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter
from sqlalchemy.orm import Session

from hsu_core.data.own.manifest import Content
from hsu_core.spec import OWN, DatasetName, OwnDataset
from hsu_core.spec.values import WHOLE
from hsu_jobs import forks
from hsu_jobs.datasets import versions
from hsu_jobs.errors import BadRequest, Fault, NotFound, SpecRejected
from hsu_jobs.tables import ApiKey, DatasetRow, DatasetState

_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


class _Named(BaseModel):
    name: DatasetName
    owner: Annotated[str, Field(max_length=1000)] = ""
    version: Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE] | None = None


class _Asked(BaseModel):
    dataset: _Named


def filled(session: Session, key: ApiKey, spec: Any) -> Any:
    """The tree of a spec, with all facts of an own data set; any other tree as it is.

    Raises `SpecRejected`, or pydantic's `ValidationError`.
    """
    asked = spec.get("dataset") if isinstance(spec, Mapping) else None
    if not isinstance(asked, Mapping) or asked.get("kind") != OWN:
        return spec
    return {**spec, "dataset": _complete(session, key, asked)}


def filled_all(session: Session, key: ApiKey, specs: Any) -> Any:
    """The trees of many specs. Raises `SpecRejected` with what is wrong with each, pointing into a list."""
    if not isinstance(specs, Sequence) or isinstance(specs, str):
        return specs
    found, faults = [], []
    for place, spec in enumerate(specs):
        try:
            found.append(filled(session, key, spec))
        except SpecRejected as error:
            faults += [fault.model_copy(update={"pointer": f"/{place}{fault.pointer}"}) for fault in error.faults]
    if faults:
        raise SpecRejected(faults[0].detail, faults=tuple(faults))
    return found


def filled_change(session: Session, key: ApiKey, parent: Mapping[str, Any], change: Mapping[str, Any]) -> Any:
    """A change of a parent's spec, complete where it asks for an own data set. Raises as `filled`.

    With another name or version nothing of the parent's data set stays.
    """
    asked = change.get("dataset")
    before = parent.get("dataset")
    merged = forks.merged(before, asked) if isinstance(asked, Mapping) else None
    if not isinstance(asked, Mapping) or not isinstance(merged, Mapping) or merged.get("kind") != OWN:
        return change
    if "name" in asked:
        merged = {"kind": OWN, **asked}
    elif "version" in asked:
        merged = {"kind": OWN, "name": merged.get("name"), "owner": merged.get("owner", ""), **asked}
    return {**change, "dataset": _complete(session, key, merged)}


def dataset_faults(session: Session, key: ApiKey, dataset: OwnDataset) -> Iterator[Fault]:
    """Why a complete spec cannot use its data set now; it stays locked, so that it is not deleted meanwhile."""
    row = session.execute(versions.to_train_on(dataset.owner, dataset.name, dataset.version)).scalar_one_or_none()
    if row is None or session.execute(versions.visible_to(key).where(DatasetRow.id == row.id)).first() is None:
        detail = f"there is no data set {dataset.name!r} of {dataset.owner or 'anybody'} that you may use"
        yield Fault(pointer="/dataset/name", code="unknown_dataset", detail=detail)
    elif row.state is not DatasetState.READY or row.sha256 != dataset.sha256:
        yield Fault(pointer="/dataset/version", code="dataset_not_ready", detail=_not_ready(row))


def _complete(session: Session, key: ApiKey, asked: Mapping[str, Any]) -> dict[str, Any]:
    named = _Asked.model_validate({"dataset": dict(asked)}).dataset
    row = _chosen(session, key, named)
    complete = {"kind": OWN, "name": row.name, "owner": row.owner.name, "version": row.version, **facts_of(row)}
    faults = tuple(
        Fault(
            pointer=f"/dataset/{name}",
            code="other_facts",
            detail=f"version {row.version} of {row.name} has {name} {complete[name]}, found {str(value)[:100]}: "
            "leave it out",
        )
        for name, value in asked.items()
        if name in complete and not _is_equal(value, complete[name]) and not (name == "owner" and not value)
    )
    if faults:
        raise SpecRejected("; ".join(fault.detail for fault in faults), faults=faults)
    return {**asked, **complete}


def facts_of(row: DatasetRow) -> dict[str, Any]:
    """What a spec holds of a version that is ready, beside its name."""
    content = _CONTENT.validate_python(row.facts)
    return {"sha256": row.sha256, "holds": content.holds, **content.sizes}


def _chosen(session: Session, key: ApiKey, named: _Named) -> DatasetRow:
    try:
        rows = versions.of_name(session, key, named.name, owner=named.owner or None)
    except (NotFound, BadRequest) as error:
        if isinstance(error, BadRequest):
            raise _rejected("/dataset/owner", "unknown_dataset", error.detail) from error
        detail = f"{error.detail}; bring it with `hsu data add {named.name} PATH`"
        raise _rejected("/dataset/name", "unknown_dataset", detail) from error
    if named.version is None:
        ready = next((row for row in rows if row.state is DatasetState.READY), None)
        if ready is None:
            raise _rejected("/dataset/name", "dataset_not_ready", _not_ready(rows[0]))
        return ready
    row = next((row for row in rows if row.version == named.version), None)
    if row is None:
        detail = f"{named.name} has no version {named.version}; the newest is {rows[0].version}"
        raise _rejected("/dataset/version", "unknown_dataset", detail)
    if row.state is not DatasetState.READY:
        raise _rejected("/dataset/version", "dataset_not_ready", _not_ready(row))
    return row


def _not_ready(row: DatasetRow) -> str:
    why = f": {row.reason}" if row.reason else ""
    return f"version {row.version} of {row.name} is {row.state}, and not ready{why}"


def _rejected(pointer: str, code: str, detail: str) -> SpecRejected:
    return SpecRejected(detail, faults=(Fault(pointer=pointer, code=code, detail=detail),))


def _is_equal(given: object, true: object) -> bool:
    return list(given) == list(true) if isinstance(given, list) and isinstance(true, tuple) else given == true
