"""How do image files become arrays? Each is decoded by Pillow, and all must have one shape, unless they are scaled.

There are two passes over the files: the first reads only their heads, so that a wrong shape is told before anything is
decoded. An image that claims to be larger than Pillow's limit is refused as a decompression bomb before its pixels are
made.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, UnidentifiedImageError

from hsu_core.data.own.image_writer import write_images
from hsu_core.data.own.manifest import Manifest
from hsu_core.data.own.refusal import Refused
from hsu_core.data.own.split import Label, Split
from hsu_core.data.own.writing import Space
from hsu_core.spec.own_datasets import LARGEST_SIDE

FORMATS = ("PNG", "JPEG", "WEBP")
GREY = ("1", "L", "LA")
COLOURED = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
"""With `GREY` the modes of 8 bits a channel or fewer: others would lose what they hold."""


class Picture(NamedTuple):
    """An image file."""

    name: str
    """For messages."""
    label: Label
    content: bytes


Pictures = Callable[[], Iterator[Picture]]
"""Image files, in an order that is the same at each call."""


def convert(
    train: Pictures, test: Pictures | None, out: Path, *, size: int | None, split: Split, space: Space
) -> Manifest:
    """Write the images into a folder, scaled to `size`×`size` if that is given. Raises Refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow says of images that it can read
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        heads = _Heads(size)
        labels = [heads.look(picture) for picture in train()]
        held_out = None if test is None else [heads.look(picture) for picture in test()]
        chosen = split.of(labels, held_out)
        every = (picture for part in (train, test) if part for picture in part())
        blocks = (_pixels(picture, heads.shape, size)[None] for picture in every)
        return write_images(out, blocks, shape=heads.shape, split=chosen, space=space)


class _Heads:
    """The one shape of all images."""

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._first: tuple[str, tuple[int, int]] | None = None
        self._is_coloured = False

    def look(self, picture: Picture) -> Label:
        """Note the shape of an image; returns its class. Raises Refused if it differs from that of the first."""
        with _opened(picture) as image:
            mode, sides = image.mode, image.size
        if mode not in (*GREY, *COLOURED):
            raise Refused(f"{picture.name}: expected 8 bits a channel, found an image of Pillow's mode {mode}")
        self._is_coloured |= mode in COLOURED
        name, first = self._first = self._first or (picture.name, sides)
        if self._size is None and sides != first:
            raise Refused(
                f"{picture.name} is {_by(sides)} and {name} is {_by(first)}, but all images of a set have one size: "
                "scale them to squares with size (`--size 32`)"
            )
        if self._size is None and max(sides) > LARGEST_SIDE:
            raise Refused(
                f"{picture.name} is {_by(sides)}, and a side may have {LARGEST_SIDE} pixels at most: "
                "scale all images to squares with size (`--size 32`)"
            )
        return picture.label

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width: one channel if all images are grey."""
        assert self._first is not None
        width, height = (self._size, self._size) if self._size else self._first[1]
        return (3 if self._is_coloured else 1, height, width)


def _pixels(picture: Picture, shape: tuple[int, int, int], size: int | None) -> UInt8[ndarray, "c h w"]:
    with _opened(picture) as image, _decoding(picture):
        decoded = image.convert("RGB" if shape[0] == 3 else "L")
        if size:
            decoded = _square(decoded).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(decoded, dtype=np.uint8).reshape(*shape[1:], shape[0]).transpose(2, 0, 1)


def _square(image: Image.Image) -> Image.Image:
    """The largest square in the middle."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _opened(picture: Picture) -> Image.Image:
    """The image, of which only the head has been read."""
    with _decoding(picture):
        return Image.open(io.BytesIO(picture.content), formats=FORMATS)


@contextmanager
def _decoding(picture: Picture) -> Iterator[None]:
    """Raise Refused, with the name of the file, for every error of a decoder: bytes can make it fail in any way."""
    try:
        yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise Refused(f"{picture.name}: it is taken for a decompression bomb: {error}") from error
    except UnidentifiedImageError as error:
        raise Refused(f"{picture.name}: expected PNG, JPEG or WebP, found something else, or a damaged head") from error
    except Exception as error:
        raise Refused(f"{picture.name}: the image is damaged: {error}") from error


def _by(sides: Sequence[int]) -> str:
    return "×".join(map(str, sides))
