"""A job of the real service with known curves, NaN and infinities among them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from samples import TRAINED
from sqlalchemy.orm import Session

from hsu_client.client import Client
from hsu_client.export import run as runs
from hsu_client.export.run import Run
from hsu_core.outcomes import Saved, Series
from hsu_jobs import attempts
from hsu_jobs.artifacts import logs
from hsu_jobs.attempts import Claim
from hsu_jobs.curves import Point
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.settings import Settings

BEGAN = 1_700_000_000.0
ENERGY, LOSS = Series("conv1", "mhe_s2"), Series(None, "loss")
ENERGIES = {1: 1.5, 2: math.nan, 3: math.inf, 4: -math.inf, 5: 0.1}

Measure = Callable[..., None]


@pytest.fixture
def measure(session: Session, claim: Claim) -> Measure:
    """Measures these steps of the running job."""

    def measured(*steps: int) -> None:
        points = [Point(step, BEGAN + step, {ENERGY: ENERGIES[step], LOSS: 10.0 * step}) for step in steps]
        attempts.progress(session, claim.token, step=max(steps), points=points)
        session.flush()

    return measured


@pytest.fixture
def end(session: Session, claim: Claim) -> Callable[[], None]:
    """Ends the running job well."""

    def ended() -> None:
        attempts.settle(session, claim.token, Succeeded(result=TRAINED), Settings())
        session.flush()

    return ended


@pytest.fixture
def job_id(claim: Claim, measure: Measure, end: Callable[[], None]) -> int:
    """A job that has ended, with all its curves."""
    measure(1, 2, 3)
    measure(4, 5)
    end()
    return claim.job_id


@pytest.fixture
def run(client: Client, job_id: int) -> Run:
    return runs.read(client, job_id)


@pytest.fixture
def whole(session: Session, claim: Claim, saved: list[Saved], measure: Measure, end: Callable[[], None]) -> int:
    """A job that has ended, with curves, checkpoints and a log."""
    logs.append(session, claim.token, 0, "epoch 1\r\nepoch 2: ∇ = 0\n".encode(), limit=10_000)
    session.flush()
    measure(1, 2, 3, 4, 5)
    end()
    return claim.job_id
