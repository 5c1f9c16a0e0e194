"""How does Hugging Face's Trainer log into a run? `Trainer(callbacks=[Tracked(run)])`. Needs `transformers`."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hsu_client.tracking.new_numbers import NewNumbers
from hsu_client.tracking.run import Run


class Tracked(TrainerCallback):
    """Logs what the trainer logs, records the energies of every layer, and stops the trainer when the owner asks."""

    def __init__(self, run: Run, *, measure_every: int = 0) -> None:
        """`measure_every`: steps between two records of the energies; 0 records none."""
        self._run, self._measure_every = run, measure_every
        self._numbers = NewNumbers(run)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Each time that the trainer logs."""
        self._numbers.log(state.global_step, logs or {})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """After each step."""
        if self._measure_every and state.global_step % self._measure_every == 0:
            self._run.measure(state.global_step, kwargs["model"])
        control.should_training_stop = control.should_training_stop or self._run.should_stop
