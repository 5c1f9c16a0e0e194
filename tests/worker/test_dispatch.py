"""What an error in the work says of the job and of the machine."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from samples import DIGITS

from hsu_core.data.download import DownloadFailed
from hsu_core.data.files import DatasetNotFound
from hsu_core.data.images import DamagedFile
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.checkpoint import CheckpointMismatch, CheckpointOfNewerVersion
from hsu_core.training.initial_weights import InitialNotFound
from hsu_core.training.launch import RankDied
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.results import RESULT
from hsu_jobs.settings import Settings
from hsu_jobs.spec import parse
from worker import dispatch


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Exception], dict[str, Any]]:
    """What an attempt ends in whose training raises this."""

    def tried(error: Exception) -> dict[str, Any]:
        def train(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(dispatch, "train", train)
        callbacks = Callbacks(checkpoint_dir=tmp_path)
        done = dispatch.do(parse(DIGITS), callbacks, resume_from=None, settings=Settings())
        return done.model_dump()

    return tried


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: unspecified launch failure",
        "CUDA driver initialization failed, you might not have a CUDA gpu.",
        "No CUDA GPUs are available",
        "Found no NVIDIA driver on your system.",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "NCCL error in: ProcessGroupNCCL.cpp:1269, unhandled system error (run with NCCL_DEBUG=INFO for details)",
    ],
)
def test_what_the_hardware_or_its_driver_says_is_a_fault_of_the_machine(
    ended: Callable[[Exception], dict[str, Any]], message: str
) -> None:
    done = ended(RuntimeError(message))
    assert done["kind"] == "faulty"
    assert message in done["message"]


def _of_torch() -> Exception:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**14)
    return raised.value


def _of_numpy() -> Exception:
    with pytest.raises(MemoryError) as raised:
        numpy.empty(10**14)
    return raised.value


def _beyond_any_size() -> Exception:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**62, 2**10)
    return raised.value


def _from_another() -> Exception:
    error = RuntimeError("the batch could not be made")
    error.__cause__ = MemoryError()
    return error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RankDied("rank 1 with status 12", for_memory=True),
        _of_torch(),
        _of_numpy(),
        _beyond_any_size(),
        _from_another(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_is_not_tried_again(ended: Callable[[Exception], dict[str, Any]], error: Exception) -> None:
    done = ended(error)
    assert (done["kind"], done["code"]) == ("failed", "out_of_memory")
    assert str(error) in done["message"]


def test_any_other_error_is_the_jobs_own(ended: Callable[[Exception], dict[str, Any]]) -> None:
    done = ended(ValueError("regularizer.layers: 'conv7' matches no layer; there are hidden1, classifier"))
    assert (done["kind"], done["code"]) == ("failed", "error")
    assert "there are hidden1, classifier" in done["message"]
    quoting = ended(ValueError("data/nvlink.safetensors: expected a safetensors file"))
    assert (quoting["kind"], quoting["code"]) == ("failed", "error")


@pytest.mark.parametrize(
    "error",
    [
        DatasetNotFound("mnist cannot be read: [Errno 13] Permission denied"),
        DamagedFile("t10k-images: expected 7840016 bytes, found 12"),
        DownloadFailed("could not download mnist"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_data_that_cannot_be_read_here_are_the_machines_lack_and_not_the_jobs_failure(
    ended: Callable[[Exception], dict[str, Any]], error: Exception
) -> None:
    done = ended(error)
    assert (done["kind"], done["code"], done["message"]) == ("unavailable", "dataset_unavailable", str(error))


def test_a_file_that_the_spec_names_and_this_machine_lacks_says_nothing_of_its_data_set(
    ended: Callable[[Exception], dict[str, Any]],
) -> None:
    done = ended(InitialNotFound("the first weights cannot be read: no such file"))
    assert done == {"kind": "file_missing", "message": "the first weights cannot be read: no such file"}


def test_a_checkpoint_of_a_newer_version_waits_for_a_worker_that_can_read_it(
    ended: Callable[[Exception], dict[str, Any]],
) -> None:
    told = ended(CheckpointOfNewerVersion("its spec was written by spec version 9"))
    assert (told["kind"], told["code"]) == ("unavailable", "checkpoint_not_readable")
    assert ended(CheckpointMismatch("another model"))["kind"] == "failed"


def test_what_is_measured_at_the_end_is_in_the_result() -> None:
    evaluate = {"calibration": {}, "attacks": {"epsilons": [0, 0.1]}, "corruptions": {"kinds": ["contrast"]}}
    asked = parse(DIGITS | {"evaluate": evaluate | {"features": {"measures": ["neural_collapse"]}}})
    done = dispatch.do(asked, Callbacks(), resume_from=None, settings=Settings())
    assert isinstance(done, Succeeded)
    result = done.model_dump(mode="json")["result"]
    assert [row["attack"] for row in result["adversarial"]] == ["fgsm", "fgsm", "pgd", "pgd"]
    assert result["adversarial"][0] == {"attack": "fgsm", "epsilon": 0.0, "accuracy": result["test_accuracy"]}
    assert result["pgd_accuracy"] == result["adversarial"][-1]["accuracy"] < result["test_accuracy"]
    assert [(row["corruption"], row["severity"]) for row in result["corruptions"]] == [
        ("contrast", severity) for severity in range(1, 6)
    ]
    assert 0 < result["ece"] < 1
    assert result["nc1"] > 0
    assert result["linear_probe_accuracy"] is None
    assert RESULT.validate_python(result).model_dump(mode="json") == result


def test_the_death_of_a_rank_is_a_crash(ended: Callable[[Exception], dict[str, Any]]) -> None:
    assert ended(RankDied("rank 1 ended with SIGKILL"))["kind"] == "crashed"
