"""What do the first steps of a training give, or its last ones from a checkpoint, when they are run again?

Knows stored specs, files and this machine. Knows no service: what a job recorded is compared by who asks.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy
import torch

from hsu_core import spec
from hsu_core.data import content_hash, reading
from hsu_core.data.download import DownloadFailed
from hsu_core.data.files import DatasetNotFound
from hsu_core.data.images import DamagedFile
from hsu_core.loading import training_of
from hsu_core.outcomes import Answers, Diverged, Finished, Outcome, Series
from hsu_core.training import checkpoint, hardware, launch
from hsu_core.training.callbacks import Callbacks

Points = dict[tuple[str | None, str], dict[int, float]]
"""The values of each curve, by its layer and its measure, and by step."""


class CannotReplay(ValueError):
    """The machine cannot run the training: its data, its device or its libraries lack something."""


class Machine(NamedTuple):
    """How a training is run again: as it was, where the bits depend on it."""

    device: Literal["cpu", "cuda"] = "cpu"
    processes: int = 1
    threads: int | None = None
    """Of each process; None for torch's own choice."""
    data_dir: Path | None = None
    allow_download: bool = False


class Replayed(NamedTuple):
    """What the steps gave."""

    points: Points
    hashes: dict[str, str | None]
    """By their names in a certificate: `data`, `initial_weights`, `first_batches`; `final_weights` after the last
    step."""
    factor: float | None
    """Of the penalty's weights, if the spec has a `strength`."""
    answers: Answers | None
    """Only after the last step."""


def replay(
    made_by: Mapping[str, Any],
    *,
    until: int | None = None,
    machine: Machine = Machine(),  # noqa: B008 - a frozen value
    resume_from: Path | None = None,
    initial_from: Path | None = None,
) -> Replayed:
    """Run the training of a stored spec, up to and with the point of a step; None: to its end.

    `resume_from` is the checkpoint to go on from, `initial_from` that of an `InitialJob`. Raises CannotReplay, and
    ValueError for a spec or a file that does not fit.
    """
    training = training_of(made_by)
    if isinstance(training.dataset, spec.OwnDataset):
        raise CannotReplay(f"the data set {training.dataset.name} is not on this machine: a service does not send it")
    points: Points = {}

    def report(step: int, values: Mapping[Series, float]) -> None:
        for series, value in values.items():
            points.setdefault((series.layer, series.measure), {})[step] = value

    with TemporaryDirectory(prefix="hsu-") as folder, _threads(machine.threads), _told():
        stop = _at(until, first=checkpoint.describe(resume_from).step if resume_from else 0)
        callbacks = Callbacks(report=report, should_stop=stop, checkpoint_dir=Path(folder))
        outcome = launch.train(
            training,
            processes=machine.processes,
            device=machine.device,
            data_dir=machine.data_dir,
            allow_download=machine.allow_download,
            resume_from=resume_from,
            initial_from=initial_from,
            callbacks=callbacks,
        )
        if isinstance(outcome, Diverged):
            return Replayed(points, {}, None, None)
        origin = _origin(Path(folder))
        data = reading.load(training.dataset, machine.data_dir)
        known = content_hash.of_dataset(training.dataset, data, machine.data_dir)
    return Replayed(points, {"data": known} | _hashes(origin, outcome), origin.factor, _answers(outcome))


def here(device: str) -> dict[str, str]:
    """What of this machine may change the last bits, by the names of a certificate."""
    used = hardware.used(torch.device(device))
    libraries = {"torch": str(torch.__version__), "numpy": numpy.__version__}
    return {"python": platform.python_version(), **libraries, "device": f"{used.type} {used.name}"}


def has_cuda(devices: int) -> bool:
    """Whether this machine has so many GPUs."""
    return hardware.missing(devices) is None


def _at(until: int | None, *, first: int) -> Callable[[], bool]:
    """Asks to stop before the update that follows the point of this step."""
    asked = count(first)
    return lambda: until is not None and next(asked) > until


def _origin(folder: Path) -> checkpoint.Origin:
    saved = checkpoint.latest(folder)
    if saved is None:
        raise CannotReplay("there is no room for a checkpoint in the folder for temporary files")
    return checkpoint.describe(saved).origin


def _hashes(origin: checkpoint.Origin, outcome: Outcome) -> dict[str, str | None]:
    found = {"initial_weights": origin.initial_weights, "first_batches": origin.first_batches}
    if isinstance(outcome, Finished) and outcome.hashes:
        found["final_weights"] = outcome.hashes.final_weights
    return found


def _answers(outcome: Outcome) -> Answers | None:
    return outcome.answers if isinstance(outcome, Finished) else None


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _told() -> Iterator[None]:
    """Say in one word what this machine lacks."""
    try:
        yield
    except (DatasetNotFound, DamagedFile, DownloadFailed, ModuleNotFoundError, OSError) as error:
        raise CannotReplay(str(error)) from error
