"""How are the tensors of a checkpoint named? By what they belong to. Torch-free."""

from __future__ import annotations

MODEL, OPTIMIZER, PENALTY, AVERAGE = "model/", "optimizer/", "penalty/", "average/"
"""The prefixes: `model/conv1.weight`. An average of the weights has one more, `AVERAGED`."""
AVERAGED = "module."
"""What torch's `AveragedModel` puts before the names of the network that it averages."""
WEIGHTS = (MODEL, AVERAGE)
"""What a network is made of again; the other tensors are only for going on with its training."""
