"""Which networks can a spec choose? One menu with the networks of all tasks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hsu_core.spec.graph_models import GraphModel
from hsu_core.spec.image_models import ImageModel
from hsu_core.spec.recommenders import Recommender
from hsu_core.spec.text_models import TextModel

__all__ = ["Model"]

Model = Annotated[ImageModel | GraphModel | TextModel | Recommender, Field(discriminator="kind")]
