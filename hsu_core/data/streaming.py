"""How are images read of which the device holds only the next ones? Ahead of the steps, by a thread.

The thread copies the images of a batch out of an array, which may be a mapped file, into pinned memory where there is
CUDA; so they go to the device while it computes. What a batch contains does not depend on it.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy import ndarray
from torch import Tensor

from hsu_core.data.images import Images

AHEAD = 4
"""Batches that wait for their step."""
LARGEST_PART = 0.5
"""Of the device's memory: a set that takes more is streamed, unless the spec says otherwise."""


class Streamed:
    """Images that stay where they are. To index them copies the chosen ones to the device."""

    def __init__(self, images: UInt8[ndarray, "n c h w"], device: torch.device) -> None:
        self._images, self.device = images, device

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all of them."""
        return self._images.shape

    def __getitem__(self, chosen: slice | Tensor) -> UInt8[Tensor, "k c h w"]:
        numbers = torch.arange(len(self._images))[chosen] if isinstance(chosen, slice) else chosen.cpu()
        return self.copied(numbers).to(self.device)

    def copied(self, chosen: Int64[Tensor, " k"]) -> UInt8[Tensor, "k c h w"]:
        """Some images in the host's memory, from which the device takes them by itself."""
        out = torch.empty(
            (len(chosen), *self._images.shape[1:]), dtype=torch.uint8, pin_memory=self.device.type == "cuda"
        )
        np.take(self._images, chosen.numpy(), axis=0, out=out.numpy(), mode="clip")  # `raise` would copy twice
        return out


def is_too_large(images: Images, device: torch.device) -> bool:
    """Whether the images take more of the device's memory than they should."""
    return images.train_x.nbytes + images.test_x.nbytes > LARGEST_PART * _memory(device)


def each(
    images: Tensor | Streamed, chosen: Iterator[Int64[Tensor, " k"]]
) -> Iterator[tuple[Int64[Tensor, " k"], UInt8[Tensor, "k c h w"]]]:
    """The numbers and the images of each batch, on the device."""
    if isinstance(images, Tensor):
        for numbers in chosen:
            yield numbers, images[numbers]
        return
    with _Ahead(images, chosen) as ahead:
        for numbers, pixels in ahead:
            yield numbers.to(images.device, non_blocking=True), pixels.to(images.device, non_blocking=True)


class _Ahead:
    """The thread that reads the next batches, while the `with` lasts."""

    def __init__(self, images: Streamed, chosen: Iterator[Tensor]) -> None:
        self._images, self._chosen = images, chosen
        self._ready: queue.Queue[tuple[Tensor, Tensor] | BaseException] = queue.Queue(AHEAD)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="images", daemon=True)

    def __enter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self._thread.start()
        return self._batches()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        while self._thread.is_alive():  # it may wait for room
            with suppress(queue.Empty):
                self._ready.get_nowait()
            self._thread.join(0.01)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            found = self._ready.get()
            if isinstance(found, BaseException):
                raise found
            yield found

    def _read(self) -> None:
        try:
            for numbers in self._chosen:
                self._ready.put((numbers, self._images.copied(numbers)))
                if self._is_over.is_set():
                    return
        except BaseException as error:  # raised where the batch is asked for
            self._ready.put(error)


def _memory(device: torch.device) -> int:
    """Bytes of the device's memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
