"""Batches wait in order, in memory and on the disk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hsu_client.tracking.spool import Spool


@given(st.lists(st.one_of(st.binary(max_size=30), st.none()), max_size=60), st.integers(0, 50))
def test_what_comes_first_goes_first_wherever_it_waits(moves: list[bytes | None], in_memory: int) -> None:
    spool, expected = Spool(in_memory=in_memory), list[bytes]()
    for move in moves:
        if move is not None:
            spool.append(move)
            expected.append(move)
            continue
        assert spool.first() == (expected[0] if expected else None)
        if expected:
            spool.drop_first()
            del expected[0]
    while expected:
        assert spool.first() == expected.pop(0)
        spool.drop_first()
    assert spool.first() is None
    spool.close()
