"""Which weights and which batches did a run start from? Hashes that are equal for equal values.

Two runs with the same hashes started from the same weights and saw the same data in the same order: they are a pair.
Neither the device nor the memory layout counts.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from hsu_core import tasks
from hsu_core.data import content_hash
from hsu_core.ranks import World

FIRST = 3
"""Batches whose content is hashed."""


def of_weights(model: nn.Module) -> str:
    """Of all tensors of a network by name: parameters and buffers."""
    return content_hash.of({name: each for name, each in model.state_dict().items() if isinstance(each, torch.Tensor)})


def of_batches(task: tasks.Task[Any, Any], first: int, world: World) -> str:
    """Of the first batches from a step on, as they enter the network, with their classes.

    In a parallel run of the ranks' hashes in order, each of the rank's parts; every rank must call this.
    """
    own = hashlib.sha256()
    for _, batch in zip(range(FIRST), task.batches(first), strict=False):
        own.update(bytes.fromhex(content_hash.of(*task.content(batch))))
    if world.is_alone:
        return own.hexdigest()
    everyone = world.gathered(torch.tensor([list(own.digest())], dtype=torch.float32))
    return hashlib.sha256(bytes(everyone.flatten().int().tolist())).hexdigest()
