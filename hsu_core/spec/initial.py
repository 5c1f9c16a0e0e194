"""From which weights does a training start? From those of another job, or of a file, in place of drawn ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from hsu_core.spec.values import MOST_PATTERNS, WHOLE, Pattern, Spec, at_most

__all__ = ["Initial", "InitialFile", "InitialJob"]


class InitialWeights(Spec):
    """Which of the network's tensors are taken over: all but those that are left."""

    leave: Annotated[tuple[Pattern, ...], Field(max_length=MOST_PATTERNS), at_most(MOST_PATTERNS)] = ()
    """Names or patterns (`classifier.*`) of parameters and buffers that keep their own first values."""


class InitialJob(InitialWeights):
    """The weights of a checkpoint of another job. Its optimizer, its steps and its regularizer do not matter.

    The checkpoint is kept until this job has ended. To go on with a job, fork it.
    """

    kind: Literal["job"] = "job"
    job: Annotated[int, Field(ge=1, le=2**63 - 1), WHOLE]
    step: Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE]
    """The step of the checkpoint."""


class InitialFile(InitialWeights):
    """A safetensors file in the data folder, with tensors named as in the network, or a checkpoint of this service."""

    kind: Literal["file"] = "file"
    path: Annotated[
        str, StringConstraints(max_length=500, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
    ]
    """Below HSU_DATA_DIR, with `/` between folders."""


Initial = Annotated[InitialJob | InitialFile, Field(discriminator="kind")]
