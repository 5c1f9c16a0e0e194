"""The mathematics: specs, energies, regularizers, models and the training loop. Empty of imports on purpose.

`hsu_core.load(path)` makes a network from a checkpoint; torch is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hsu_core.loading import load as load
else:  # not for mypy, for which every name would be here

    def __getattr__(name: str) -> object:
        if name != "load":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from hsu_core.loading import load

        return load
