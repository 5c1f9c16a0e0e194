"""May this spec be queued here, by this key? What the spec's own types cannot know.

Knows machines, what they can read, and what a key may ask for. A spec that could run with another key is `Forbidden`;
one that could run with no key is `SpecRejected`. Both point at the field.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy.orm import Session

from hsu_core.data.files import UNPUBLISHED, DatasetNotFound, require
from hsu_core.spec import OwnDataset, PublishedDataset, plugins
from hsu_jobs import queries
from hsu_jobs.artifacts import checkpoints
from hsu_jobs.datasets import filling
from hsu_jobs.errors import Fault, Forbidden, Gone, NotFound, SpecRejected
from hsu_jobs.settings import Settings
from hsu_jobs.spec import Envelope, JobSpec, Resources
from hsu_jobs.tables import ApiKey, Job, Role

MOST_PARAMETERS = 10**10
"""With gradients and an optimizer's numbers 120 GB and more: as much as the largest GPU holds."""
MOST_MEMORY = 2**40
"""Bytes that a step may take on its device: more than any has."""
MOST_VALUES = 10**9
"""Numbers that a job's curves may hold: 8 GB of the database."""
ENOUGH_FAULTS = 20
"""Refused jobs after which the check of many stops: no more are reported."""
ENOUGH_SECONDS = 0.5
"""Seconds of a core after which the check of many jobs stops if one was refused."""
MOST_SECONDS = 3.0
"""And if none was."""


def check(session: Session, spec: JobSpec, settings: Settings, *, key: ApiKey) -> None:
    """Raise `Forbidden` or `SpecRejected` if the job could not run."""
    check_priority(spec.priority, settings, key=key)
    _check_quota(spec.resources, key)
    _raise_any((*_own_faults(spec), *_faults_here(session, spec, settings, key=key)))


def check_all(session: Session, specs: Sequence[JobSpec], settings: Settings, *, key: ApiKey) -> None:
    """Raise `Forbidden` or `SpecRejected` if any of many jobs could not run, with what is wrong with the first of them.

    The costs of jobs that differ only in what costs do not depend on, as the jobs of a sweep over seeds, learning rates
    or strengths, are computed once.
    """
    refusals: list[Forbidden | SpecRejected] = []
    known: dict[str, tuple[Fault, ...]] = {}
    began = time.thread_time()
    for place, spec in enumerate(specs):
        if len(refusals) >= ENOUGH_FAULTS:
            break
        if time.thread_time() - began > (ENOUGH_SECONDS if refusals else MOST_SECONDS):
            refusals.append(_not_checked(place))
            break
        try:
            check_priority(spec.priority, settings, key=key)
            _check_quota(spec.resources, key)
            like = _what_costs_depend_on(spec)
            if like not in known:
                known[like] = tuple(_own_faults(spec))
            _raise_any((*known[like], *_faults_here(session, spec, settings, key=key)))
        except (Forbidden, SpecRejected) as error:
            error.faults = tuple(
                fault.model_copy(update={"pointer": f"/jobs/{place}{fault.pointer}"}) for fault in error.faults
            )
            refusals.append(error)
    if refusals:
        first = refusals[0]
        count = f"{'at least ' * (len(refusals) >= ENOUGH_FAULTS)}{len(refusals)}"
        raise type(first)(
            f"{count} of {len(specs)} jobs cannot be queued, the first because {first.detail}",
            faults=tuple(fault for refusal in refusals for fault in refusal.faults),
        )


def _what_costs_depend_on(spec: JobSpec) -> str:
    """Equal for jobs of equal costs with the same names of layers."""
    content = spec.model_dump(mode="json", exclude={*Envelope.model_fields, "seed", "schedule", "initial"})
    for name in ("lr", "weight_decay"):
        content.get("optimizer", {}).pop(name, None)
    penalty = content.get("regularizer", {})
    for name in {"hidden_weight", "final_weight", "weight"} & set(penalty):
        penalty[name] = penalty[name] > 0  # a term without weight is not computed
    return json.dumps(content)


def _not_checked(place: int) -> SpecRejected:
    detail = "the jobs before this one take too long to check: submit this and the following ones apart"
    return SpecRejected(detail, faults=(Fault(pointer=f"/jobs/{place}", code="not_looked_at", detail=detail),))


def _raise_any(faults: tuple[Fault, ...]) -> None:
    if faults:
        raise SpecRejected("; ".join(fault.detail for fault in faults), faults=faults)


def _own_faults(spec: JobSpec) -> Iterator[Fault]:
    """What is wrong with the work itself, on any machine."""
    yield from _size_faults(spec)
    yield from _layer_faults(spec)


def _faults_here(session: Session, spec: JobSpec, settings: Settings, *, key: ApiKey) -> Iterator[Fault]:
    """What is missing for this job here and now."""
    yield from _machine_faults(session, spec.resources)
    yield from _dataset_faults(session, spec, settings, key)
    yield from _initial_faults(session, spec, key)


def check_priority(priority: int, settings: Settings, *, key: ApiKey) -> None:
    """Raise `Forbidden` if this key may not ask for so high a priority."""
    most = settings.member_priority
    if key.role is not Role.ADMIN and priority > most:
        detail = f"members may ask for a priority of {most} at most, found {priority}; an admin may raise it"
        raise Forbidden(detail, faults=(Fault(pointer="/priority", code="priority_too_high", detail=detail),))


def _check_quota(resources: Resources, key: ApiKey) -> None:
    most = key.user.max_gpus
    if most is not None and resources.gpus > most:
        detail = f"{key.user.name} may use {most} GPUs at once, found {resources.gpus}; an admin may raise it"
        raise Forbidden(detail, faults=(Fault(pointer="/resources/gpus", code="over_quota", detail=detail),))


def _size_faults(spec: JobSpec) -> Iterator[Fault]:
    """Each field is in its range, but the product of several may be beyond every machine."""
    found = spec.costs()
    if found is None:
        return
    if found.parameters > MOST_PARAMETERS:
        detail = f"the model may have {MOST_PARAMETERS:,} parameters at most, found {found.parameters:,}"
        yield Fault(pointer="/model", code="too_many_parameters", detail=detail)
    elif found.memory.total > MOST_MEMORY:
        detail = f"a step may take {MOST_MEMORY:,} bytes at most, found {found.memory.total:,}: ask for a smaller batch"
        yield Fault(pointer="/batch_size", code="too_much_memory", detail=detail)
    if found.values > MOST_VALUES:
        detail = f"the curves may hold {MOST_VALUES:,} values at most, found {found.values:,}: record less often"
        yield Fault(pointer="/record/every", code="too_many_values", detail=detail)


def _layer_faults(spec: JobSpec) -> Iterator[Fault]:
    """Such a job would fail as soon as its network is built."""
    for misfit in spec.layer_misfits():
        yield Fault(pointer=misfit.pointer, code="no_such_layer", detail=misfit.reason)


def _machine_faults(session: Session, resources: Resources) -> Iterator[Fault]:
    """A machine that is away counts: it will come back. Before the first one has registered, every spec is accepted."""
    largest = _machines(session).largest
    if not largest:
        return
    if resources.pool not in largest:
        detail = f"there is no pool {resources.pool!r}; there are: {', '.join(sorted(largest))}"
        yield Fault(pointer="/resources/pool", code="unknown_pool", detail=detail)
        return
    most = largest[resources.pool]
    if resources.gpus > most:
        detail = f"no machine of pool {resources.pool!r} has {resources.gpus} GPUs; the largest has {most}"
        yield Fault(pointer="/resources/gpus", code="no_such_machine", detail=detail)


class Machines(NamedTuple):
    """What all workers that ever existed have, by pool."""

    largest: dict[str, int]
    """The GPUs of the largest worker."""
    datasets: dict[str, frozenset[str]]
    """The data sets that they can read; a pool is missing while none of its workers has reported."""


def _machines(session: Session) -> Machines:
    """The machines, looked up once a second at most: submissions come by the hundred."""
    server, now = session.get_bind(), time.monotonic()
    seen, machines = _seen.get(server, (-math.inf, Machines({}, {})))
    if now - seen < 1:
        return machines
    datasets: dict[str, frozenset[str]] = {}
    for pool, kinds in session.execute(queries.datasets_of_pools()):
        if kinds is not None:
            datasets[pool] = datasets.get(pool, frozenset()).union(kinds)
    machines = Machines(dict(session.execute(queries.largest_machines()).all()), datasets)
    _seen[server] = (now, machines)
    return machines


_seen: WeakKeyDictionary[object, tuple[float, Machines]] = WeakKeyDictionary()
"""By database: when it was asked, and its answer."""


def is_readable(session: Session, dataset: PublishedDataset, settings: Settings) -> bool:
    """Whether a worker of some pool can read a data set; whether this machine can, while no worker has reported."""
    readable = _machines(session).datasets.values()
    if readable:
        return any(dataset.kind in kinds for kinds in readable)
    return not list(_missing_here(dataset, settings))


def _dataset_faults(session: Session, spec: JobSpec, settings: Settings, key: ApiKey) -> Iterator[Fault]:
    """The workers report what they can read; before a pool's first report, this machine stands for its workers.

    A data set of a plug-in is waited for, as its plug-in is.
    """
    dataset = spec.required_dataset
    if isinstance(dataset, OwnDataset):
        yield from filling.dataset_faults(session, key, dataset)
        return
    if dataset is None or plugins.find(plugins.DATASETS, dataset.kind):
        return
    pool, kind = spec.resources.pool, dataset.kind
    have = _machines(session).datasets.get(pool)
    if have is None:
        can_be_fetched = settings.allow_download and kind not in UNPUBLISHED
        yield from () if can_be_fetched else _missing_here(dataset, settings)
    elif kind not in have:
        detail = (
            f"no worker of pool {pool!r} can read {kind}; they have: {', '.join(sorted(have))}. Place its files in the "
            "data folder of one (HSU_DATA_DIR), or let it fetch them (HSU_ALLOW_DOWNLOAD=true)"
        )
        yield Fault(pointer="/dataset", code="dataset_not_found", detail=detail)


def _initial_faults(session: Session, spec: JobSpec, key: ApiKey) -> Iterator[Fault]:
    """The checkpoint must be one that the user may see; its job stays locked, so that it is kept from now on."""
    if spec.initial_checkpoint is None:
        return
    job_id, step = spec.initial_checkpoint
    if session.execute(queries.ids_visible_to(key).where(Job.id == job_id)).first() is None:
        yield Fault(pointer="/initial/job", code="job_not_found", detail=f"there is no job {job_id} that you may see")
        return
    job = session.execute(queries.job_by_id(job_id).with_for_update(of=Job, read=True)).scalar_one()
    try:
        checkpoints.at(session, job, step)
    except (NotFound, Gone) as error:
        yield Fault(pointer="/initial/step", code="checkpoint_not_found", detail=error.detail)


def _missing_here(dataset: PublishedDataset, settings: Settings) -> Iterator[Fault]:
    try:
        require(dataset, settings.data_dir)
    except DatasetNotFound as error:
        yield Fault(pointer="/dataset", code="dataset_not_found", detail=f"{error} (HSU_ALLOW_DOWNLOAD=true)")
