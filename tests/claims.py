"""How tests claim jobs, for whom, and on which machines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from samples import ROOM, TRAINED
from sqlalchemy.orm import Session

from hsu_jobs import attempts
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import workers
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Job, User

Submit = Callable[..., Job]
Later = Callable[[float], None]

SETTINGS = Settings(retry_after=timedelta(microseconds=1), patience=timedelta(minutes=5), lease=timedelta(hours=1))
DONE = Succeeded(result=TRAINED)
GPUS = ("cuda:0", "cuda:1", "cuda:2", "cuda:3")


def claim(session: Session, room: Room = ROOM, settings: Settings = SETTINGS) -> Claim | None:
    found = attempts.claim(session, room, settings)
    session.expire_all()
    return found


def claimed(session: Session, room: Room = ROOM) -> Claim:
    found = claim(session, room)
    assert found is not None
    return found


def order(session: Session) -> list[int]:
    """The jobs in the order in which they are started, on a machine with room for all."""
    return [found.job_id for found in iter(lambda: claim(session), None)]


def person(session: Session, name: str, *, share: float = 1, max_gpus: int | None = None) -> User:
    user = User(name=name, share=share, max_gpus=max_gpus)
    session.add(user)
    session.flush()
    return user


def machine(session: Session, name: str, *, gpus: int, pool: str = "default") -> None:
    workers.register(session, name, pool=pool, devices=GPUS[:gpus], slots=gpus)
