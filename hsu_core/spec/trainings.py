"""Which tasks train a network? Each has its own file next to this one, and is a member of the union."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from hsu_core.spec.classification import ClassificationSpec
from hsu_core.spec.nodes import NodesSpec
from hsu_core.spec.recommendation import RecommendationSpec
from hsu_core.spec.texts import TextsSpec

__all__ = ["TRAINING", "AnyTraining"]

AnyTraining = Annotated[ClassificationSpec | NodesSpec | TextsSpec | RecommendationSpec, Field(discriminator="task")]

TRAINING: TypeAdapter[AnyTraining] = TypeAdapter(AnyTraining)
"""Parses a tree of plain values; the field `task` selects the spec."""
