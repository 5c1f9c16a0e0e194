"""Who converts the data sets that users upload, and removes the files that nobody needs any more? One thread a worker.

Knows rows, files and processes; the conversion itself is in `dataset_conversion`. A claim is a lease, renewed while the
process runs: if this machine is lost, another worker converts. A message of the broker only wakes it; it also looks
every `HSU_POLL`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from hsu_core.data.own import manifest
from hsu_core.data.own.manifest import Manifest
from hsu_core.data.own.sources import SUFFIXES
from hsu_jobs import database
from hsu_jobs.artifacts import installation
from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.database_outage import AWAY
from hsu_jobs.datasets import conversions, storing
from hsu_jobs.datasets.conversions import Conversion
from hsu_jobs.settings import Settings
from worker.dataset_conversion import RESULT, Converted, NotConverted, Order

_log = logging.getLogger(__name__)

RENEWED_EVERY = conversions.LEASE.total_seconds() / 4
VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
"""What the process that converts sees of the environment: no addresses and no keys."""


class Damaged(Exception):
    """What is stored of an upload is not what was sent."""


class Ended(Exception):
    """The conversion ended without a result, the claim is lost, or the worker stops."""


class Converter:
    """The thread of one worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="datasets", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def wake(self) -> None:
        """Look soon."""
        self._wake.set()

    def stop(self) -> None:
        """End; an upload that is being converted is left to another worker."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(self._settings.shutdown.total_seconds())

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                while not self._stopping.is_set() and convert_next(self._settings, self._stopping):
                    pass
                clear(self._settings)
            except AWAY as error:
                _log.warning("data sets wait until the database answers: %s", error)
            except OSError as error:
                _log.warning("data sets wait for the storage: %s", error)
            except Exception:  # the next look may succeed
                _log.exception("looking for data sets failed; it is tried again")
            self._wake.wait(self._settings.poll.total_seconds())


def convert_next(settings: Settings, stopping: threading.Event) -> bool:
    """Convert the next upload; returns whether there was one. Raises OSError if the storage cannot be used."""
    with database.transaction() as session:
        storage = installation.marked_storage(session, settings)
        conversions.give_up_abandoned(session)
    storage.check()
    with database.transaction() as session:
        conversion = conversions.claim_next(session, settings)
    if conversion is None:
        return False
    _log.info("data set %d is converted", conversion.dataset_id)
    try:
        with _Lease(conversion) as lease, tempfile.TemporaryDirectory(prefix="hsu-dataset-") as folder:
            _convert(conversion, storage, Path(folder), lease, stopping)
    except (OSError, *AWAY):
        _settle(partial(conversions.release, conversion=conversion))
        raise
    except Damaged as error:
        _settle(partial(conversions.settle, conversion=conversion, refused=str(error)))
    except Ended as error:
        _log.warning("data set %d: %s", conversion.dataset_id, error)
        if stopping.is_set():
            _settle(partial(conversions.release, conversion=conversion))
        return not stopping.is_set()
    return True


def clear(settings: Settings) -> int:
    """Remove the files that are no longer needed; returns of how many versions. Raises OSError."""
    with database.transaction() as session:
        storage = installation.storage(session, settings)
    for count in range(1000):
        with database.transaction() as session:
            surplus = conversions.next_surplus(session)
            if surplus is None:
                return count
            storage.remove_folder(storing.upload(surplus.dataset_id), [str(number) for number in surplus.parts])
            if surplus.content:
                storage.remove_folder(storing.content(surplus.content), manifest.EVERY_NAME)
            conversions.note_cleared(session, surplus)
    return count


class _Lease:
    """Renews the claim in a thread while the `with` lasts."""

    def __init__(self, conversion: Conversion) -> None:
        self._conversion = conversion
        self._over, self.is_lost = threading.Event(), False
        self._thread = threading.Thread(target=self._renew, name="dataset-lease", daemon=True)

    def __enter__(self) -> _Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(RENEWED_EVERY):
            try:
                with database.transaction() as session:
                    self.is_lost = not conversions.renew(session, self._conversion)
            except AWAY as error:
                _log.warning("a claim was not renewed: %s", error)
            if self.is_lost:
                return


def _convert(conversion: Conversion, storage: Storage, folder: Path, lease: _Lease, stopping: threading.Event) -> None:
    order = _assembled(conversion, storage, folder)
    match _result(order, folder, lease, stopping):
        case NotConverted(reason=reason):
            _log.info("data set %d is refused: %s", conversion.dataset_id, reason)
            _settle(partial(conversions.settle, conversion=conversion, refused=reason))
        case Converted(manifest=made):
            _publish(conversion, storage, order.out, made)


def _assembled(conversion: Conversion, storage: Storage, folder: Path) -> Order:
    """The files of the upload, from its parts. Raises Damaged."""
    suffix = SUFFIXES[conversion.source]
    train, test, part = folder / f"train{suffix}", folder / f"test{suffix}", folder / "part"
    whole = hashlib.sha256()
    with train.open("wb") as first, test.open("wb") as second:
        for each in conversion.parts:
            try:
                storage.copy(storing.part(conversion.dataset_id, each.number), part)
            except FileNotFoundError as error:
                raise Damaged(f"part {each.number} is missing in the storage: upload it again") from error
            content = part.read_bytes()
            if hashlib.sha256(content).hexdigest() != each.sha256:
                raise Damaged(f"part {each.number} is damaged in the storage: upload it again")
            whole.update(content)
            _divide(content, first, second, conversion.train_bytes)
    part.unlink(missing_ok=True)
    if whole.hexdigest() != conversion.sha256:
        raise Damaged(f"all parts together have the SHA-256 {whole.hexdigest()}, expected {conversion.sha256}")
    out = folder / "converted"
    out.mkdir()
    return Order(
        source=conversion.source,
        options=conversion.options,
        train=train,
        test=test if conversion.test_bytes else None,
        out=out,
        most_bytes=conversion.most_bytes,
    )


def _divide(content: bytes, first: IO[bytes], second: IO[bytes], train_bytes: int) -> None:
    """Write the next bytes of the upload: up to `train_bytes` into the first file, the others into the second."""
    left = max(0, train_bytes - first.tell())
    first.write(content[:left])
    second.write(content[left:])


def _result(order: Order, folder: Path, lease: _Lease, stopping: threading.Event) -> Converted | NotConverted:
    """What the process that converts says. Raises Ended."""
    environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    with (folder / "said").open("wb") as said, (folder / "result").open("wb") as result:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.dataset_conversion"],
            stdin=subprocess.PIPE,
            stdout=result,
            stderr=said,
            env=environment | {"PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
        )
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # its status says why it has ended
                process.stdin.write(order.model_dump_json().encode() + b"\n")
                process.stdin.flush()
            while process.poll() is None:
                if lease.is_lost or stopping.is_set():
                    raise Ended("the claim is lost" if lease.is_lost else "the worker stops")
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
    if process.returncode != 0:
        words = (folder / "said").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise Ended(f"its conversion ended with status {process.returncode}\n{words}".strip())
    return RESULT.validate_json((folder / "result").read_bytes())


def _publish(conversion: Conversion, storage: Storage, folder: Path, made: Manifest) -> None:
    """Store the content, unless it is there, and record that the set is ready. The manifest is stored last."""
    with database.transaction() as session:
        if not conversions.note_content(session, conversion, made):
            raise Ended("the claim is lost")
    place = storing.content(made.sha256)
    if list(storage.missing([f"{place}/{manifest.NAME}"])):
        for name in (*made.files, manifest.NAME):
            storage.store(f"{place}/{name}", folder / name)
    _settle(partial(conversions.settle, conversion=conversion))
    _log.info("data set %d is ready: %s", conversion.dataset_id, made.sha256)


def _settle(record: partial[None]) -> None:
    with database.transaction() as session:
        record(session)
