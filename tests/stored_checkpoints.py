"""Real checkpoints of a real training, where the service finds them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.orm import Session

from hsu_core import spec
from hsu_core.outcomes import Saved
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train
from hsu_jobs import attempts
from hsu_jobs.artifacts import installation
from hsu_jobs.attempts import Claim
from hsu_jobs.settings import Settings

STEPS = (2, 4, 6)

TRAINING = spec.ClassificationSpec.model_validate(
    {
        "dataset": {"kind": "digits"},
        "model": {"kind": "mlp", "hidden": [16, 8]},
        "regularizer": {"kind": "mhe"},
        "optimizer": {"kind": "adamw", "lr": 0.01},
        "duration": {"steps": STEPS[-1]},
        "evaluate": {"every": 2},
        "checkpoint": {"every": 2, "keep_last": 3},
    }
)
"""A short one, which saves its state at each of `STEPS`."""


def stored(session: Session, claim: Claim, settings: Settings) -> list[Saved]:
    """Record the training's checkpoints as those of an attempt, as a runner does."""
    storage = installation.marked_storage(session, settings)
    folder = storage.prepare(claim.job_id, claim.attempt)
    saved = []
    for state, content in _trained():
        path = folder / state.path.name
        path.write_bytes(content)
        saved.append((state, storage.publish(path)))
    attempts.progress(session, claim.token, step=STEPS[-1], saved=saved)
    return [state for state, _ in saved]


@cache
def _trained() -> list[tuple[Saved, bytes]]:
    saved: list[tuple[Saved, bytes]] = []

    def kept(state: Saved) -> None:
        saved.append((state, state.path.read_bytes()))

    with TemporaryDirectory() as folder:
        train(TRAINING, callbacks=Callbacks(saved=kept, checkpoint_dir=Path(folder)))
    return saved
