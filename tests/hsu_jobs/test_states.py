"""The table of moves."""

from __future__ import annotations

from hsu_jobs.states import FIRST, MOVES, TERMINAL, State, picture


def test_every_state_has_its_moves_and_every_move_leads_to_a_state() -> None:
    assert set(MOVES) == set(State)
    assert {to for moves in MOVES.values() for to in moves} <= set(State)


def test_a_job_that_ended_stays_as_it_is() -> None:
    assert {State.SUCCEEDED, State.FAILED, State.CANCELLED} == TERMINAL


def test_every_state_can_be_reached_from_a_first_one_and_can_end() -> None:
    reached = set(FIRST)
    while new := {to for state in reached for to in MOVES[state]} - reached:
        reached |= new
    assert reached == set(State)


def test_the_picture_shows_every_move() -> None:
    assert picture().count("-->") == len(FIRST) + sum(map(len, MOVES.values())) + len(TERMINAL)
