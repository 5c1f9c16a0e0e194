"""Which regularizers can a spec choose?

Knows the menus of `family.py`, `baselines.py`, `dispersion.py` and `class_gap.py`, and combines them with those of
plug-ins. A `match` over one of these unions ends with `assert_never`, so that the type checker reports each place where
a new member is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hsu_core.spec import plugins
from hsu_core.spec.baselines import FeatureBaseline, LayerBaseline
from hsu_core.spec.class_gap import HUG
from hsu_core.spec.dispersion import FeatureDispersion, LayerDispersion
from hsu_core.spec.family import Family, NoRegularizer
from hsu_core.spec.plugin_bases import PluginFeaturePenalty, PluginLayerPenalty

__all__ = ["FeatureRegularizer", "LayerRegularizer", "Regularizer"]

_OfLayers = Family | LayerBaseline | LayerDispersion
_OfFeatures = FeatureBaseline | FeatureDispersion | HUG

plugins.load(
    plugins.REGULARIZERS,
    (PluginLayerPenalty, PluginFeaturePenalty),
    taken=plugins.names(NoRegularizer | _OfLayers | _OfFeatures),
)
if TYPE_CHECKING:
    LayerRegularizer = _OfLayers | PluginLayerPenalty
    FeatureRegularizer = _OfFeatures | PluginFeaturePenalty
else:
    LayerRegularizer = plugins.menu(_OfLayers, PluginLayerPenalty)
    FeatureRegularizer = plugins.menu(_OfFeatures, PluginFeaturePenalty)
Regularizer = Annotated[NoRegularizer | LayerRegularizer | FeatureRegularizer, Field(discriminator="kind")]
