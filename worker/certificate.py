"""What proves how a training came about? Its spec, code, data, weights, libraries and device."""

from __future__ import annotations

import platform
from dataclasses import asdict

import numpy
import torch

from hsu_core.outcomes import DeviceUsed, Hashes
from hsu_jobs.results import Certificate, Device
from hsu_jobs.spec import TrainingJob
from worker.code_version import code_version


def certificate(spec: TrainingJob, hashes: Hashes, device: DeviceUsed) -> Certificate:
    """The certificate of a training that this process has just finished."""
    return Certificate(
        fingerprint=spec.fingerprint,
        **code_version()._asdict(),
        **asdict(hashes),
        python=platform.python_version(),
        torch=str(torch.__version__),
        numpy=numpy.__version__,
        deterministic=torch.are_deterministic_algorithms_enabled(),
        cudnn_deterministic=torch.backends.cudnn.deterministic,
        cudnn_benchmark=torch.backends.cudnn.benchmark,
        float32_matmul=torch.get_float32_matmul_precision(),
        device=Device(**asdict(device)),
    )
