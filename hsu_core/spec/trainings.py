"""Which tasks train a network? Each has its own file next to this one, or a plug-in, and is a member of the union."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter

from hsu_core.spec import plugins
from hsu_core.spec.classification import ClassificationSpec
from hsu_core.spec.nodes import NodesSpec
from hsu_core.spec.plugin_tasks import PluginTask
from hsu_core.spec.recommendation import RecommendationSpec
from hsu_core.spec.texts import TextsSpec

__all__ = ["TRAINING", "AnyTraining"]

_BuiltIn = ClassificationSpec | NodesSpec | TextsSpec | RecommendationSpec

plugins.load(plugins.TASKS, (PluginTask,), taken={*plugins.names(_BuiltIn, tag="task"), "points"}, tag="task")
if TYPE_CHECKING:
    AnyTraining = Annotated[_BuiltIn | PluginTask, Field(discriminator="task")]
else:
    AnyTraining = plugins.menu(_BuiltIn, PluginTask, tag="task")

TRAINING: TypeAdapter[AnyTraining] = TypeAdapter(AnyTraining)
"""Parses a tree of plain values; the field `task` selects the spec."""
