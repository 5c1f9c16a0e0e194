"""How is one upload converted? In a process of its own, which knows files only: what is in them is not trusted.

    python -m worker.dataset_conversion      reads its order from standard input, writes what came of it to standard
                                             output, and ends when the input ends: then the worker is gone

It has no connection to the database and no keys. A set that needs more memory than there is ends this process, and not
the worker.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from hsu_core.data.own.manifest import Manifest
from hsu_core.data.own.sources import Options, Source


class Order(BaseModel):
    """What is to be converted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    options: Options
    train: Path
    test: Path | None
    out: Path
    """An empty folder."""
    most_bytes: int


class Converted(BaseModel):
    """It succeeded."""

    kind: Literal["converted"] = "converted"
    manifest: Manifest


class NotConverted(BaseModel):
    """The data are refused."""

    kind: Literal["refused"] = "refused"
    reason: str


Result = Annotated[Converted | NotConverted, Field(discriminator="kind")]
RESULT: TypeAdapter[Converted | NotConverted] = TypeAdapter(Result)


def converted(order: Order) -> Converted | NotConverted:
    """Convert, and say what came of it."""
    from hsu_core.data.own.convert import convert  # after the watch has begun
    from hsu_core.data.own.refusal import Refused

    try:
        manifest = convert(
            order.source,
            order.train,
            order.out,
            test=order.test,
            options=order.options,
            most_bytes=order.most_bytes,
        )
    except Refused as error:
        return NotConverted(reason=str(error))
    return Converted(manifest=manifest)


def main() -> None:
    """Carry out one order."""
    line = sys.stdin.readline()
    if not line:
        return
    threading.Thread(target=_end_with_the_worker, name="parent-pipe", daemon=True).start()
    print(converted(Order.model_validate_json(line)).model_dump_json(), flush=True)


def _end_with_the_worker() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing more is ever written: this returns when the worker is gone
    os._exit(1)


if __name__ == "__main__":
    main()
