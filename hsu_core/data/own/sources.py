"""What can be converted, and how may a user want it? Knows names and ranges; knows no files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hsu_core.spec.own_datasets import LARGEST_SIDE
from hsu_core.spec.values import WHOLE, Seed

Source = Literal["folder", "npz", "parquet", "texts", "interactions"]
"""`folder`: a zip archive of PNG, JPEG or WebP images, a folder for each class. `npz`: arrays `x` (uint8) and `y`.
`parquet`: Hugging Face's columns `image` and `label`. `texts`: CSV with `text,category`. `interactions`: CSV with
`userId,movieId,rating,timestamp`."""
SUFFIXES: dict[Source, str] = {
    "folder": ".zip",
    "npz": ".npz",
    "parquet": ".parquet",
    "texts": ".csv",
    "interactions": ".csv",
}


class Options(BaseModel):
    """How the data are converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    size: Annotated[int, Field(ge=1, le=LARGEST_SIDE), WHOLE] | None = None
    """Scale each image of a folder or of a Parquet file to a square of so many pixels, cut from its middle."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """The part of each class that is held out for the test, where no test part is given."""
    seed: Seed = 0
    """Which examples these are."""
