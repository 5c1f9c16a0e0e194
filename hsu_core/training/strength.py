"""By which factor is a penalty as strong as its spec asks? Found once, at the weights that a run starts from.

λ = r · (mean over b of ‖∇ L_b‖) / (mean over b of ‖∇ R_b‖), where b runs over the first k batches, L_b is the mean loss
of a batch and R_b the penalty at that step, with the weights of its spec, at full weight and without `every`. Both
gradients are Euclidean norms over all trained parameters that the penalty reaches: those of its layers, or all that
the features come from; never those that only the loss moves. In a parallel run they are those of the whole batch.

A penalty that draws random numbers, or moves poles or projections, does here what it would do in these steps, the
weights staying as they are. All of it happens in a copy of the network, with a penalty of its own: the training that
follows is the same to the bit as one with the resulting weights in its spec.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from hsu_core import regularizers, spec, tasks
from hsu_core.ranks import World
from hsu_core.regularizers import Penalty
from hsu_core.spec.values import LARGEST
from hsu_core.tasks.task import randomness
from hsu_core.training import schedule


class NoSuchStrength(ValueError):
    """No factor gives the penalty the strength that its spec asks for."""


def factor(
    training: spec.TrainingSpec, task: tasks.Task[Any, Any], *, first: int, final: Collection[str], world: World
) -> float:
    """The factor of the penalty's weights, bit for bit the same on every rank. Every rank must call this.

    `first` is the step at which the run begins; `final` names the classifier. Costs a forward and two backward passes a
    batch. Raises NoSuchStrength if the penalty's gradient is 0, or a norm or a resulting weight has no finite value.
    """
    assert training.strength is not None
    norms = _mean_norms(training, task, first=first, final=final, world=world)
    world.align([norms])
    of_loss, of_penalty = norms.tolist()
    asked, found = training.strength, f"‖∇ loss‖ = {of_loss:.3g}, ‖∇ {training.regularizer.kind}‖ = {of_penalty:.3g}"
    if not of_penalty:
        raise NoSuchStrength(f"strength: the penalty has no gradient that a factor could scale ({found})")
    if not of_loss:
        raise NoSuchStrength(f"strength: the loss has no gradient to compare the penalty with ({found})")
    resolved: float = asked.gradient_ratio * of_loss / of_penalty
    weights = spec.weights_of(spec.scaled(training.regularizer, resolved))
    if not resolved or any(not math.isfinite(weight) or weight > LARGEST for weight in weights.values()):
        raise NoSuchStrength(f"strength: the weights of the penalty would be out of all bounds ({found})")
    return resolved


def _mean_norms(
    training: spec.TrainingSpec, task: tasks.Task[Any, Any], *, first: int, final: Collection[str], world: World
) -> Float64[Tensor, 2]:
    """The mean norms of the gradients of loss and penalty over the first batches."""
    assert training.strength is not None
    network = copy.deepcopy(task.model)
    steady = training.regularizer.model_copy(update={"schedule": spec.Steady()})
    penalty = regularizers.build(
        steady, network, seed=training.seed, total_steps=training.total_steps, final=final, world=world
    )
    steps, norms = range(first, first + training.strength.batches), []
    for step, batch in zip(steps, task.batches(first), strict=False):
        lr = schedule.rate(training.schedule, training.optimizer.lr, step=step, total=training.total_steps)
        with randomness(training.seed, step, next(network.parameters()).device):
            norms.append(_norms(task, network, penalty, batch, step=step, lr=lr, world=world))
        world.align(penalty.buffers())
    return torch.stack(norms).mean(dim=0)


def _norms(
    task: tasks.Task[Any, Any],
    network: nn.Module,
    penalty: Penalty,
    batch: object,
    *,
    step: int,
    lr: float,
    world: World,
) -> Float64[Tensor, 2]:
    """The norms of the gradients of loss and penalty at one batch."""
    loss = task.loss(task.outputs(network, batch), batch)
    value = penalty.value(step, lr=lr, classes=task.known_classes(batch) if penalty.needs_classes else None)
    if not value.requires_grad:
        return loss.new_zeros(2, dtype=torch.float64)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(value, trained, retain_graph=True, allow_unused=True)
    reached = [parameter for parameter, own in zip(trained, found, strict=True) if own is not None]
    of_penalty = [own for own in found if own is not None]
    of_loss = torch.autograd.grad(loss, reached, materialize_grads=True)
    return torch.stack([_norm(each, world) for each in (of_loss, of_penalty)])


def _norm(gradients: Collection[Tensor], world: World) -> Float64[Tensor, ""]:
    """Of the mean over ranks, as in an update."""
    each = [torch.linalg.vector_norm(world.mean(gradient), dtype=torch.float64) for gradient in gradients]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(each))
    return norm
