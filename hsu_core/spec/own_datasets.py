"""Which data sets do users bring, and what does a spec hold of one? All facts, so that it needs no look anywhere else.

A request names only the set. The service fills in its version, its hash and its facts before it parses the spec: what
is stored says exactly which content a job was trained on.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from hsu_core.spec.facts import ImageFacts, InteractionFacts, TextFacts
from hsu_core.spec.values import WHOLE, Count, Spec, fault

__all__ = ["OWN", "DatasetName", "OwnDataset", "OwnImages", "OwnInteractions", "OwnTexts", "called"]

OWN = "own"
"""The kind of every data set that a user has brought."""
LARGEST_SIDE = 1024
"""Pixels of the longest side of an image."""

DatasetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
OwnerName = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=1000)]
"""A user's name. Those that were stored before there was a rule are allowed too."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE), WHOLE]
Channels = Annotated[int, Field(ge=1, le=3), WHOLE]
Classes = Annotated[int, Field(ge=2, le=2**31 - 1), WHOLE]


def _only_the_name_is_needed(schema: dict[str, Any]) -> None:
    """The service fills in the rest of a request."""
    schema["required"] = ["kind", "name"]


class OwnDataset(Spec):
    """A version of a data set that a user has brought. Its name is enough: the service fills in the rest."""

    model_config = ConfigDict(json_schema_extra=_only_the_name_is_needed)

    held: ClassVar[str]
    """What it holds, as `holds` names it."""

    kind: Literal["own"] = "own"
    name: DatasetName
    owner: OwnerName = ""
    """The user who has brought it; by default you, or else the user who shares a set of this name."""
    version: Count
    """By default the newest that is ready."""
    sha256: Sha256
    """Of its content."""

    @model_validator(mode="before")
    @classmethod
    def _holds_what_the_task_needs(cls, value: Any) -> Any:
        found = value.get("holds", cls.held) if isinstance(value, dict) else cls.held
        if found != cls.held:
            named = value.get("name", "it")
            raise fault("name", "other_data", f"the task needs a set of {cls.held}, and {named!r} holds {found}")
        return value


class OwnImages(OwnDataset):
    """Your images, from a folder for each class, an npz file or a Parquet file (`hsu data add`)."""

    held = "images"

    holds: Literal["images"] = "images"
    shape: tuple[Channels, Side, Side]
    """Channels, height, width of one image."""
    classes: Classes
    train: Count
    """Number of training images."""
    test: Count

    @property
    def facts(self) -> ImageFacts:
        """Its sizes."""
        return ImageFacts(self.shape, self.classes, self.train, self.test)


class OwnTexts(OwnDataset):
    """Your texts, from a CSV file with the columns `text` and `category` (`hsu data add`)."""

    held = "texts"

    holds: Literal["texts"] = "texts"
    classes: Classes
    train: Count
    """Number of training texts."""
    test: Count

    @property
    def facts(self) -> TextFacts:
        """Its sizes."""
        return TextFacts(self.classes, self.train, self.test)


class OwnInteractions(OwnDataset):
    """Your interactions, from a CSV file with the columns `userId`, `movieId`, `rating`, `timestamp`
    (`hsu data add`).
    """  # noqa: D205

    held = "interactions"

    holds: Literal["interactions"] = "interactions"
    users: Count
    items: Count
    train: Count
    """Interactions to train on: the first four fifths of each user's interactions."""
    test: Count

    @property
    def facts(self) -> InteractionFacts:
        """Its sizes."""
        return InteractionFacts(self.users, self.items, self.train, self.test)


def called(dataset: Spec) -> str:
    """The name of a data set in messages."""
    return dataset.name if isinstance(dataset, OwnDataset) else str(dataset.kind)  # type: ignore[attr-defined]
