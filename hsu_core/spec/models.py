"""Which networks can a spec choose? A menu for each kind of data, with the networks of plug-ins, and one with all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hsu_core.spec import plugins
from hsu_core.spec.graph_models import BuiltInGraphModel
from hsu_core.spec.image_models import BuiltInImageModel
from hsu_core.spec.plugin_bases import (
    PluginGraphModel,
    PluginImageModel,
    PluginRecommender,
    PluginTextModel,
)
from hsu_core.spec.recommenders import BuiltInRecommender
from hsu_core.spec.text_models import BuiltInTextModel

__all__ = ["GraphModel", "ImageModel", "Model", "Recommender", "TextModel"]

_BuiltIn = BuiltInImageModel | BuiltInGraphModel | BuiltInTextModel | BuiltInRecommender

plugins.load(
    plugins.MODELS,
    (PluginImageModel, PluginGraphModel, PluginTextModel, PluginRecommender),
    taken=plugins.names(_BuiltIn),
)
if TYPE_CHECKING:
    ImageModel = Annotated[BuiltInImageModel | PluginImageModel, Field(discriminator="kind")]
    GraphModel = Annotated[BuiltInGraphModel | PluginGraphModel, Field(discriminator="kind")]
    TextModel = Annotated[BuiltInTextModel | PluginTextModel, Field(discriminator="kind")]
    Recommender = Annotated[BuiltInRecommender | PluginRecommender, Field(discriminator="kind")]
else:
    ImageModel = plugins.menu(BuiltInImageModel, PluginImageModel)
    GraphModel = plugins.menu(BuiltInGraphModel, PluginGraphModel)
    TextModel = plugins.menu(BuiltInTextModel, PluginTextModel)
    Recommender = plugins.menu(BuiltInRecommender, PluginRecommender)

Model = Annotated[ImageModel | GraphModel | TextModel | Recommender, Field(discriminator="kind")]
