"""What an attempt printed: bounded, and read on from any byte."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_jobs import attempts
from hsu_jobs.artifacts import logs
from hsu_jobs.artifacts.logs import Text
from hsu_jobs.attempts import Claim
from hsu_jobs.outcomes import Crashed
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Attempt, Job, LogChunk, User

LIMIT = 1000


@pytest.fixture
def token(owner: User, submit: Callable[..., Job], claimed: Callable[[], Claim]) -> UUID:
    """Of a live attempt, the first."""
    submit(owner)
    return claimed().token


@pytest.fixture
def attempt(session: Session, token: UUID) -> int:
    return session.execute(select(Attempt.id)).scalar_one()


def test_a_log_is_read_on_from_any_byte(session: Session, token: UUID, attempt: int) -> None:
    whole = b"step 1\nstep 2\nstep 3: \xce\xbb\n"
    for begin in range(0, len(whole), 4):
        logs.append(session, token, begin, whole[begin : begin + 4], limit=LIMIT)
    for place in range(len(whole) + 1):
        assert logs.read(session, attempt, first_byte=place) == Text(place, len(whole), whole[place:])


def test_a_log_without_a_word_is_empty(session: Session, attempt: int) -> None:
    assert logs.read(session, attempt) == Text(0, 0, b"")
    assert logs.read(session, attempt, first_byte=7) == Text(7, 7, b"")


def test_who_reads_on_misses_nothing_and_reads_nothing_twice(session: Session, token: UUID, attempt: int) -> None:
    read, place = b"", 0
    for begin in range(0, 60, 6):
        logs.append(session, token, begin, bytes(range(begin, begin + 6)), limit=LIMIT)
        if begin % 4 == 0:
            text = logs.read(session, attempt, first_byte=place)
            read, place = read + text.content, text.next_byte
    assert read + logs.read(session, attempt, first_byte=place).content == bytes(range(60))


def test_a_piece_that_comes_again_longer_is_there_once_and_whole(session: Session, token: UUID, attempt: int) -> None:
    """As when the answer to a commit was lost, and more was printed since."""
    for content in (b"one", b"one", b"one, two"):
        logs.append(session, token, 0, content, limit=LIMIT)
    logs.append(session, token, 5, b"two, three", limit=LIMIT)
    assert logs.read(session, attempt) == Text(0, 15, b"one, two, three")


def test_what_was_never_written_is_a_gap_that_the_reader_sees(session: Session, token: UUID, attempt: int) -> None:
    logs.append(session, token, 0, b"before", limit=LIMIT)
    logs.append(session, token, 50, b"after", limit=LIMIT)
    assert logs.read(session, attempt) == Text(0, 6, b"before")
    assert logs.read(session, attempt, first_byte=6) == Text(50, 55, b"after")


def test_the_oldest_pieces_go_and_the_newest_stay(session: Session, token: UUID, attempt: int) -> None:
    size = select(func.sum(func.octet_length(LogChunk.content)))
    for begin in range(0, 5000, 100):
        logs.append(session, token, begin, b"%099d\n" % begin, limit=LIMIT)
        assert session.execute(size).scalar_one() == min(begin + 100, LIMIT)
    text = logs.read(session, attempt)
    assert (text.first_byte, text.next_byte) == (4000, 5000)
    assert text.content.startswith(b"%099d\n" % 4000)


def test_two_attempts_have_two_logs_and_a_lost_one_may_still_explain_itself(
    session: Session, claimed: Callable[[], Claim], later: Callable[[float], None], token: UUID, attempt: int
) -> None:
    attempts.settle(session, token, Crashed(message="SIGSEGV"), Settings())
    later(60)
    second = claimed().token
    logs.append(session, second, 0, b"second", limit=LIMIT)
    logs.append(session, token, 0, b"Segmentation fault", limit=LIMIT)
    assert logs.read(session, attempt).content == b"Segmentation fault"
    newest = session.execute(select(func.max(Attempt.id))).scalar_one()
    assert logs.read(session, newest).content == b"second"
