"""Points that wait on the disk come back as they were, in order."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from limits import largest_file

from hsu_core.outcomes import Series
from hsu_jobs.curves import Point
from worker.spool import Spool

LOSS, ENERGY = Series(None, "loss"), Series("conv1", "mhe_s2")
ODD_NAN = struct.unpack("<d", bytes.fromhex("010000000000f8ff"))[0]


def bits(points: tuple[Point, ...]) -> list[tuple[int, float, list[tuple[Series, bytes]]]]:
    return [
        (point.step, point.time, [(name, struct.pack("<d", value)) for name, value in point.values.items()])
        for point in points
    ]


def test_points_come_back_bit_for_bit_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first = (Point(0, 1.5, {LOSS: math.inf, ENERGY: -0.0}), Point(2**60, 2.5, {LOSS: ODD_NAN, ENERGY: 5e-324}))
    second = (Point(2**61, 3.5, {LOSS: 1 / 3}),)
    spool.append([*first, *second])
    spool.append(first)
    assert [bits(spool.take()) for _ in range(3)] == [bits(first), bits(second), bits(first)]
    assert spool.size == 0
    spool.append(second)
    assert bits(spool.take()) == bits(second)
    assert list(tmp_path.iterdir()) == []  # the file has no name: nothing is left if the process dies
    spool.close()


def test_a_disk_that_takes_nothing_more_keeps_what_it_has(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    few, many = [Point(0, 0.0, {LOSS: 1.0})], [Point(step, 0.0, {LOSS: 1.0}) for step in range(10_000)]
    spool.append(few)
    with largest_file(4096), pytest.raises(OSError, match="File too large"):
        spool.append(many)
    assert bits(spool.take()) == bits(tuple(few))
    assert spool.size == 0
    spool.close()
