"""What are the energies of a model's layers? The common panel of every layer, as jobs of the service record it.

Needs the library, `hsu_core`, which the client is installed without: it is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

from hsu_client.tracking.columns import Name


def panel(model: Any) -> dict[Name, float]:
    """Every measure of every layer, by layer and measure. Raises ImportError where the library is not installed."""
    try:
        found = importlib.import_module("hsu_core.regularizers.layers").layers(model)
        measure = importlib.import_module("hsu_core.measures.panel").measure
    except ImportError as error:
        raise ImportError(f"measuring needs the library: pip install 'hsu-service[core]' ({error})") from error
    return {(layer.name, name): value for layer in found for name, value in measure(layer.points().detach()).items()}
