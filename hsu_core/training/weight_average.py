"""What is the moving average of the weights, and when does it take their place?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hsu_core import tasks


def of(model: nn.Module, *, decay: float | None) -> AveragedModel | None:
    """An exponential moving average that starts as the model; None without a decay.

    Buffers, such as the averages of batch norms, are the model's own after each update.
    """
    if decay is None:
        return None
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
    average.update_parameters(model)  # the first update copies
    return average


@contextmanager
def evaluated(task: tasks.Task[Any, Any], average: AveragedModel | None) -> Iterator[None]:
    """Inside, the task's network is the average, if there is one."""
    if average is None:
        yield
        return
    model, task.model = task.model, average.module
    try:
        yield
    finally:
        task.model = model
