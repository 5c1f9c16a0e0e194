"""May this spec be queued here? What the spec's own types cannot know: whether its data are there."""

from __future__ import annotations

from hsu_core.data.files import DatasetNotFound, require
from hsu_jobs.errors import Fault, SpecRejected
from hsu_jobs.settings import Settings
from hsu_jobs.spec import JobSpec, TrainingJob


def check(spec: JobSpec, settings: Settings) -> None:
    """Raise `SpecRejected`, pointing at the field, if the job could not run."""
    if settings.allow_download or not isinstance(spec, TrainingJob):
        return
    try:
        require(spec.dataset, settings.data_dir)
    except DatasetNotFound as error:
        fault = Fault(pointer="/dataset", code="dataset_not_found", detail=f"{error} (HSU_ALLOW_DOWNLOAD=true)")
        raise SpecRejected("the data set's files are not there", faults=(fault,)) from error
