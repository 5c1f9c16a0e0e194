"""What does a server's process leave out of its collections, and does it still collect the rest?"""

from __future__ import annotations

import gc
import multiprocessing
import weakref
from multiprocessing.connection import Connection

from api.server import garbage


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


def _in_a_process_of_its_own(answer: Connection) -> None:
    garbage.keep_short()
    later = weakref.ref(_Cycle())
    gc.collect()
    answer.send((gc.get_freeze_count(), later() is None))


def test_what_existed_at_the_start_is_left_out_and_later_garbage_is_not() -> None:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_in_a_process_of_its_own, args=(there,))
    process.start()
    frozen, is_collected = here.recv()
    process.join()
    assert frozen > 1000
    assert is_collected


def test_a_process_without_a_parent_keeps_its_own_habits() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    garbage.keep_short()
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
