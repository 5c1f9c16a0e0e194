"""Which regularizers can a spec choose?

Knows the menus of `family.py`, `baselines.py`, `dispersion.py` and `class_gap.py`, and combines them. A `match` over
one of these unions ends with `assert_never`, so that the type checker reports each place where a new member is missing.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hsu_core.spec.baselines import FeatureBaseline, LayerBaseline
from hsu_core.spec.class_gap import HUG
from hsu_core.spec.dispersion import FeatureDispersion, LayerDispersion
from hsu_core.spec.family import Family, NoRegularizer

__all__ = ["FeatureRegularizer", "LayerRegularizer", "Regularizer"]

LayerRegularizer = Family | LayerBaseline | LayerDispersion
"""A penalty on the weights of layers."""
FeatureRegularizer = FeatureBaseline | FeatureDispersion | HUG
"""A penalty on the features of a batch."""
Regularizer = Annotated[NoRegularizer | LayerRegularizer | FeatureRegularizer, Field(discriminator="kind")]
