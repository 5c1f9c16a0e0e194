"""Which numbers of a layer can be recorded? Those of the panel, and those of plug-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from hsu_core.spec import plugins
from hsu_core.spec.plugin_bases import PluginMeasure

__all__ = ["ALL_MEASURES", "MEASURES", "BuiltInMeasure", "Measure"]

BuiltInMeasure = Literal[
    "mhe_s0", "mhe_s1", "mhe_s2", "mhe_a0", "mhe_a1", "mhe_a2",
    "mhe_s0_half", "mhe_s1_half", "mhe_s2_half", "mhe_a0_half", "mhe_a1_half", "mhe_a2_half",
    "separation", "min_angle", "resultant_length", "coherence", "log_det", "effective_rank", "covering",
    "wasserstein_uniformity",
]  # fmt: skip
_BUILT_IN: tuple[BuiltInMeasure, ...] = get_args(BuiltInMeasure)

plugins.load(plugins.MEASURES, (PluginMeasure,), taken=_BUILT_IN)
if TYPE_CHECKING:  # a type checker cannot compute the members of a Literal
    Measure = BuiltInMeasure
else:
    Measure = Literal[(*_BUILT_IN, *(plugin.kind for plugin in plugins.installed(plugins.MEASURES)))]
ALL_MEASURES: tuple[Measure, ...] = get_args(Measure)
MEASURES = tuple(name for name in _BUILT_IN if name != "wasserstein_uniformity")
"""What is recorded by default: specs that are older than a measure stay as they were."""
