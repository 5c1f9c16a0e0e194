"""What work does a spec ask for? Train a network, or place points on a sphere, and return how that ended.

Knows specs, the mathematics and this machine's folders. Knows no jobs, attempts or databases: `Callbacks` carry the
measured values and the request to stop. The runner decides what a stop means for the job.
"""

from __future__ import annotations

import traceback
from base64 import b64encode
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, assert_never

from hsu_core.data.download import DownloadFailed
from hsu_core.data.files import DatasetNotFound
from hsu_core.data.images import DamagedFile
from hsu_core.outcomes import Diverged, Finished, Stopped
from hsu_core.training import hardware
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.checkpoint import CheckpointOfNewerVersion
from hsu_core.training.initial_weights import InitialNotFound
from hsu_core.training.launch import RankDied, train
from hsu_core.training.out_of_memory import is_out_of_memory
from hsu_core.training.strength import NoSuchStrength
from hsu_jobs.outcomes import Crashed, Failed, Faulty, FileMissing, Succeeded, Unavailable
from hsu_jobs.results import RESULT, Answers, BestKnown, Device, PointsResult
from hsu_jobs.settings import Settings
from hsu_jobs.spec import JobSpec, PointsJob, TrainingJob
from worker.certificate import certificate

Done = Succeeded | Failed | Crashed | Faulty | FileMissing | Unavailable | Stopped


def do(
    spec: JobSpec,
    callbacks: Callbacks,
    *,
    resume_from: Path | None,
    initial_from: Path | None = None,
    own_dir: Path | None = None,
    settings: Settings,
    gpus: int = 0,
) -> Done:
    """Do what the spec asks, on `gpus` GPUs or on the CPU; `own_dir` is the folder of its own data set.

    Every error is a `Failed`, except where only this machine lacks something. If fewer GPUs are found than were given,
    it is the machine's fault and nothing is done: work for a GPU never runs on a CPU instead.
    """
    if reason := hardware.missing(gpus):
        return Faulty(message=reason)
    try:
        match spec:
            case TrainingJob():
                files = _Files(resume_from, initial_from, own_dir)
                return _train(spec, callbacks, settings, files, gpus=gpus)
            case PointsJob():
                return _place(spec, callbacks)
            case _:
                assert_never(spec)
    except (DatasetNotFound, DamagedFile, DownloadFailed) as error:
        return Unavailable(code="dataset_unavailable", message=str(error))
    except InitialNotFound as error:  # the owner's own file: it says nothing of the data set
        return FileMissing(message=str(error))
    except CheckpointOfNewerVersion as error:  # after a roll-back: a worker of that version can resume from it
        return Unavailable(code="checkpoint_not_readable", message=str(error))
    except NoSuchStrength as error:
        return Failed(code="no_such_strength", message=str(error))
    except RankDied as error:
        if error.for_memory:
            return Failed(code="out_of_memory", message=str(error))
        return Crashed(message=str(error))
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        if is_out_of_memory(error):
            return Failed(code="out_of_memory", message=message)
        is_refusal = isinstance(error, ValueError)  # it may quote names of the spec, which say nothing of the machine
        is_faulty = is_hardware(message) and not is_refusal
        return Faulty(message=message) if is_faulty else Failed(code="error", message=message)


def is_hardware(message: str) -> bool:
    """Whether an error is the machine's fault and not the job's, by the messages of CUDA and NCCL."""
    return any(sign in message.lower() for sign in _HARDWARE)


_HARDWARE = (
    "uncorrectable ecc error",
    "cuda error: unknown error",
    "cuda error: hardware stack error",
    "cuda driver initialization failed",
    "cuda unknown error",
    "no cuda-capable device",
    "no cuda gpus are available",
    "found no nvidia driver",
    "busy or unavailable",
    "driver/library version mismatch",
    "cuda driver version is insufficient",
    "system not yet initialized",
    "gpu is lost",
    "unspecified launch failure",
    "nvlink",
    "unhandled system error",
)


class _Files(NamedTuple):
    """What a training begins with."""

    resume_from: Path | None
    initial_from: Path | None
    own_dir: Path | None


def _train(
    spec: TrainingJob,
    callbacks: Callbacks,
    settings: Settings,
    files: _Files,
    *,
    gpus: int,
) -> Done:
    ended = train(
        spec,
        processes=spec.resources.gpus,
        data_dir=settings.data_dir,
        device="cuda" if gpus else "cpu",
        allow_download=settings.allow_download,
        callbacks=callbacks,
        resume_from=files.resume_from,
        initial_from=files.initial_from,
        own_dir=files.own_dir,
    )
    match ended:
        case Finished() as finished:
            return _succeeded(spec, finished)
        case Diverged(step=step, layer=layer, measure=measure):
            where = f"{measure} of {layer}" if layer else measure
            return Failed(code="diverged", message=f"{where} was not finite at step {step}")
        case Stopped():
            return ended
        case _:
            assert_never(ended)


def _succeeded(spec: TrainingJob, finished: Finished) -> Succeeded:
    device, hashes, strength, answers = finished.device, finished.hashes, finished.strength, finished.answers
    told = {
        "device": device and asdict(device),
        "plugins": spec.plugins or None,
        "strength": strength and asdict(strength),
        "certificate": certificate(spec, hashes, device) if hashes and device else None,
    }
    return Succeeded(
        result=RESULT.validate_python({"task": spec.task, **finished.metrics, **finished.tables, **told}),
        skipped_layers=finished.skipped_layers,
        unsaved=finished.unsaved,
        answers=answers and Answers(count=answers.count, bits=b64encode(answers.bits)),
    )


def _place(spec: PointsJob, callbacks: Callbacks) -> Done:
    from hsu_core import sphere  # which imports scipy: 0.4 s that no training needs

    found = sphere.optimize(
        spec.n,
        spec.d,
        spec.objective,
        half_space=spec.half_space,
        starts=spec.starts,
        seed=spec.seed,
        report=callbacks.report,
        should_stop=callbacks.should_stop,
    )
    if isinstance(found, Stopped):
        return found
    known = found.best_known
    return Succeeded(
        result=PointsResult(
            value=found.value,
            values=found.values,
            best_known=known and BestKnown(value=known.value, source=known.source, is_proven=known.is_proven),
            gap=found.gap,
            inner=found.inner,
            points=found.points.tolist(),
            device=Device(**asdict(hardware.used(found.points.device))),
        )
    )
