"""Several processes train one model as one process would, and none of them is left behind.

python test_parallel.py rank …      one of two ranks that train every case, each with windows of its own
python test_parallel.py train …     a first rank that trains for long, to be killed
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
import torch
from safetensors.torch import load_file
from two_ranks import ENVIRONMENT, run_both

from hsu_core import spec
from hsu_core.data import reading
from hsu_core.data.batches import Batches
from hsu_core.data.files import DatasetNotFound
from hsu_core.outcomes import Diverged, Finished, Series, Stopped
from hsu_core.ranks import ALONE, World
from hsu_core.training import checkpoint, launch, out_of_memory
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

STEPS = 8
PENALTY = Series(None, "penalty")

CASES: dict[str, dict[str, Any]] = {
    "none": {"regularizer": {"kind": "none"}},
    "mhe": {"regularizer": {"kind": "mhe"}},
    "mhp fresh": {"regularizer": {"kind": "mhp", "inner": {"kind": "fresh"}}},
    "mhp authors": {"regularizer": {"kind": "mhp", "inner": {"kind": "authors"}}},
    "comhe random": {"regularizer": {"kind": "comhe", "projection": "random", "dimension": 16, "projections": 3}},
    "comhe adversarial": {"regularizer": {"kind": "comhe", "projection": "adversarial", "dimension": 4}},
    "srip": {"regularizer": {"kind": "srip"}},
    "every third step": {"regularizer": {"kind": "mhe", "every": 3}},
    "uniformity": {"regularizer": {"kind": "uniformity"}},
    "koleo": {"regularizer": {"kind": "koleo"}},
    "hug": {"regularizer": {"kind": "hug"}},
    "batch norm": {"model": {"kind": "small_cnn", "width": 4}, "regularizer": {"kind": "none"}},
    "batch norm and koleo": {"model": {"kind": "small_cnn", "width": 4}, "regularizer": {"kind": "koleo"}},
    "adamw": {"optimizer": {"kind": "adamw", "lr": 0.01}},
    "options of the recipe": {
        "model": {"kind": "small_cnn", "width": 4},
        "batch_norm": {"momentum": 0.05, "debiased": True},
        "loss": {"kind": "cross_entropy", "label_smoothing": 0.01, "softmax_floor": 1e-4},
        "optimizer": {"kind": "sgd", "norm_decay": 0.0},
        "record": {"every": 1, "measures": ["mhe_s2"], "l2": True},
        "clip_norm": 0.5,
        "ema": 0.9,
    },
    "lloyd": {"regularizer": {"kind": "lloyd"}},
    "sliced_gaussian": {"regularizer": {"kind": "sliced_gaussian"}},
    "oft": {"parametrization": {"kind": "oft", "block": 8}},
    "poet": {"parametrization": {"kind": "poet", "block": 8}},
    "max separation": {"classifier": {"kind": "max_separation"}},
}


def training(**changes: Any) -> spec.ClassificationSpec:
    return spec.ClassificationSpec.model_validate(
        {
            "dataset": {"kind": "digits"},
            "model": {"kind": "mlp", "hidden": [32, 32]},
            "regularizer": {"kind": "mhe"},
            "duration": {"steps": STEPS},
            "batch_size": 32,
            "augment": "crop_flip",
            "record": {"every": 1, "measures": ["mhe_s2"]},
            "evaluate": {"every": 3},
        }
        | changes
    )


def other_ranks() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "hsu_core.training.launch" in child.cmdline()]


def last_of(folder: Path) -> Path:
    found = checkpoint.latest(folder)
    assert found
    return found


def assert_close(one: Path, other: Path) -> None:
    expected, found = load_file(one), load_file(other)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


# --- the same training ------------------------------------------------------------------------------------------------


def be_a_rank(rank: str, port: str, listening: str, folder: str) -> None:
    """Train every case with windows on this rank too, and write down what they saw."""
    order = launch.Order(
        training=training(), rank=int(rank), size=2, port=int(port), device="cpu", data_dir=None, resume_from=None
    )
    penalties: dict[str, list[str]] = {name: [] for name in CASES}
    with launch.joined(order, listening=int(listening) if rank == "0" else None) as world:
        for name, changes in CASES.items():
            train(
                training(**changes),
                world=world,
                callbacks=Callbacks(
                    report=lambda _, values, name=name: penalties[name].append(values[PENALTY].hex()),
                    checkpoint_dir=Path(folder, rank, name),
                ),
            )
        diverged = train(training(optimizer={"kind": "sgd", "lr": 1e38, "weight_decay": 1e38}), world=world)
    Path(folder, rank, "penalties.json").write_text(json.dumps(penalties))
    Path(folder, rank, "diverged").write_text(str(diverged))
    launch.end()


@pytest.fixture(scope="module")
def of_both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make of every case: the files of ranks 0 and 1."""
    folder = tmp_path_factory.mktemp("ranks")
    run_both(__file__, folder, "rank")
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_updates_of_one(of_both: Path, name: str, tmp_path: Path) -> None:
    penalties: list[float] = []
    train(
        training(**CASES[name]),
        callbacks=Callbacks(report=lambda _, values: penalties.append(values[PENALTY]), checkpoint_dir=tmp_path),
    )
    assert_close(last_of(tmp_path), last_of(of_both / "0" / name))
    of_two = json.loads((of_both / "0" / "penalties.json").read_text())[name]
    assert [float.fromhex(value) for value in of_two] == pytest.approx(penalties, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_penalties_and_states_are_the_same_to_the_bit_on_both_ranks(of_both: Path, name: str) -> None:
    first, second = (json.loads((of_both / rank / "penalties.json").read_text())[name] for rank in "01")
    assert first == second
    assert len(set(first)) == (1 if CASES[name].get("regularizer") == {"kind": "none"} else STEPS + 1)
    one, other = (last_of(of_both / rank / name) for rank in "01")
    assert one.read_bytes() == other.read_bytes()


def test_both_ranks_take_their_part_of_the_same_augmented_batch() -> None:
    chosen = training()
    images = reading.load(chosen.dataset, None)

    def batches(world: World) -> Batches:
        return Batches(images, size=30, seed=1, device=torch.device("cpu"), augment="crop_flip", world=world)

    whole = batches(ALONE)
    parts = [batches(World(rank, 3)) for rank in range(3)]
    pieces = [next(part.training(46)) for part in parts]
    for expected, found in zip(next(whole.training(46)), zip(*pieces, strict=True), strict=True):
        assert torch.equal(torch.cat(found), expected)
    tested = [torch.cat([y for _, y in part.testing()]) for part in parts]
    assert torch.equal(torch.cat(tested), whole.test_y)
    assert max(map(len, tested)) - min(map(len, tested)) <= 1


# --- it stops, resumes, diverges, refuses -----------------------------------------------------------------------------


def stop_after(updates: int) -> Callable[[], bool]:
    return iter([False] * updates + [True]).__next__


def test_what_two_processes_began_one_may_end_and_two_end_it_bit_for_bit(of_both: Path, tmp_path: Path) -> None:
    name = "mhp authors"
    chosen = training(**CASES[name])
    curves: dict[int, Mapping[Series, float]] = {}
    outcome = launch.train(
        chosen,
        processes=2,
        callbacks=Callbacks(report=curves.__setitem__, should_stop=stop_after(3), checkpoint_dir=tmp_path),
    )
    assert outcome == Stopped(3)
    assert list(curves) == [0, 1, 2]

    stopped, unbroken = last_of(tmp_path), last_of(of_both / "0" / name)
    train(chosen, resume_from=stopped, callbacks=Callbacks(checkpoint_dir=tmp_path / "one"))
    assert_close(unbroken, last_of(tmp_path / "one"))
    assert isinstance(
        launch.train(chosen, processes=2, resume_from=stopped, callbacks=Callbacks(checkpoint_dir=tmp_path)), Finished
    )
    assert last_of(tmp_path).read_bytes() == unbroken.read_bytes()


def test_what_one_process_began_two_may_end(of_both: Path, tmp_path: Path) -> None:
    train(training(), callbacks=Callbacks(should_stop=stop_after(3), checkpoint_dir=tmp_path))
    outcome = launch.train(
        training(), processes=2, resume_from=last_of(tmp_path), callbacks=Callbacks(checkpoint_dir=tmp_path)
    )
    assert isinstance(outcome, Finished)
    assert_close(last_of(of_both / "0" / "mhe"), last_of(tmp_path))
    assert not other_ranks()


@pytest.mark.parametrize("rank", "01")
def test_a_run_that_diverges_says_so_on_every_rank(of_both: Path, rank: str) -> None:
    assert (of_both / rank / "diverged").read_text() == str(Diverged(1, "hidden1", "weights"))


def test_a_batch_without_equal_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: expected a multiple of the 2 processes, found 33"):
        launch.train(training(batch_size=33), processes=2)
    with pytest.raises(ValueError, match="batch_size: expected a multiple of the 3 processes, found 32"):
        train(training(), world=World(0, 3))


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="there are enough")
def test_more_processes_than_devices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a device for each of the 8 processes, found \d"):
        launch.train(training(), processes=8, device="cuda")


def test_a_missing_data_set_is_told_as_by_one_process() -> None:
    with pytest.raises(DatasetNotFound, match="mnist"):
        launch.train(training(dataset={"kind": "mnist"}), processes=2)
    assert not other_ranks()


def test_one_process_needs_no_other(tmp_path: Path) -> None:
    launch.train(training(), processes=1, callbacks=Callbacks(checkpoint_dir=tmp_path / "parallel"))
    train(training(), callbacks=Callbacks(checkpoint_dir=tmp_path / "alone"))
    assert last_of(tmp_path / "parallel").read_bytes() == last_of(tmp_path / "alone").read_bytes()


# --- a rank is killed -------------------------------------------------------------------------------------------------


def train_for_long(does: str) -> NoReturn:
    """Say when it trains; `is deaf` then hears of nothing, as a rank that waits inside a device does."""

    def report(step: int, values: Mapping[Series, float]) -> None:
        if step == 0:
            print("it trains", flush=True)
            time.sleep(600 if does == "is deaf" else 0)

    launch.GRACE = 1.0
    launch.train(training(duration={"steps": 10**6}), processes=2, callbacks=Callbacks(report=report))
    sys.exit("it came to an end")


@pytest.fixture
def first_rank(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A first rank that trains with another one."""
    command = [sys.executable, __file__, "train", request.param]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "it trains\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("first_rank", "last_words"),
    [
        ("listens", "RankDied: expected all 2 processes to train to the end, found rank 1 with status -9 ended before"),
        ("is deaf", "expected all 2 processes to train to the end, found rank 1 with status -9 ended before it\n"),
    ],
    indirect=["first_rank"],
    ids=["the first listens", "the first is deaf"],
)
@pytest.mark.usefixtures("kernel_kills_nobody")
def test_the_death_of_another_rank_ends_the_first_with_an_error(
    first_rank: subprocess.Popen[str], last_words: str
) -> None:
    (other,) = psutil.Process(first_rank.pid).children()
    other.send_signal(signal.SIGKILL)
    _, said = first_rank.communicate(timeout=120)
    assert first_rank.returncode == 1
    assert last_words in said


@pytest.mark.parametrize("first_rank", ["listens"], indirect=True)
def test_the_death_of_the_first_rank_leaves_no_process(first_rank: subprocess.Popen[str]) -> None:
    (other,) = psutil.Process(first_rank.pid).children()
    os.kill(first_rank.pid, signal.SIGKILL)
    assert other.wait(timeout=60) is None  # it is no child of ours, and gone


def test_a_rank_that_has_no_memory_left_says_so_by_its_status() -> None:
    """Its training alone is another: one that asks for 10¹⁵ bytes."""
    script = (
        "import torch\nfrom hsu_core.training import launch\n"
        "launch._take_part = lambda order: torch.empty(10**15, dtype=torch.uint8)\n"
        "launch.main()"
    )
    order = launch.Order(training=training(), rank=1, size=2, port=1, device="cpu", data_dir=None, resume_from=None)
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, text=True) as rank:
        assert rank.stdin
        rank.stdin.write(order.model_dump_json() + "\n")
        rank.stdin.flush()
        assert rank.wait(timeout=120) == out_of_memory.EXIT_STATUS


def test_another_rank_ends_with_its_parent_whatever_it_waits_for() -> None:
    command = [sys.executable, "-m", "hsu_core.training.launch"]
    with (
        socket.create_server((launch.HOST, 0)) as silent,
        subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as rank,
    ):
        order = launch.Order(
            training=training(),
            rank=1,
            size=2,
            port=silent.getsockname()[1],
            device="cpu",
            data_dir=None,
            resume_from=None,
        )
        assert rank.stdin
        rank.stdin.write(order.model_dump_json() + "\n")
        rank.stdin.flush()
        silent.settimeout(60)
        with silent.accept()[0]:  # it is at the meeting, where nobody will answer
            rank.stdin.close()
            assert rank.wait(timeout=120) == 1


if __name__ == "__main__":
    {"rank": be_a_rank, "train": train_for_long}[sys.argv[1]](*sys.argv[2:])
