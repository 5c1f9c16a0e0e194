"""How is one model trained from one spec?

Knows tensors, specs and clocks. Knows no data, no kind of network and no loss: `tasks` does. Knows nothing of jobs,
databases, queues or HTTP: progress leaves through `report` (its references through `describe`), and a request to stop
arrives through `should_stop`. A point at step k describes the weights after k updates; 0 is the start.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from hsu_core import evaluations, regularizers, spec, tasks
from hsu_core.data import content_hash, reading
from hsu_core.measures import panel, references
from hsu_core.outcomes import (
    Answers,
    DeviceUsed,
    Diverged,
    Finished,
    Hashes,
    Outcome,
    Reference,
    ResolvedStrength,
    Saved,
    Series,
    Stopped,
)
from hsu_core.ranks import ALONE, World
from hsu_core.regularizers.layers import Layer, chosen, layers
from hsu_core.training import (
    checkpoint,
    gradient_share,
    hardware,
    hashes,
    initial_weights,
    optimizers,
    replica,
    schedule,
    strength,
    weight_average,
)
from hsu_core.training.callbacks import SILENT, Callbacks
from hsu_core.training.saving import Saving

Values = dict[Series, float]


def train(
    training: spec.TrainingSpec,
    *,
    callbacks: Callbacks = SILENT,
    data_dir: Path | None = None,
    device: torch.device | str = "cpu",
    resume_from: Path | None = None,
    initial_from: Path | None = None,
    allow_download: bool = False,
    own_dir: Path | None = None,
    world: World = ALONE,
) -> Outcome:
    """Train to the end, until asked to stop, or until a reported number is not finite.

    Values are reported at step 0, every `record.every` steps, at evaluations and at the last step. The state is saved
    as the spec says, when stopped, and at the end. A disk that does not take a state does not end the run: the last
    state waits, and if that does not help, `unsaved` of the outcome says why. Files are never removed: the caller
    decides what is kept. A run resumed from such a file reports that step again and ends, on a CPU, bit for bit as if
    it had never stopped. The global random generators are neither read nor changed.

    `initial_from` is the checkpoint that an `InitialJob` of the spec names; a resumed run needs none. `own_dir` is the
    folder of the spec's own data set, as `hsu_core.data.own` converts it.

    In a `world` of several, every rank calls this with the same spec, except for the device, and makes the same updates
    up to rounding as one process would; only the first rank asks `should_stop`. `launch` starts the others.

    Raises DatasetNotFound, DamagedFile, DownloadFailed, CheckpointMismatch, InitialNotFound, InitialMismatch;
    ValueError for a layer that does not exist, a layer that cannot be regularized, a checkpoint beyond the last step,
    or a batch without equal parts; ModuleNotFoundError if a library of the spec's `evaluate` is not installed.
    """
    began = time.monotonic()
    evaluations.require(training.evaluate)
    if reason := training.indivisible(world.size):
        raise ValueError(reason)
    device = torch.device(device)
    data = reading.load(training.dataset, data_dir, allow_download=allow_download, own_dir=own_dir)
    task = tasks.prepare(training, data, device=device, world=world)
    if not resume_from:
        initial_weights.take_over(task.model, training, saved=initial_from, data_dir=data_dir)
    data_hash = content_hash.of_dataset(training.dataset, data, data_dir) if world.rank == 0 else None
    return _Run(training, task, callbacks, resume_from, world, began, data_hash).to_the_end()


class _Run:
    """One run, with everything that its steps need."""

    def __init__(
        self,
        training: spec.TrainingSpec,
        task: tasks.Task[Any, Any],
        callbacks: Callbacks,
        resume_from: Path | None,
        world: World,
        began: float,
        data_hash: str | None,
    ) -> None:
        """`began`: the time on the monotonic clock before the data were read."""
        self.training, self.task, self.callbacks, self.world, self.began = training, task, callbacks, world, began
        self.total = training.total_steps
        self.model = task.model
        self.network = replica.wrap(self.model, world)
        self.average = weight_average.of(self.model, decay=training.ema)
        self.final = {layer.name for layer in training.geometry.layers if layer.is_final}
        self.optimizer = optimizers.build(training.optimizer, self.model, final=self.final)
        self.layers = layers(self.model, final=self.final)
        self.recorded = chosen(self.layers, training.record.layers, field="record.layers")
        self.start, self.data_hash = 0, data_hash
        scores = self._resumed(resume_from) if resume_from else self._begun()
        self.saving = Saving(
            training.checkpoint, training.primary, callbacks, write=self._write, start=self.start, scores=scores
        )

    def _begun(self) -> checkpoint.Scores:
        """Begin anew: find out what the run starts from, and build the penalty."""
        self.origin = self._origin(self._resolved())
        self.penalty = self._built(self.origin.factor, self.model)
        return checkpoint.Scores()

    def _resumed(self, resume_from: Path) -> checkpoint.Scores:
        """Set everything to a saved state; returns the scores up to it.

        A fork that asks for another strength, or another penalty, finds its factor at the weights that it starts from.
        """
        description, training = checkpoint.describe(resume_from), self.training
        factor = checkpoint.factor_for(description, training)
        is_unresolved = training.strength is not None and factor is None
        penalty = self._built(factor, copy.deepcopy(self.model) if is_unresolved else self.model)
        self.start, scores = checkpoint.load(
            resume_from, self.model, self.optimizer, penalty=penalty, average=self.average, wanted=training
        )
        if self.start > self.total:
            raise ValueError(
                f"expected a checkpoint of at most {self.total} steps, found one of {self.start}: {resume_from}"
            )
        if is_unresolved:
            factor = self._resolved()
            kept, penalty = penalty, self._built(factor, self.model)
            penalty.load_state_dict(kept.state_dict())
        self.penalty = penalty
        self.origin = description.origin if checkpoint.is_of(description, training) else self._origin(factor)
        return scores

    def _resolved(self) -> float | None:
        if self.training.strength is None:
            return None
        return strength.factor(self.training, self.task, first=self.start, final=self.final, world=self.world)

    def _built(self, factor: float | None, model: nn.Module) -> regularizers.Penalty:
        """The penalty of the spec, with its weights times the factor."""
        chosen = self.training.regularizer
        return regularizers.build(
            chosen if factor is None else spec.scaled(chosen, factor),
            model,
            seed=self.training.seed,
            total_steps=self.total,
            final=self.final,
            world=self.world,
        )

    def _origin(self, factor: float | None) -> checkpoint.Origin:
        first_batches = hashes.of_batches(self.task, self.start, self.world)
        return checkpoint.Origin(hashes.of_weights(self.model), first_batches, factor)

    def to_the_end(self) -> Outcome:
        """Run all steps."""
        if left_out := {**self.task.left_out, **self.penalty.skipped}:
            self.callbacks.skipped(left_out)
        self.callbacks.describe(_references(self.recorded, self.training.record))
        # One pass more than there are updates: the last one only measures.
        steps = range(self.start, self.total + 1)
        for step, batch in zip(steps, self.task.batches(self.start), strict=False):
            is_last = step == self.total
            if not is_last and self.world.agree(self.callbacks.should_stop()):
                return Stopped(step, self.saving.save(step))
            if outcome := self._step(step, batch, is_last=is_last):
                return outcome
        raise AssertionError("the last pass returns")

    def _step(self, step: int, batch: object, *, is_last: bool) -> Outcome | None:
        """Measure one step and, except at the last, update the weights; returns the outcome if the run ends here."""
        training, task, penalty, world = self.training, self.task, self.penalty, self.world
        values, unsaved = self._evaluated_and_saved(step, is_last=is_last)
        found = self._measured_once(values) if is_last else evaluations.NOTHING
        if found is None:
            return Stopped(step, unsaved)

        learning_rate = schedule.rate(training.schedule, training.optimizer.lr, step=step, total=self.total)
        outputs = task.outputs(self.network, batch)
        loss = task.loss(outputs, batch)
        acts, is_recorded = penalty.acts(step), is_last or step % training.record.every == 0
        classes = task.known_classes(batch) if penalty.needs_classes else None
        energy = penalty.value(step, lr=learning_rate, classes=classes) if acts or is_recorded else loss.new_zeros(())
        added = penalty.every * energy if acts else None
        if is_recorded:
            measured = task.measured(outputs, batch)
            values |= self._recorded(step, measured, loss=loss, energy=energy, added=added, learning_rate=learning_rate)
        if values:
            self.callbacks.report(step, values)
            if trouble := _trouble(step, values, self.layers, partial(penalty.by_layer, classes=classes)):
                return trouble
        if is_last:
            return self._finished(step, values, found, unsaved)

        self.optimizer.zero_grad()
        objective = loss if added is None else loss + added
        objective.backward()  # type: ignore[no-untyped-call]
        world.align(penalty.buffers())
        if training.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.model)
        return None

    def _finished(self, step: int, values: Values, found: evaluations.Found, unsaved: str | None) -> Finished:
        seconds = time.monotonic() - self.began - found.seconds
        metrics = _metrics(values, self.training, self.model, steps=step - self.start, seconds=seconds) | found.metrics
        at_best = self.saving.scores.at_best or {}
        metrics |= {f"selected_{name}": at_best[name] for name in self.training.selected}
        return Finished(
            step,
            metrics,
            self.penalty.skipped,
            unsaved,
            _device(self.model, self.world),
            found.tables,
            hashes=Hashes(self.data_hash, self.origin.initial_weights, self.origin.first_batches, self.final_weights),
            strength=_strength(self.training, self.origin.factor),
            answers=self.answers,
        )

    def _recorded(
        self,
        step: int,
        measured: dict[str, Tensor],
        *,
        loss: Tensor,
        energy: Tensor,
        added: Tensor | None,
        learning_rate: float,
    ) -> Values:
        """A point of every curve of the training; `added` is what the penalty adds to the loss, if it acts."""
        record, world = self.training.record, self.world
        means = {name: world.mean(value) for name, value in measured.items()}
        values = _of_model({"loss": world.mean(loss), "penalty": energy, **means})
        values[Series(None, "learning_rate")] = learning_rate
        if record.l2:
            values |= _of_model({"l2": optimizers.l2_term(self.optimizer)})
        values |= _of_layers(self.recorded, record)
        values |= _of_poles(self.penalty.inner_gaps(step, lr=learning_rate))
        if record.gradient_share:
            shares = gradient_share.of_layers(self.recorded, loss, added, world=world)
            values |= {Series(layer, "gradient_share"): share for layer, share in shares.items()}
        return values

    def _evaluated_and_saved(self, step: int, *, is_last: bool) -> tuple[Values, str | None]:
        """The results of the evaluation, if one is due, and why the last state could not be saved.

        Runs before the penalty, which moves the authors' poles when called; a resumed run does this step again.
        """
        training, values, is_best = self.training, Values(), False
        if is_last or (step > 0 and step % training.evaluated_every == 0):
            with weight_average.evaluated(self.task, self.average):
                values = _of_model(self.task.evaluated())
            is_best = self.saving.note(step, {series.measure: value for series, value in values.items()})
        if is_last:
            self.final_weights, self.answers = hashes.of_weights(self.model), _answers(self.task.right())
            return values, self.saving.save_last(step)
        if is_best or self.saving.is_due(step):
            self.saving.save(step)
        return values, None

    def _measured_once(self, values: Values) -> evaluations.Found | None:
        """What else the spec's `evaluate` asks for; None if asked to stop meanwhile: a resumed run measures it.

        Of the state that is saved: a later forward pass in training mode would move the statistics of batch norms.
        """
        if not all(map(math.isfinite, values.values())):
            return evaluations.NOTHING  # the run has diverged
        with weight_average.evaluated(self.task, self.average):
            return evaluations.at_the_end(
                self.training, self.task, world=self.world, should_stop=self.callbacks.should_stop
            )

    def _write(self, step: int, scores: checkpoint.Scores) -> Saved | None:
        if not self.callbacks.checkpoint_dir:
            return None
        return checkpoint.save(
            self.callbacks.checkpoint_dir,
            self.model,
            self.optimizer,
            penalty=self.penalty,
            average=self.average,
            step=step,
            made_by=self.training,
            scores=scores,
            origin=self.origin,
        )


def _of_model(measured: dict[str, Tensor]) -> Values:
    """Scalars on the device as numbers, in one transfer."""
    numbers = torch.stack([value.detach().double() for value in measured.values()]).tolist()
    return {Series(None, name): number for name, number in zip(measured, numbers, strict=True)}


def _of_layers(watched: list[Layer], record: spec.Record) -> Values:
    return {
        Series(layer.name, measure): value
        for layer in watched
        for measure, value in panel.measure(layer.points().detach(), record.measures).items()
    }


def _references(watched: list[Layer], record: spec.Record) -> dict[Series, Reference]:
    return {
        Series(layer.name, measure): reference
        for layer in watched
        for measure, reference in references.of_shape(
            *layer.points().shape, record.measures, device=layer.weight.device
        ).items()
    }


def _of_poles(gaps: dict[str, Tensor]) -> Values:
    return {Series(layer, "inner_gap"): gap.item() for layer, gap in gaps.items()}


def _trouble(
    step: int, values: Values, found: list[Layer], penalty_by_layer: Callable[[], dict[str, Tensor]]
) -> Diverged | None:
    """The number that is not finite, as close to its cause as possible: a layer's weights or penalty, or a loss."""
    finite = torch.stack([layer.weight.isfinite().all() for layer in found]).tolist()
    if not all(finite):
        return Diverged(step, found[finite.index(False)].name, "weights")
    gone = {series.measure for series, value in values.items() if series.layer is None and not math.isfinite(value)}
    if "penalty" in gone:
        terms = penalty_by_layer()
        culprit = next((name for name, value in terms.items() if not math.isfinite(value.item())), None)
        return Diverged(step, culprit, "penalty")
    return next((Diverged(step, None, measure) for measure in sorted(gone)), None)


def _strength(training: spec.TrainingSpec, factor: float | None) -> ResolvedStrength | None:
    if factor is None:
        return None
    return ResolvedStrength(factor, spec.weights_of(spec.scaled(training.regularizer, factor)))


def _answers(right: Bool[Tensor, " n"] | None) -> Answers | None:
    return None if right is None else Answers(len(right), np.packbits(right.cpu().numpy()).tobytes())


def _device(model: nn.Module, world: World) -> DeviceUsed:
    return hardware.used(next(model.parameters()).device, count=world.size)


def _metrics(
    values: Values, training: spec.TrainingSpec, model: nn.Module, *, steps: int, seconds: float
) -> dict[str, float]:
    last = {series.measure: value for series, value in values.items() if series.layer is None}
    return {
        **{name: last[name] for name in training.evaluated},
        "train_loss": last["loss"],
        "penalty": last["penalty"],
        "seconds": seconds,
        "steps_per_second": steps / seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
