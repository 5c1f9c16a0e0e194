"""What becomes of a job when an attempt ends."""

from __future__ import annotations

import json
import math
from typing import get_args

import pytest
from samples import CERTIFICATE, PLACED, TRAINED

from hsu_jobs.outcomes import (
    OUTCOME,
    Cancelled,
    Crashed,
    Failed,
    Faulty,
    FileMissing,
    Lost,
    Outcome,
    Overdue,
    Paused,
    Preempted,
    Released,
    Stalled,
    Succeeded,
    Unavailable,
    in_brief,
    verdict,
)
from hsu_jobs.results import Answers, ClassificationResult
from hsu_jobs.states import MOVES, State, Wanted

ENDINGS: list[Outcome] = [
    Succeeded(result=TRAINED),
    Cancelled(),
    Paused(),
    Preempted(),
    Released(),
    Overdue(),
    Failed(code="diverged", message="loss was not finite"),
    Crashed(message="SIGSEGV"),
    Stalled(message="no step"),
    Faulty(message="CUDA error"),
    FileMissing(message="there is no file weights.safetensors"),
    Lost(),
    Unavailable(code="storage_unavailable", message="is it mounted?"),
]


def test_no_ending_is_left_out() -> None:
    assert {type(outcome) for outcome in ENDINGS} == set(get_args(get_args(Outcome)[0]))


@pytest.mark.parametrize("outcome", ENDINGS, ids=lambda outcome: outcome.kind)
@pytest.mark.parametrize("wanted", Wanted)
@pytest.mark.parametrize("failure_count", [1, 5])
def test_every_ending_leads_to_a_state_that_a_running_job_may_become(
    outcome: Outcome, wanted: Wanted, failure_count: int
) -> None:
    state, failure = verdict(outcome, failure_count=failure_count, max_failures=5, wanted=wanted)
    assert state in MOVES[State.RUNNING]
    assert (failure is not None) == (state is State.FAILED)


def test_a_crash_is_retried_until_the_attempts_are_used_up() -> None:
    crashed = Crashed(message="SIGSEGV")
    assert verdict(crashed, failure_count=4, max_failures=5, wanted=Wanted.RUN) == (State.QUEUED, None)
    state, failure = verdict(crashed, failure_count=5, max_failures=5, wanted=Wanted.RUN)
    assert state is State.FAILED
    assert failure is not None
    assert "given up after 5 attempts that got no further: SIGSEGV" in failure.message


def test_a_worker_that_shuts_down_never_uses_up_the_attempts() -> None:
    assert verdict(Released(), failure_count=99, max_failures=5, wanted=Wanted.RUN) == (State.QUEUED, None)


def test_what_is_not_there_never_uses_up_the_attempts() -> None:
    away = Unavailable(code="dataset_unavailable", message="mnist is not there")
    assert verdict(away, failure_count=99, max_failures=5, wanted=Wanted.RUN) == (State.QUEUED, None)


def test_a_job_that_was_to_pause_is_paused_however_its_attempt_ended() -> None:
    for outcome in (Paused(), Preempted(), Released(), Lost(), Crashed(message="SIGSEGV")):
        assert verdict(outcome, failure_count=1, max_failures=5, wanted=Wanted.PAUSE) == (State.PAUSED, None)


def test_a_lost_job_that_was_to_be_cancelled_is_not_tried_again() -> None:
    assert verdict(Lost(), failure_count=1, max_failures=5, wanted=Wanted.CANCEL) == (State.CANCELLED, None)


def test_a_result_that_is_not_finite_survives_json() -> None:
    outcome = Succeeded(result=TRAINED.model_copy(update={"test_loss": math.inf, "penalty": math.nan}))
    text = json.dumps(OUTCOME.dump_python(outcome, mode="json"), allow_nan=False)
    again = OUTCOME.validate_json(text)
    assert isinstance(again, Succeeded)
    assert isinstance(again.result, ClassificationResult)
    assert again.result.test_loss == math.inf
    assert math.isnan(again.result.penalty)


def test_in_brief_an_outcome_lacks_its_points_and_nothing_else() -> None:
    brief = in_brief(Succeeded(result=PLACED))
    assert brief == Succeeded(result=PLACED.model_copy(update={"points": None}))
    assert all(in_brief(outcome) is outcome for outcome in ENDINGS)


def test_in_brief_an_outcome_lacks_its_certificate_and_the_answers_to_the_test() -> None:
    told = TRAINED.model_copy(update={"certificate": CERTIFICATE})
    whole = Succeeded(result=told, answers=Answers(count=3, bits=b"oA=="))
    assert in_brief(whole) == Succeeded(result=TRAINED)
    assert {"certificate", "answers"} & set(in_brief(whole).model_dump(mode="json")["result"]) == set()
    assert OUTCOME.validate_json(OUTCOME.dump_json(whole)) == whole
