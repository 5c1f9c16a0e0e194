"""How does a trainer of Lightning log into a run? `Trainer(callbacks=[Tracked(run)])`. Needs `lightning`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from hsu_client.tracking.new_numbers import NewNumbers
from hsu_client.tracking.run import Run


class Tracked(Callback):
    """Logs what the module logs, records the energies of every layer, and stops the trainer when the owner asks."""

    def __init__(self, run: Run, *, measure_every: int = 0) -> None:
        """`measure_every`: steps between two records of the energies; 0 records none."""
        self._run, self._measure_every = run, measure_every

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Before the first step."""
        trainer.loggers = [*trainer.loggers, _IntoRun(self._run)]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """After each step, which Lightning counts from 0 in what it logs."""
        if self._measure_every and trainer.global_step % self._measure_every == 0:
            self._run.measure(trainer.global_step - 1, pl_module)
        trainer.should_stop = trainer.should_stop or self._run.should_stop


class _IntoRun(Logger):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run, self._numbers = run, NewNumbers(run)

    @property
    def name(self) -> str:
        return "hsu"

    @property
    def version(self) -> int | None:
        return self._run.id

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run's `config` has them."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self._numbers.log(step or 0, metrics)
