"""What can go wrong on a cluster? Each fault happens at once and is over when the call returns.

What was killed stays so until the cluster is mended, as a process manager would do.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
from celery import Celery
from chaos.cluster import LEASE, WORKERS, Cluster
from sqlalchemy import select

from hsu_jobs import doorbell
from hsu_jobs.states import TERMINAL
from hsu_jobs.tables import CheckpointRow, Job

Fault = Callable[[Cluster, random.Random], None]


def kill_runner(cluster: Cluster, draw: random.Random) -> None:
    """kill -9 of a process that trains, or is about to."""
    with suppress(psutil.NoSuchProcess):
        busy = {runner: runner.cpu_percent(interval=0.05) for runner in cluster.runners()}
        for runner in sorted(busy, key=lambda runner: -busy[runner])[:1]:
            runner.kill()


def kill_every_runner(cluster: Cluster, draw: random.Random) -> None:
    """kill -9 of all of them at once."""
    for runner in cluster.runners():
        with suppress(psutil.NoSuchProcess):
            runner.kill()


def kill_worker(cluster: Cluster, draw: random.Random) -> None:
    """kill -9 of a Celery worker, and with it of its supervisor."""
    cluster.kill(draw.choice(WORKERS))


def kill_both_workers(cluster: Cluster, draw: random.Random) -> None:
    """kill -9 of both."""
    for name in WORKERS:
        cluster.kill(name)


def stop_worker(cluster: Cluster, draw: random.Random) -> None:
    """SIGTERM to a worker, as at a shutdown or an update."""
    cluster.signal(draw.choice(WORKERS), signal.SIGTERM)


def kill_beat(cluster: Cluster, draw: random.Random) -> None:
    """kill -9 of beat."""
    cluster.kill("beat")


def kill_api(cluster: Cluster, draw: random.Random) -> None:
    """kill -9 of the API."""
    cluster.kill("api")


def freeze_worker(cluster: Cluster, draw: random.Random) -> None:
    """SIGSTOP of a worker until its leases have run out and another may have its jobs, then SIGCONT."""
    name = draw.choice(WORKERS)
    cluster.signal(name, signal.SIGSTOP)
    time.sleep(LEASE + 2)
    cluster.signal(name, signal.SIGCONT)


def freeze_machine(cluster: Cluster, draw: random.Random) -> None:
    """SIGSTOP of a worker and its runners until its leases have run out, then SIGCONT: a machine that slept."""
    name = draw.choice(WORKERS)
    runners = [runner for runner in cluster.runners() if runner.environ().get("HSU_WORKER_NAME") == name]
    cluster.signal(name, signal.SIGSTOP)
    for runner in runners:
        runner.suspend()
    time.sleep(LEASE + 2)
    for runner in runners:
        with suppress(psutil.NoSuchProcess):
            runner.resume()
    cluster.signal(name, signal.SIGCONT)


def flush_redis(cluster: Cluster, draw: random.Random) -> None:
    """FLUSHALL."""
    cluster.flush_redis()


def restart_redis(cluster: Cluster, draw: random.Random) -> None:
    """Redis goes away and comes back."""
    cluster.stop_redis()
    time.sleep(draw.uniform(0, 2))
    cluster.start_redis()


def restart_postgres(cluster: Cluster, draw: random.Random) -> None:
    """Postgres goes away and comes back."""
    cluster.restart_postgres()


def kill_postgres(cluster: Cluster, draw: random.Random) -> None:
    """kill -9 of Postgres, which is started again after a while, perhaps past every lease."""
    cluster.kill_postgres()
    time.sleep(draw.uniform(0, LEASE + 2))
    cluster.start_postgres()


def read_only_postgres(cluster: Cluster, draw: random.Random) -> None:
    """Postgres takes no writes until every lease has run out, as in a failover."""
    cluster.configure_postgres("default_transaction_read_only", "on")
    time.sleep(LEASE + 2)
    cluster.configure_postgres("default_transaction_read_only", "off")


def cut_worker_off(cluster: Cluster, draw: random.Random) -> None:
    """One worker does not reach Postgres until its leases have run out and another may have its jobs."""
    road = cluster.roads[draw.choice(WORKERS)]
    road.cut()
    time.sleep(LEASE + 2)
    road.mend()


def read_only_redis(cluster: Cluster, draw: random.Random) -> None:
    """Redis becomes a replica of nobody for a while, as in a failover: it refuses every write."""
    cluster.tell_redis("REPLICAOF", "127.0.0.1", "1")
    time.sleep(draw.uniform(2, 6))
    cluster.tell_redis("REPLICAOF", "NO", "ONE")


def full_redis(cluster: Cluster, draw: random.Random) -> None:
    """Redis has no memory left for a while."""
    cluster.tell_redis("CONFIG", "SET", "maxmemory", "1")
    time.sleep(draw.uniform(2, 6))
    cluster.tell_redis("CONFIG", "SET", "maxmemory", "0")


def redis_away_for_long(cluster: Cluster, draw: random.Random) -> None:
    """Redis is away for twenty of the suite's looks at the queue, which come every second."""
    cluster.stop_redis()
    time.sleep(20)
    cluster.start_redis()


def repeat_messages(cluster: Cluster, draw: random.Random) -> None:
    """Every message comes ten times, some for jobs that there are not."""
    with Celery(broker=doorbell.broker_url(cluster.engines.redis_url), set_as_current=False) as caller:
        caller.conf.task_default_queue = "hsu"
        for job_id in [*range(1, 6), 10**9] * 10:
            caller.send_task(doorbell.RING, args=(job_id,))


def fill_disk(cluster: Cluster, draw: random.Random) -> None:
    """The disk for checkpoints is full for a while."""
    filler = cluster.artifacts / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(65536))
            file.flush()
    time.sleep(draw.uniform(0.5, 2))
    kill_every_runner(cluster, draw)
    time.sleep(draw.uniform(0, 1))
    filler.unlink()


def corrupt_checkpoint(cluster: Cluster, draw: random.Random) -> None:
    """Its runner dies, and the newest checkpoint of a job that has not ended is damaged on the disk."""
    kill_every_runner(cluster, draw)
    with cluster.session() as session:
        of_open_jobs = select(CheckpointRow).join(Job).where(Job.state.not_in(TERMINAL))
        newest = of_open_jobs.where(CheckpointRow.removed_at.is_(None)).order_by(CheckpointRow.id.desc())
        row = session.execute(newest.limit(1)).scalar_one_or_none()
    if row is not None:
        path = cluster.artifacts / row.path
        with suppress(FileNotFoundError), path.open("r+b") as file:
            file.seek(draw.randrange(path.stat().st_size))
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 0xFF]))


def take_folder_away(cluster: Cluster, draw: random.Random) -> None:
    """The folder for checkpoints is not there for a while, as when it is unmounted; runners die meanwhile."""
    with cluster.without_artifacts():
        _live_without_checkpoints(cluster, draw)


def empty_folder(cluster: Cluster, draw: random.Random) -> None:
    """An empty folder is in its place for a while, as below a mount that is gone; nothing may be written there."""
    instead = cluster.folder / "below the mount"
    instead.mkdir(exist_ok=True)
    with cluster.without_artifacts(instead=instead):
        _live_without_checkpoints(cluster, draw)
    found = [str(path) for path in instead.rglob("*")]
    assert found == [], f"written to a folder that is not the installation's: {found}"


def _live_without_checkpoints(cluster: Cluster, draw: random.Random) -> None:
    time.sleep(draw.uniform(0.2, 1))
    kill_every_runner(cluster, draw)
    time.sleep(draw.uniform(1, 3))


FAULTS: dict[str, Fault] = {
    "kill -9 of a runner": kill_runner,
    "kill -9 of every runner": kill_every_runner,
    "kill -9 of a worker": kill_worker,
    "kill -9 of both workers": kill_both_workers,
    "SIGTERM of a worker": stop_worker,
    "kill -9 of beat": kill_beat,
    "kill -9 of the API": kill_api,
    "SIGSTOP of a worker past its leases": freeze_worker,
    "SIGSTOP of a machine past its leases": freeze_machine,
    "Redis FLUSHALL": flush_redis,
    "Redis restart": restart_redis,
    "Postgres restart": restart_postgres,
    "Postgres killed": kill_postgres,
    "Postgres read-only": read_only_postgres,
    "Postgres cut off from one worker": cut_worker_off,
    "Redis read-only": read_only_redis,
    "Redis full": full_redis,
    "Redis away for an hour": redis_away_for_long,
    "messages ten times": repeat_messages,
    "full disk for checkpoints": fill_disk,
    "corrupted checkpoint": corrupt_checkpoint,
    "checkpoint folder gone": take_folder_away,
    "checkpoint folder empty": empty_folder,
}
