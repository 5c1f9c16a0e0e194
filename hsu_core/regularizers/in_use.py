"""Did the model's last forward use the model's own weights? Under `torch.func.functional_call` it does not.

A penalty of the model's own weights would then silently have no gradient for the used ones. Knows modules. A hook
notices each forward; it costs about a microsecond and keeps no tensor alive.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class InUse:
    """Compares the weights that the last forward used with the model's own, by identity."""

    def __init__(self, model: nn.Module, modules: Sequence[nn.Module]) -> None:
        self.held = [part._parameters for module in modules for part in module.modules() if part._parameters]
        self.known = self._now()
        self.used = self.known
        model.register_forward_pre_hook(self)

    def __call__(self, _module: nn.Module, _inputs: object) -> None:
        """Note, before a forward, which weights it will use."""
        if not torch.compiler.is_compiling():
            self.used = self._now()

    def check(self) -> None:
        """Raise RuntimeError if the last forward used other weights, unless the model's own were replaced since."""
        now = self._now()
        if self.used not in (now, self.known) and now == self.known:
            raise RuntimeError(
                "the model's last forward used other weights than it holds, as under torch.func.functional_call: "
                "call the penalty as penalty(step, params=…) with those, "
                "or with dict(model.named_parameters()) for the model's own"
            )
        self.known = self.used = now

    def _now(self) -> list[int]:
        return [id(own) for parameters in self.held for own in parameters.values()]
