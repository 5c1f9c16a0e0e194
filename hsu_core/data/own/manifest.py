"""What is the format of a converted data set? A folder of npy files, and a manifest with their hashes and the facts.

    manifest.json
    images        train_x.npy test_x.npy (uint8: image, channel, row, column), train_y.npy test_y.npy (int64: class)
    texts         train_x.npy test_x.npy (uint8: all texts in UTF-8, one after the other), train_ends.npy test_ends.npy
                  (int64: where each one ends), train_y.npy test_y.npy
    interactions  train.npy test.npy (int64: user, item)

Each file can be mapped into memory. The SHA-256 of the manifest is the identity of the content: it covers all files.
Knows no numpy.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hsu_core.data.images import DamagedFile

NAME = "manifest.json"
PARTS = ("train", "test")
EVERY_NAME = (NAME, *(f"{part}{kind}.npy" for part in PARTS for kind in ("", "_x", "_y", "_ends")))
"""All names that a file of a converted set may have."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class File(_Frozen):
    """One file of the folder."""

    size: int
    """In bytes."""
    sha256: str


class _Classes(_Frozen):
    class_names: tuple[str, ...]
    """In the order of their numbers."""
    train_counts: tuple[int, ...]
    """Training examples of each class."""
    test_counts: tuple[int, ...]

    @property
    def sizes(self) -> dict[str, Any]:
        """What a spec holds of it."""
        return {
            "classes": len(self.class_names),
            "train": sum(self.train_counts),
            "test": sum(self.test_counts),
        }


class ImagesContent(_Classes):
    """Images."""

    holds: Literal["images"] = "images"
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    """Of each channel over all training images, from 0 to 255."""

    @property
    def sizes(self) -> dict[str, Any]:
        """What a spec holds of it."""
        return {"shape": self.shape, **super().sizes}


class TextsContent(_Classes):
    """Texts."""

    holds: Literal["texts"] = "texts"


class InteractionsContent(_Frozen):
    """Interactions of users with items."""

    holds: Literal["interactions"] = "interactions"
    users: int
    items: int
    train: int
    test: int

    @property
    def sizes(self) -> dict[str, Any]:
        """What a spec holds of it."""
        return self.model_dump(exclude={"holds"})


Content = Annotated[ImagesContent | TextsContent | InteractionsContent, Field(discriminator="holds")]


class Manifest(_Frozen):
    """What a folder holds."""

    format: Literal[1] = 1
    content: Content
    files: dict[str, File]

    @property
    def text(self) -> bytes:
        """As it is written."""
        return self.model_dump_json().encode()

    @property
    def sha256(self) -> str:
        """The identity of the content."""
        return hashlib.sha256(self.text).hexdigest()

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return len(self.text) + sum(file.size for file in self.files.values())


def read(folder: Path, *, sha256: str) -> Manifest:
    """The manifest of a folder, which must have this hash. Raises DamagedFile, or an OSError."""
    file = folder / NAME
    text = file.read_bytes()
    if (found := hashlib.sha256(text).hexdigest()) != sha256:
        raise DamagedFile(f"{file}: expected the SHA-256 {sha256}, found {found}")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise DamagedFile(f"{file}: this version does not know the format: {error}") from error


def verify(folder: Path, manifest: Manifest) -> None:
    """Raise DamagedFile unless each file of the folder is as the manifest says."""
    for name, expected in manifest.files.items():
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected.sha256:
            raise DamagedFile(f"{folder / name}: expected the SHA-256 {expected.sha256}, found {found}")
