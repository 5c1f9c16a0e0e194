"""How does a checkpoint of the service become a network in this process? Needs the extra `core`, and loads torch.

One of the two files of the client that know another room: `hsu_core.load`, which needs no service.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from hsu_client.client import Client


def of(client: Client, job_id: int, *, step: int | None, best: bool, average: bool) -> nn.Module:
    """The network of a checkpoint, from its weights alone."""
    try:
        from hsu_core.loading import load
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"a network needs {error.name}: install the extra `core` (pip install 'hsu-service[client,core]')",
            name=error.name,
        ) from error
    with TemporaryDirectory(prefix="hsu-") as folder:
        return load(client.download(job_id, folder, step=step, best=best, part="weights"), average=average)
