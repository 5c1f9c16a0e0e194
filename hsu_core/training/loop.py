"""How is one model trained from one spec?

Knows tensors, specs and clocks. Knows nothing of jobs, databases, queues or HTTP: progress leaves through `report`
(its references through `describe`), and a request to stop arrives through `should_stop`. A point at step k describes
the weights after k updates; 0 is the start.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hsu_core import models, regularizers, spec
from hsu_core.data import reading
from hsu_core.data.batches import Batch, Batches
from hsu_core.data.images import Images
from hsu_core.measures import panel, references
from hsu_core.outcomes import DeviceUsed, Diverged, Finished, Outcome, Reference, Saved, Series, Stopped
from hsu_core.ranks import ALONE, World
from hsu_core.regularizers.layers import Layer, chosen, layers
from hsu_core.regularizers.penalty import Penalty
from hsu_core.training import checkpoint, hardware, replica, schedule
from hsu_core.training.callbacks import SILENT, Callbacks
from hsu_core.training.saving import Saving

Values = dict[Series, float]

TEST_ACCURACY = Series(None, "test_accuracy")


def train(
    training: spec.TrainingSpec,
    *,
    callbacks: Callbacks = SILENT,
    data_dir: Path | None = None,
    device: torch.device | str = "cpu",
    resume_from: Path | None = None,
    allow_download: bool = False,
    world: World = ALONE,
) -> Outcome:
    """Train to the end, until asked to stop, or until a reported number is not finite.

    Values are reported at step 0, every `record.every` steps, at evaluations and at the last step. The state is saved
    as the spec says, when stopped, and at the end. A disk that does not take a state does not end the run: the last
    state waits, and if that does not help, `unsaved` of the outcome says why. Files are never removed: the caller
    decides what is kept. A run resumed from such a file reports that step again and ends, on a CPU, bit for bit as if
    it had never stopped. The global random generators are neither read nor changed.

    In a `world` of several, every rank calls this with the same spec, except for the device, and makes the same updates
    up to rounding as one process would; only the first rank asks `should_stop`. `launch` starts the others.

    Raises DatasetNotFound, DamagedFile, DownloadFailed, CheckpointMismatch; ValueError for a layer that does not exist,
    a layer that cannot be regularized, a checkpoint beyond the last step, or a batch without equal parts.
    """
    began = time.monotonic()
    if reason := training.indivisible(world.size):
        raise ValueError(reason)
    images = reading.load(training.dataset, data_dir, allow_download=allow_download)
    return _Run(training, images, callbacks, torch.device(device), resume_from, world, began).to_the_end()


class _Run:
    """One run, with everything that its steps need."""

    def __init__(
        self,
        training: spec.TrainingSpec,
        images: Images,
        callbacks: Callbacks,
        device: torch.device,
        resume_from: Path | None,
        world: World,
        began: float,
    ) -> None:
        """`began`: the time on the monotonic clock before the data were read."""
        self.training, self.callbacks, self.world, self.began = training, callbacks, world, began
        self.batches = Batches(
            images, size=training.batch_size, seed=training.seed, device=device, augment=training.augment, world=world
        )
        self.total = training.total_steps
        self.model = models.build(training.model, training.dataset.facts, seed=training.seed).to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
        self.network = replica.wrap(self.model, world)
        self.optimizer = _optimizer(training.optimizer, self.model)
        self.penalty = regularizers.build(
            training.regularizer, self.model, seed=training.seed, total_steps=self.total, world=world
        )
        self.layers = layers(self.model)
        self.recorded = chosen(self.layers, training.record.layers, field="record.layers")
        self.start, scores = 0, checkpoint.Scores()
        if resume_from:
            self.start, scores = checkpoint.load(
                resume_from, self.model, self.optimizer, penalty=self.penalty, wanted=training
            )
        if self.start > self.total:
            raise ValueError(
                f"expected a checkpoint of at most {self.total} steps, found one of {self.start}: {resume_from}"
            )
        self.saving = Saving(training.checkpoint, callbacks, write=self._write, start=self.start, scores=scores)

    def to_the_end(self) -> Outcome:
        """Run all steps."""
        self.callbacks.describe(_references(self.recorded, self.training.record))
        # One pass more than there are updates: the last one only measures.
        steps = range(self.start, self.total + 1)
        for step, batch in zip(steps, self.batches.training(self.start), strict=False):
            is_last = step == self.total
            if not is_last and self.world.agree(self.callbacks.should_stop()):
                return Stopped(step, self.saving.save(step))
            if outcome := self._step(step, batch, is_last=is_last):
                return outcome
        raise AssertionError("the last pass returns")

    def _step(self, step: int, batch: Batch, *, is_last: bool) -> Outcome | None:
        """Measure one step and, except at the last, update the weights; returns the outcome if the run ends here."""
        training, penalty, world = self.training, self.penalty, self.world
        values, unsaved = self._evaluated_and_saved(step, is_last=is_last)

        learning_rate = schedule.rate(training.schedule, training.optimizer.lr, step=step, total=self.total)
        logits = _logits(self.network, batch, precision=training.precision)
        loss = cross_entropy(logits, batch[1])
        acts, is_recorded = penalty.acts(step), is_last or step % training.record.every == 0
        energy = penalty.value(step, lr=learning_rate) if acts or is_recorded else loss.new_zeros(())
        if is_recorded:
            accuracy = (logits.argmax(dim=1) == batch[1]).float().mean()
            values |= _of_model(loss=world.mean(loss), penalty=energy, accuracy=world.mean(accuracy))
            values[Series(None, "learning_rate")] = learning_rate
            values |= _of_layers(self.recorded, training.record)
            values |= _of_poles(penalty.inner_gaps(step, lr=learning_rate))
        if values:
            self.callbacks.report(step, values)
            if trouble := _trouble(step, values, self.layers, penalty):
                return trouble
        if is_last:
            seconds = time.monotonic() - self.began
            metrics = _metrics(values, self.model, steps=step - self.start, seconds=seconds)
            return Finished(step, metrics, penalty.skipped, unsaved, _device(self.model, world))

        self.optimizer.zero_grad()
        objective: Tensor = loss + penalty.every * energy if acts else loss
        objective.backward()  # type: ignore[no-untyped-call]
        world.align(penalty.buffers())
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return None

    def _evaluated_and_saved(self, step: int, *, is_last: bool) -> tuple[Values, str | None]:
        """The results of the evaluation, if one is due, and why the last state could not be saved.

        Runs before the penalty, which moves the authors' poles when called; a resumed run does this step again.
        """
        training, values, is_best = self.training, Values(), False
        if is_last or _is_due(step, training.evaluate.every or training.steps_per_epoch):
            values = _evaluate(self.model, self.batches, precision=training.precision, world=self.world)
            is_best = self.saving.note(step, values[TEST_ACCURACY])
        if is_last:
            return values, self.saving.save_last(step)
        if is_best or self.saving.is_due(step):
            self.saving.save(step)
        return values, None

    def _write(self, step: int, scores: checkpoint.Scores) -> Saved | None:
        if not self.callbacks.checkpoint_dir:
            return None
        return checkpoint.save(
            self.callbacks.checkpoint_dir,
            self.model,
            self.optimizer,
            penalty=self.penalty,
            step=step,
            made_by=self.training,
            scores=scores,
        )


def _optimizer(chosen: spec.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    match chosen:
        case spec.SGD():
            return torch.optim.SGD(
                model.parameters(),
                lr=chosen.lr,
                momentum=chosen.momentum,
                nesterov=chosen.nesterov,
                weight_decay=chosen.weight_decay,
                fused=True,
            )
        case spec.AdamW():
            return torch.optim.AdamW(
                model.parameters(), lr=chosen.lr, betas=chosen.betas, weight_decay=chosen.weight_decay, fused=True
            )
        case _:
            assert_never(chosen)


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step > 0 and step % every == 0


def _logits(model: nn.Module, batch: Batch, *, precision: str) -> Tensor:
    """Logits in float32, in whatever precision the network ran."""
    x, _ = batch
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = model(x)
    return logits.float()


@torch.inference_mode()
def _evaluate(model: nn.Module, batches: Batches, *, precision: str, world: World) -> Values:
    """Mean cross entropy and fraction of correct classes over the whole test set."""
    model.eval()
    losses, hits = [], []
    for batch in batches.testing():
        logits, y = _logits(model, batch, precision=precision), batch[1]
        losses.append(cross_entropy(logits, y, reduction="none"))
        hits.append(logits.argmax(dim=1) == y)
    model.train()
    totals = torch.stack([torch.cat(losses).double().sum(), torch.cat(hits).double().sum()])
    test_loss, test_accuracy = world.sum(totals) / len(batches.test_y)
    return _of_model(test_loss=test_loss, test_accuracy=test_accuracy)


def _of_model(**measured: Tensor) -> Values:
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


def _trouble(step: int, values: Values, found: list[Layer], penalty: Penalty) -> Diverged | None:
    """The number that is not finite, as close to its cause as possible: a layer's weights or penalty, or a loss."""
    finite = torch.stack([layer.weight.isfinite().all() for layer in found]).tolist()
    if not all(finite):
        return Diverged(step, found[finite.index(False)].name, "weights")
    gone = {series.measure for series, value in values.items() if series.layer is None and not math.isfinite(value)}
    if "penalty" in gone:
        terms = penalty.by_layer()
        culprit = next((name for name, value in terms.items() if not math.isfinite(value.item())), None)
        return Diverged(step, culprit, "penalty")
    return next((Diverged(step, None, loss) for loss in ("loss", "test_loss") if loss in gone), None)


def _device(model: nn.Module, world: World) -> DeviceUsed:
    return hardware.used(next(model.parameters()).device, count=world.size)


def _metrics(values: Values, model: nn.Module, *, steps: int, seconds: float) -> dict[str, float]:
    last = {series.measure: value for series, value in values.items() if series.layer is None}
    return {
        "test_accuracy": last["test_accuracy"],
        "test_loss": last["test_loss"],
        "train_loss": last["loss"],
        "penalty": last["penalty"],
        "seconds": seconds,
        "steps_per_second": steps / seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
