"""Show the whole service at work: one real job over HTTP, its accuracy, its energies and their picture.

Uses the service through the client, as any user does: the one that runs in the folder, or a temporary one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from embedded import home
from embedded.errors import CannotStart, Unwanted
from embedded.stop_request import StopRequest
from embedded.up import service
from hsu_client.answers import Job
from hsu_client.cli import render
from hsu_client.client import Client
from hsu_client.plot import draw

SPEC = Path(__file__).parent.parent / "examples" / "digits-mhe.json"


def demonstrate(folder: Path, *, port: int | None, stop: StopRequest, say: Callable[[str], None]) -> None:
    """Run the example job and print its result. Raises `CannotStart` if it does not succeed."""
    with ExitStack() as undo:
        url, key, check = _service(folder, port, stop, say, undo)
        client = undo.enter_context(Client(url, key))
        job: Job = client.submit(json.loads(SPEC.read_text(encoding="utf-8")))
        say(f"submitted {SPEC.name} to {url} as job {job['id']}")
        job = render.progress(_watched(client, job, stop, check), sys.stderr)
        if job["state"] != "succeeded":
            raise CannotStart("\n".join(["the job did not succeed:", *render.details(job)]))
        energies = render.energies(client.curves(job["id"]))
        picture = folder / f"energy-curves-{job['id']}.png"
        draw(job, energies, picture)
        print(f"\ntest accuracy {100 * job['result']['test_accuracy']:.2f} %\n")
        print("\n".join(render.table(render.summary(energies))))
        print(f"\nthe curves: {picture}", flush=True)


def _service(
    folder: Path, port: int | None, stop: StopRequest, say: Callable[[str], None], undo: ExitStack
) -> tuple[str, str, Callable[[], None]]:
    """The service's URL, an API key, and a function that keeps it running."""
    running = home.occupant(folder)
    if running is not None and running.url is not None:
        say(f"using the service that runs at {running.url}")
        return running.url, (folder / "key").read_text(encoding="utf-8").strip(), lambda: None
    own = undo.enter_context(service(folder, port=port, stop=stop, say=say))
    return own.url, own.key, own.mend


def _watched(client: Client, job: Job, stop: StopRequest, check: Callable[[], None]) -> Iterator[Job]:
    """The views of the running job, as long as everything runs and no stop is requested."""
    for view in client.follow(job["id"], poll=0.2):
        yield view
        check()
        if stop.is_there:
            raise Unwanted
