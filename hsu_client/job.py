"""What can be asked of a job beyond its view? Its trained network, and the files of its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from hsu_client.client import Client


class BoundJob(dict[str, Any]):
    """A job as the service shows it (`answers.Job`), and the client that asked for it."""

    def __init__(self, view: Mapping[str, Any], client: Client) -> None:
        super().__init__(view)
        self._client = client

    def model(self, step: int | None = None, *, best: bool = False, average: bool = True) -> nn.Module:
        """The network of the newest checkpoint, of that of a step or of the best one: with its weights, in eval mode.

        `average=False`: where the training keeps an average of its weights, the weights themselves. Needs the extra
        `core`: raises ModuleNotFoundError without it.
        """
        from hsu_client import network  # heavy, and only needed here

        return network.of(self._client, self["id"], step=step, best=best, average=average)

    def download(self, to: str | Path = ".", *, step: int | None = None, best: bool = False, **how: Any) -> Path:
        """Download a checkpoint; `Client.download` says how."""
        return self._client.download(self["id"], to, step=step, best=best, **how)
