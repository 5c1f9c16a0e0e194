"""How do several processes of this machine train one model together?

    python -m hsu_core.training.launch      is one of them: reads its order from standard input, and ends when it closes

The calling process is the first rank, the only one with callbacks (`report`, `should_stop`, checkpoints). It starts
the others as fresh processes that end with it. Knows processes, devices and the rendezvous. Knows no training: `train`
does.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, NoReturn

import torch
from pydantic import BaseModel, ConfigDict
from torch import distributed

from hsu_core import spec
from hsu_core.data import reading
from hsu_core.outcomes import Outcome
from hsu_core.ranks import World
from hsu_core.training import loop as one
from hsu_core.training import out_of_memory
from hsu_core.training.callbacks import SILENT, Callbacks

HOST = "127.0.0.1"
"""Where the ranks meet: no other machine can reach it."""

Device = Literal["cpu", "cuda"]
BACKENDS: dict[Device, str] = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""With CUDA also a CPU backend: agreements at every step then do not wait for the device."""

GRACE = 10.0
"""Seconds that the first rank has to end by itself after another one ended. On some devices a rank waits forever for
one that is gone, and no exception can reach it."""

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for another one that lives and sends nothing: torch's own default for a CPU."""


class RankDied(Exception):
    """Another process of the training ended early; it reports why on standard error."""

    def __init__(self, message: str, *, for_memory: bool = False) -> None:
        super().__init__(message)
        self.for_memory = for_memory
        """Whether it ran out of memory."""


def train(
    training: spec.TrainingSpec,
    *,
    processes: int,
    device: Device = "cpu",
    data_dir: Path | None = None,
    resume_from: Path | None = None,
    initial_from: Path | None = None,
    allow_download: bool = False,
    own_dir: Path | None = None,
    callbacks: Callbacks = SILENT,
) -> Outcome:
    """Train as `train` does, but by several processes: the same updates up to rounding, the same files.

    `device` is "cpu", or "cuda" for one device each. A checkpoint may come from any number of processes. Every process
    gets its share of this one's threads, unless OMP_NUM_THREADS sets their number.

    Raises what `train` raises; ValueError for a batch without equal parts or too few devices; RankDied. If no exception
    can reach this process after another one died, it ends with status 1, or `out_of_memory.EXIT_STATUS` (see `GRACE`).
    """
    if processes == 1:
        return one.train(
            training,
            device=device,
            data_dir=data_dir,
            resume_from=resume_from,
            initial_from=initial_from,
            allow_download=allow_download,
            own_dir=own_dir,
            callbacks=callbacks,
        )
    if reason := training.indivisible(processes) or _too_few_devices(device, processes):
        raise ValueError(reason)
    with _Others(processes) as others, _sharing_threads(processes):
        reading.load(
            training.dataset, data_dir, allow_download=allow_download, own_dir=own_dir
        )  # fetched once, before all read it
        listening = socket.create_server((HOST, 0))
        order = Order(
            training=training,
            rank=0,
            size=processes,
            port=listening.getsockname()[1],
            device=device,
            data_dir=data_dir,
            own_dir=own_dir,
            resume_from=resume_from,
            initial_from=initial_from,
        )
        others.tell(order)
        return _take_part(order, listening=listening.detach(), callbacks=callbacks)


class Order(BaseModel):
    """What one rank has to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    training: spec.AnyTraining
    rank: int
    size: int
    port: int
    """The port of the first rank."""
    device: Device
    data_dir: Path | None
    own_dir: Path | None = None
    resume_from: Path | None
    initial_from: Path | None = None

    @property
    def own_device(self) -> str:
        """The device of this rank."""
        return f"cuda:{self.rank}" if self.device == "cuda" else self.device


def main() -> None:
    """Run as the rank that standard input describes."""
    if not (line := sys.stdin.readline()):
        return
    order = Order.model_validate_json(line)
    threading.Thread(target=_end_with_the_first, name="parent-pipe", daemon=True).start()
    try:
        _take_part(order)
    except Exception as error:
        if not out_of_memory.is_out_of_memory(error):
            raise
        traceback.print_exc()
        sys.exit(out_of_memory.EXIT_STATUS)
    end()


def end() -> NoReturn:
    """End this process, whose work is done. Its threads that still run abort it now and then if it ends as usual."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end_with_the_first() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: this returns when the first rank is gone
    os._exit(1)


def _take_part(order: Order, *, listening: int | None = None, callbacks: Callbacks = SILENT) -> Outcome:
    with joined(order, listening=listening) as world:
        return one.train(
            order.training,
            device=order.own_device,
            data_dir=order.data_dir,
            own_dir=order.own_dir,
            resume_from=order.resume_from,
            initial_from=order.initial_from,
            world=world,
            callbacks=callbacks,
        )


@contextmanager
def joined(order: Order, *, listening: int | None = None) -> Iterator[World]:
    """Inside, this process is a rank of the order's world. The first rank provides the socket where they meet."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback())
    if order.device == "cuda":
        torch.cuda.set_device(order.own_device)
    distributed.init_process_group(
        BACKENDS[order.device],
        store=distributed.TCPStore(  # type: ignore[attr-defined]  # torch's stubs leave it out
            HOST, order.port, is_master=order.rank == 0, wait_for_workers=False, master_listen_fd=listening
        ),
        rank=order.rank,
        world_size=order.size,
        timeout=PATIENCE,
    )
    try:
        yield World(order.rank, order.size)
    except BaseException:
        if order.device != "cuda":  # NCCL would wait for the others, which may be gone
            distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()


class _Others:
    """The other ranks: processes that end with this one; this one does not wait for those that have ended."""

    def __init__(self, size: int) -> None:
        self._processes = {rank: _started(size) for rank in range(1, size)}
        self._dead: dict[int, int] = {}
        """The exit status of each rank that failed before the end."""
        self._for_memory = False
        self._one_died, self._is_over = threading.Event(), threading.Event()

    def __enter__(self) -> _Others:
        for rank, process in self._processes.items():
            threading.Thread(target=self._watch, args=(rank, process), name=f"rank {rank}", daemon=True).start()
        return self

    def tell(self, order: Order) -> None:
        """Give each rank its order. The pipe stays open: closing it would end them."""
        for rank, process in self._processes.items():
            assert process.stdin is not None
            process.stdin.write(order.model_copy(update={"rank": rank}).model_dump_json().encode() + b"\n")
            process.stdin.flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # A connection breaks shortly before the kernel reports why. All ranks run out of memory at the same time.
        is_of_another = isinstance(error, (RuntimeError, BrokenPipeError)) and not out_of_memory.is_out_of_memory(error)
        died = is_of_another and self._one_died.wait(1)
        self._is_over.set()
        for process in self._processes.values():
            _end(process, patience=0.0 if error else GRACE)
        if died:
            raise RankDied(self._epitaph(), for_memory=self._for_memory) from error

    def _watch(self, rank: int, process: subprocess.Popen[bytes]) -> None:
        kills = out_of_memory.OomKills(process.pid)
        while (status := _status(process, within=out_of_memory.WINDOW)) is None:
            kills.look()
        if status == 0 or self._is_over.is_set():
            return
        self._for_memory |= status == out_of_memory.EXIT_STATUS or (status == -signal.SIGKILL and kills.rose)
        self._dead[rank] = status
        self._one_died.set()
        if not self._is_over.wait(GRACE):
            print(self._epitaph(), file=sys.stderr, flush=True)
            os._exit(out_of_memory.EXIT_STATUS if self._for_memory else 1)

    def _epitaph(self) -> str:
        ends = " and ".join(f"rank {rank} with status {status}" for rank, status in self._dead.items())
        why = ", for want of memory" if self._for_memory else ""
        return (
            f"expected all {1 + len(self._processes)} processes to train to the end, found {ends} ended before it{why}"
        )


def _started(size: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hsu_core.training.launch"]
    threads = {"OMP_NUM_THREADS": str(_share_of_threads(size))}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=threads | os.environ)  # noqa: S603


def _status(process: subprocess.Popen[bytes], *, within: float) -> int | None:
    """The exit status, if the process ends within these seconds; otherwise None."""
    try:
        return process.wait(timeout=within)
    except subprocess.TimeoutExpired:
        return None


def _end(process: subprocess.Popen[bytes], *, patience: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)
    process.kill()
    process.wait()
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


def _share_of_threads(size: int) -> int:
    return max(1, torch.get_num_threads() // size)


@contextmanager
def _sharing_threads(size: int) -> Iterator[None]:
    """Inside, this process uses only its share of its threads; a number set by the environment is kept."""
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(_share_of_threads(size))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _loopback() -> str:
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))


def _too_few_devices(device: Device, processes: int) -> str | None:
    if device == "cpu" or processes <= (found := torch.cuda.device_count()):
        return None
    return f"expected a device for each of the {processes} processes, found {found}"


if __name__ == "__main__":
    main()
