"""Whatever breaks between a loop and the service, each point that was logged is there once when both are back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from proxy import Road, road_to_postgres
from serving import Serving, serving
from sqlalchemy import func, update
from waiting import until

from hsu_client.client import Client
from hsu_client.problem import Problem, Unreachable
from hsu_jobs import attempts, database, settings
from hsu_jobs.access import keys
from hsu_jobs.artifacts import installation
from hsu_jobs.tables import Attempt, Role

FAULTS = int(os.environ.get("HSU_TEST_FAULTS", "8"))
"""How many happen."""

LOOP = """
import sys, time
from pathlib import Path
import hsu_client
from hsu_client.tracking import files, sender
sender.FLUSH, sender.LONGEST_REST = 0.05, 0.3
files.FLUSH, files.LONGEST_REST = 0.05, 0.3
stop, back, resume = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) or None
mine = stop.with_name("mine.txt")
clock = time.time
time.time = lambda: clock() - (1e6 if back.exists() else 0)
without = ("packages", "gpus", "git")
with hsu_client.track("faults", resume=resume, without=without, patience=300, log_output=False) as run:
    print(run.id, run.step, flush=True)
    step = run.step
    while not stop.exists():
        run.log(step, loss=float(step), twice=2.0 * step)
        step += 1
        if step % 200 == 0:
            mine.write_text(f"{step} " * 100_000)
            run.save(mine, name=f"{step // 200 % 3}.txt")
        time.sleep(0.002)
    mine.write_text(f"{step} " * 100_000)
    run.save(mine, name="last.txt")
print(step, flush=True)
"""


class Loop(NamedTuple):
    """A training loop in a process of its own."""

    process: subprocess.Popen[str]
    run_id: int


class World:
    """A loop, the network, the service and its database, each of which can break."""

    def __init__(self, folder: Path, key: str, urls: tuple[str, str], to_database: Road, stack: ExitStack) -> None:
        self._stop, self._back = folder / "stop", folder / "back"
        self._urls = urls
        self._to_database = to_database
        self._database = settings.settings().database_url.get_secret_value().replace("+psycopg", "")
        self._serving = ExitStack()
        stack.callback(lambda: self._serving.close())
        self._api = self._serve()
        self._to_api = Road(self._address())
        stack.callback(self._to_api.close)
        self._environment = {
            **os.environ,
            "HSU_URL": f"http://127.0.0.1:{self._to_api.port}",
            "HSU_API_KEY": key,
        }
        self.loop = self._start(0)
        stack.callback(self._end_loop)

    def kill_the_loop(self) -> None:
        """What it had not sent is logged again by the next process."""
        self._end_loop()
        self.loop = self._start(self.loop.run_id)

    def kill_the_api(self) -> None:
        """Another one begins at another port."""
        self._api.process.send_signal(signal.SIGKILL)
        self._serving.close()
        self._api = self._serve()
        self._to_api._server = self._address()

    def cut_the_network(self) -> None:
        """For a while."""
        self._to_api.cut()
        time.sleep(random.uniform(0, 0.5))
        self._to_api.mend()

    def cut_the_database(self) -> None:
        """For a while."""
        self._to_database.cut()
        time.sleep(random.uniform(0, 0.5))
        self._to_database.mend()

    def end_every_session(self) -> None:
        """Postgres ends all its processes for this database, whatever they are writing."""
        with psycopg.connect(self._database, autocommit=True) as connection:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        database.engine().dispose()

    def let_the_machine_sleep(self) -> None:
        """For longer than its lease."""
        self.loop.process.send_signal(signal.SIGSTOP)
        with database.transaction() as session:
            live = update(Attempt).where(Attempt.job_id == self.loop.run_id, Attempt.ended_at.is_(None))
            session.execute(live.values(lease_expires_at=func.now() - func.make_interval(0, 0, 0, 0, 1)))
        with database.transaction() as session:
            attempts.expire(session, settings.settings())
        self.loop.process.send_signal(signal.SIGCONT)

    def set_the_clock_back(self) -> None:
        """By eleven days; the next time it is right again."""
        if self._back.exists():
            self._back.unlink()
        else:
            self._back.touch()

    def finish(self) -> int:
        """End the loop; returns how many steps it made."""
        self._stop.touch()
        assert self.loop.process.stdout is not None
        steps = int(self.loop.process.stdout.readline())
        assert self.loop.process.wait() == 0
        return steps

    def is_heard(self, client: Client) -> bool:
        """Whether what the loop logs now arrives."""
        try:
            return client.job(self.loop.run_id)["step"] > self._seen
        except (Problem, Unreachable):
            return False

    def note(self, client: Client) -> None:
        """From here on something has to arrive."""
        self._seen = client.job(self.loop.run_id)["step"]

    @property
    def url(self) -> str:
        """The service's address, past the road."""
        return self._api.url

    def _end_loop(self) -> None:
        with self.loop.process as process:
            process.kill()

    def _serve(self) -> Serving:
        return self._serving.enter_context(serving(*self._urls))

    def _address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self._api.url.rpartition(":")[2])

    def _start(self, resume: int) -> Loop:
        command = [sys.executable, "-c", LOOP, str(self._stop), str(self._back), str(resume)]
        process = subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return Loop(process, int(process.stdout.readline().split()[0]))


BREAKS: list[Callable[[World], None]] = [
    World.kill_the_loop,
    World.kill_the_api,
    World.cut_the_network,
    World.cut_the_database,
    World.end_every_session,
    World.let_the_machine_sleep,
    World.set_the_clock_back,
]


@pytest.fixture
def key(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A member's key, and this process at the database itself; a worker has used the storage."""
    monkeypatch.setenv("HSU_DATABASE_URL", database_url)
    monkeypatch.setenv("HSU_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    for cached in (settings.settings, database.engine):
        cached.cache_clear()
    with database.transaction() as session:
        made = keys.create(session, user="ada", role=Role.MEMBER)
        installation.marked_storage(session, settings.settings())
    yield made
    database.engine().dispose()
    for cached in (settings.settings, database.engine):
        cached.cache_clear()


def test_after_random_faults_each_point_is_there_once(
    key: str, database_url: str, redis_url: str, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    with ExitStack() as stack:
        to_database, url = stack.enter_context(road_to_postgres(database_url))
        world = World(tmp_path, key, (url, redis_url), to_database, stack)
        happened = [*BREAKS, *chance.choices(BREAKS, k=FAULTS)][:FAULTS] if len(BREAKS) <= FAULTS else BREAKS
        chance.shuffle(happened)
        for fault in happened:
            time.sleep(chance.uniform(0, 0.3))
            fault(world)
            with Client(world.url, key) as client:
                until(lambda client=client: _is_ready(client, world))
                until(lambda client=client: world.is_heard(client), seconds=120)
        steps = world.finish()
        with Client(world.url, key) as client:
            job = client.job(world.loop.run_id)
            curves = client.curves(world.loop.run_id)
            files = {
                each["name"]: _saved(client, job["id"], each["name"], tmp_path) for each in client.files(job["id"])
            }
    assert job["state"] == "succeeded", seed
    assert [curve.steps for curve in curves] == [list(range(steps))] * 2, seed
    assert {curve.measure: curve.values for curve in curves} == {
        "loss": [float(step) for step in range(steps)],
        "twice": [2.0 * step for step in range(steps)],
    }, seed
    assert files.pop("last.txt") == steps, seed
    assert {f"{step // 200 % 3}.txt" for step in files.values()} == set(files), seed
    print(f"\n{len(happened)} faults (seed {seed}): {2 * steps} values, each there once, and {1 + len(files)} files")


def _saved(client: Client, run: int, name: str, folder: Path) -> int:
    """The step at which a file was saved, all of which is the same number again and again."""
    (step,) = set(client.download_file(run, name, folder / f"back-{name}").read_text(encoding="utf-8").split())
    return int(step)


def _is_ready(client: Client, world: World) -> bool:
    try:
        world.note(client)
    except (Problem, Unreachable):
        return False
    return True
