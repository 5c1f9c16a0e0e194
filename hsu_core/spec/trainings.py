"""Which tasks train a network? A new one is a file beside this one, and a member of the union."""

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
"""Reads a tree of plain values that names its task."""
