"""Train one model from one spec.

Knows tensors, specs and clocks. Knows nothing of jobs, databases, queues or HTTP: progress leaves through `report`
(what to compare it with, through `describe`), and a wish to stop arrives through `should_stop`. A point at step k
describes the weights after k updates; 0 is the start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hsu_core import models, regularizers, spec
from hsu_core.data import reading
from hsu_core.data.batches import Batch, Batches
from hsu_core.measures import panel, references
from hsu_core.outcomes import DeviceUsed, Diverged, Finished, Outcome, Reference, Saved, Series, Stopped
from hsu_core.ranks import ALONE, World
from hsu_core.regularizers.layers import Layer, chosen, layers
from hsu_core.regularizers.penalty import Penalty
from hsu_core.training import checkpoint, hardware, replica, schedule
from hsu_core.training.saving import Saving

Values = dict[Series, float]

TEST_ACCURACY = Series(None, "test_accuracy")


def train(
    training: spec.TrainingSpec,
    *,
    describe: Callable[[Mapping[Series, Reference]], None] | None = None,
    report: Callable[[int, Mapping[Series, float]], None] = lambda step, values: None,  # noqa: ARG005
    should_stop: Callable[[], bool] = lambda: False,
    saved: Callable[[Saved], None] = lambda saved: None,  # noqa: ARG005
    before_saving: Callable[[], object] = lambda: None,
    save_patience: float | None = None,
    data_dir: Path | None = None,
    device: torch.device | str = "cpu",
    checkpoint_dir: Path | None = None,
    resume_from: Path | None = None,
    allow_download: bool = False,
    world: World = ALONE,
) -> Outcome:
    """Train to the end, or until asked to stop, or until what is reported tells that a number is not finite.

    `describe` gets what every layer's measures are to be compared with, once, before the first point. `report` gets all
    values of a step in one call: at step 0, every `record.every` steps, at evaluations and at the last step.
    `should_stop` is asked before every update.

    With a `checkpoint_dir` the state is saved as the spec says, when stopped, and at the end; `saved` is told once the
    file is durable. A disk that does not take it, or `before_saving`, which may raise OSError while the place is away,
    ends nothing: the last state waits for `save_patience` seconds (by default `saving.PATIENCE`), and what is missing
    then is `unsaved` of the outcome. Files are never removed:
    what is kept is up to the caller. A run resumed from such a file reports that step again and ends, on a CPU, bit for
    bit as if it had never stopped. The global random generators are neither read nor moved.

    In a `world` of several, every rank calls this with the same spec, device apart, and makes the same updates up to
    rounding as one process would; only the first rank is asked whether to stop. `parallel` starts the others.

    Raises DatasetNotFound, DamagedFile, DownloadFailed, CheckpointMismatch; ValueError for a layer that is not there, a
    layer that cannot be regularized, a checkpoint beyond the last step, or a batch without equal parts.
    """
    began = time.monotonic()
    device = torch.device(device)
    if reason := training.indivisible(world.size):
        raise ValueError(reason)
    images = reading.load(training.dataset, data_dir, allow_download=allow_download)
    batches = Batches(
        images, size=training.batch_size, seed=training.seed, device=device, augment=training.augment, world=world
    )
    model = models.build(training.model, training.dataset.facts, seed=training.seed).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    network = replica.wrap(model, world)
    optimizer = _optimizer(training.optimizer, model)
    total = training.total_steps
    penalty = regularizers.build(training.regularizer, model, seed=training.seed, total_steps=total, world=world)
    found = layers(model)
    watched = chosen(found, training.record.layers, field="record.layers")
    start, scores = 0, checkpoint.Scores()
    if resume_from:
        start, scores = checkpoint.load(resume_from, model, optimizer, penalty=penalty, wanted=training)
    if start > total:
        raise ValueError(f"expected a checkpoint of at most {total} steps, found one of {start}: {resume_from}")
    if describe:
        describe(_references(watched, training.record))

    def write(step: int, scores: checkpoint.Scores) -> Saved | None:
        if not checkpoint_dir:
            return None
        return checkpoint.save(
            checkpoint_dir, model, optimizer, penalty=penalty, step=step, made_by=training, scores=scores
        )

    saving = Saving(
        training.checkpoint,
        write=write,
        saved=saved,
        before=before_saving,
        patience=save_patience,
        start=start,
        scores=scores,
    )

    # One pass more than there are updates: the last one only looks.
    for step, batch in zip(range(start, total + 1), batches.training(start), strict=False):
        is_last = step == total
        if not is_last and world.agree(should_stop()):
            return Stopped(step, saving.save(step))

        values: Values = {}
        is_best, unsaved = False, None
        if is_last or _is_due(step, training.evaluate.every or training.steps_per_epoch):
            values |= _evaluate(model, batches, precision=training.precision, world=world)
            is_best = saving.note(step, values[TEST_ACCURACY])
        # Before the penalty, which moves the authors' poles when it is called; a resumed run does this step again.
        if is_last or is_best or saving.is_due(step):
            unsaved = saving.save_last(step) if is_last else saving.save(step)

        learning_rate = schedule.rate(training.schedule, training.optimizer.lr, step=step, total=total)
        logits = _logits(network, batch, precision=training.precision)
        loss = cross_entropy(logits, batch[1])
        acts, is_recorded = penalty.acts(step), is_last or step % training.record.every == 0
        energy = penalty.value(step, lr=learning_rate) if acts or is_recorded else loss.new_zeros(())
        if is_recorded:
            accuracy = (logits.argmax(dim=1) == batch[1]).float().mean()
            values |= _of_model(loss=world.mean(loss), penalty=energy, accuracy=world.mean(accuracy))
            values[Series(None, "learning_rate")] = learning_rate
            values |= _of_layers(watched, training.record)
            values |= _of_poles(penalty.inner_gaps(step, lr=learning_rate))
        if values:
            report(step, values)
            if trouble := _trouble(step, values, found, penalty):
                return trouble
        if is_last:
            metrics = _metrics(values, model, steps=step - start, seconds=time.monotonic() - began)
            return Finished(step, metrics, penalty.skipped, unsaved, _device(model, world))

        optimizer.zero_grad()
        objective: Tensor = loss + penalty.every * energy if acts else loss
        objective.backward()  # type: ignore[no-untyped-call]
        world.align(penalty.buffers())
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
    raise AssertionError("the last pass returns")


def _optimizer(chosen: spec.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    if isinstance(chosen, spec.SGD):
        return torch.optim.SGD(
            model.parameters(),
            lr=chosen.lr,
            momentum=chosen.momentum,
            nesterov=chosen.nesterov,
            weight_decay=chosen.weight_decay,
            fused=True,
        )
    return torch.optim.AdamW(
        model.parameters(), lr=chosen.lr, betas=chosen.betas, weight_decay=chosen.weight_decay, fused=True
    )


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step > 0 and step % every == 0


def _logits(model: nn.Module, batch: Batch, *, precision: str) -> Tensor:
    """In float32, whatever the network ran in."""
    x, _ = batch
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = model(x)
    return logits.float()


@torch.inference_mode()
def _evaluate(model: nn.Module, batches: Batches, *, precision: str, world: World) -> Values:
    """Mean cross entropy and share of correct classes over the whole test set."""
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
    """Scalars on the device as values, in one transfer."""
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
    """What is not finite, as near to its cause as can be said: a layer's weights, a layer's penalty, a loss."""
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
