"""What a worker does with jobs of plug-ins: also of one that was removed since the worker began."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import plugin_folder
from sqlalchemy import text

from hsu_core.spec import plugins
from hsu_jobs import database
from hsu_jobs.attempts import Claim
from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import Job
from worker.processes import Runner

DATA = """
class Noise(PluginImageDataset):
    kind: Literal["noise"] = "noise"
    builder: ClassVar[str] = "own_code:read"
    facts: ClassVar[ImageFacts] = ImageFacts((1, 8, 8), classes=2, train=64, test=32)
    files: ClassVar[tuple[str, ...]] = ("noise/seed.txt",)

class Outside(Noise):
    kind: Literal["outside"] = "outside"
    files: ClassVar[tuple[str, ...]] = ("../seed.txt",)
"""
TASK = """
from hsu_core.spec.classification import ClassificationSpec
from hsu_core.spec.plugin_tasks import PluginTask
from hsu_core.spec.training import Metric

class Doubting(PluginTask, ClassificationSpec):
    evaluated = ("test_loss", "test_accuracy", "test_doubt")
    primary = Metric("test_doubt", higher_is_better=False)
    task: Literal["doubting"] = "doubting"
    builder: ClassVar[str] = "own_code:Doubting"

class Quoted(Doubting):
    evaluated = ("test_loss", "it's")
    primary = Metric("test_loss", higher_is_better=False)
    task: Literal["quoted"] = "quoted"
"""
CODE = """
import numpy as np
from hsu_core.data.images import Images
from hsu_core.tasks.classification import Classification

def read(paths, facts):
    drawn = np.random.default_rng(int(paths[0].read_text()))
    def images(n):
        y = np.arange(n) % 2
        return (drawn.integers(0, 100, (n, *facts.shape)) + 100 * y[:, None, None, None]).astype(np.uint8), y
    return Images(*images(facts.train), *images(facts.test))

class Doubting(Classification):
    def evaluated(self):
        found = super().evaluated()
        return found | {"test_doubt": 1 - found["test_accuracy"]}
"""


def test_a_data_set_and_a_task_of_a_plug_in_give_a_result_of_their_own(tmp_path: Path) -> None:
    entries = {
        plugins.DATASETS: {"noise": "own_data:Noise", "outside": "own_data:Outside"},
        plugins.TASKS: {"doubting": "own_task:Doubting", "quoted": "own_task:Quoted"},
    }
    plugin_folder.install(tmp_path, "own", entries, own_data=DATA, own_task=TASK, own_code=CODE)
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise/seed.txt").write_text("3")
    seen = plugin_folder.asked(
        tmp_path,
        f"""
        import json
        from pathlib import Path
        from hsu_core.data.files import DatasetNotFound, require
        from hsu_core.spec import plugins
        from hsu_core.training.callbacks import SILENT
        from hsu_jobs import results
        from hsu_jobs.settings import Settings
        from hsu_jobs.spec import TASKS, parse
        from worker import dispatch
        job = parse({{
            "task": "doubting", "dataset": {{"kind": "noise"}}, "model": {{"kind": "mlp", "hidden": [8]}},
            "regularizer": {{"kind": "mhe"}}, "duration": {{"epochs": 4}}, "batch_size": 16}})
        try:
            require(job.dataset, None)
        except DatasetNotFound as error:
            missing = str(error)
        done = dispatch.do(job, SILENT, resume_from=None, settings=Settings(data_dir=Path({str(tmp_path)!r})))
        print(json.dumps({{
            "done": done.model_dump(mode="json"), "tasks": TASKS, "metrics": results.METRICS, "missing": missing,
            "costs": job.costs().parameters, "broken": {{each.kind: each.reason for each in plugins.broken()}}}}))
        """,
    )
    result = seen["done"]["result"]
    assert (seen["done"]["kind"], result["task"], result["plugins"]) == ("succeeded", "doubting", {"own": "1.0"})
    assert result["test_accuracy"] == 1
    assert result["test_doubt"] == 0
    assert result["parameters"] == seen["costs"]
    assert seen["tasks"][-2:] == ["points", "doubting"]
    assert "test_doubt" in seen["metrics"]
    assert "noise/seed.txt" in seen["missing"]
    assert set(seen["broken"]) == {"outside", "quoted"}
    assert "expected paths below the data folder, found '../seed.txt'" in seen["broken"]["outside"]
    assert "found it's" in seen["broken"]["quoted"]


def test_a_job_whose_plug_in_was_removed_since_the_worker_began_waits_and_is_tried_ever_less_often(
    claim: Claim, fast: Settings, job: Callable[[int], Job]
) -> None:
    gone = "UPDATE jobs SET plugins = '{lab-nets}', spec = jsonb_set(spec, '{model,kind}', '\"lab_net\"')"
    with database.transaction() as session:
        session.execute(text(gone))
    runner = Runner(fast.model_copy(update={"spare_runner": False}))
    runner.assign(claim.token, visible="")
    assert runner.wait(300)
    runner.kill()
    seen = job(claim.job_id)
    outcome = seen.attempts[-1].outcome
    assert outcome is not None
    assert (outcome["kind"], outcome["code"]) == ("unavailable", "spec_not_readable")
    assert "the plug-in lab-nets is not installed here" in outcome["message"]
    assert (seen.state, seen.strikes) == (State.QUEUED, 0)
    assert seen.runnable_at > seen.attempts[-1].ended_at  # type: ignore[operator]
