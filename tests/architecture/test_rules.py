"""Rules worth stating, checked by a machine. Import directions are import-linter's (`make check`)."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from embedded.up import commands
from hsu_jobs.settings import Settings
from hsu_jobs.states import picture

ROOT = Path(__file__).parents[2]
ROOMS = ("api", "worker", "hsu_jobs", "hsu_core", "hsu_client", "embedded")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("module", ["api.app", "hsu_core", "hsu_core.spec", "hsu_jobs.lifecycle", "worker.supervisor"])
def test_importing_it_loads_no_torch(module: str) -> None:
    question = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", question], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_database_module_commits(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    commits = [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "commit"]
    assert not commits or path == ROOT / "hsu_jobs" / "database.py"


def test_only_lifecycle_writes_a_jobs_state() -> None:
    writers = set()
    for path in SOURCES:
        if path.is_relative_to(ROOT / "hsu_core"):  # it knows no jobs, and an optimizer has a state
            continue
        assigned = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if _is_assignment(node)]
        targets = [target for node in assigned for target in ast.walk(node) if _is_written(target)]
        others = {
            "self.state",
            "delivery.state",
            "dataset.state",
            "problem.state",
            "saved.state",
        }  # what is no job may have one too
        if any((name := ast.unparse(target)).endswith(".state") and name not in others for target in targets):
            writers.add(path.relative_to(ROOT).as_posix())
    assert writers == {"hsu_jobs/lifecycle.py"}


def _is_assignment(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)


def _is_written(node: ast.AST) -> bool:
    """Whether it is an attribute that an assignment writes, alone or as one of several."""
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)


def test_one_statement_beside_it_starts_jobs() -> None:
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in SOURCES}
    assert [name for name, text in texts.items() if "SET state" in text] == ["hsu_jobs/cluster/claiming.py"]


def test_one_file_asks_which_task_a_job_has() -> None:
    """Others ask the spec for what they need, so that a further task needs no edit there."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in SOURCES}
    asking = [name for name, text in texts.items() if re.search(r"\b(ClassificationJob|PointsJob)\b", text)]
    assert asking == ["worker/dispatch.py", "hsu_jobs/spec.py"]


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_files_and_pipes_state_their_encoding(path: Path) -> None:
    # Without one Python takes the locale's: a spec in UTF-8 was read as Latin-1 under LANG=de_DE.ISO-8859-1.
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if _is_text(call) and not _given(call, "encoding")] == []


OF_BYTES = {"os.open", "Image.open", "self._zip.open", "archive.open"}
"""What opens a descriptor, an image, or an entry of an archive: never text."""


def _is_text(call: ast.Call) -> bool:
    """Whether a call reads or writes text: a file of a path, `open`, or a process that is not read as bytes."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("read_text", "write_text") or _given(call, "text"):
        return True
    if name not in ("open", "fdopen") or ast.unparse(call.func) in OF_BYTES:
        return False
    is_of_a_path = name == "open" and isinstance(call.func, ast.Attribute)
    mode = call.args[0 if is_of_a_path else 1 :][:1]
    return not mode or not (isinstance(mode[0], ast.Constant) and "b" in str(mode[0].value))


def _given(call: ast.Call, name: str) -> bool:
    return any(keyword.arg == name for keyword in call.keywords)


def test_the_picture_of_a_jobs_life_is_the_table_of_moves() -> None:
    assert picture() in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_every_file_that_the_architecture_names_is_there() -> None:
    named = set(re.findall(r"`((?:\w+/)+[\w.]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_containers_set_only_what_can_be_set() -> None:
    settable = {f"HSU_{name.upper()}" for name in Settings.model_fields}
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert set(compose["services"]) == {"postgres", "redis", "migrate", "api", "worker", "beat"}
    for service in compose["services"].values():
        given = {name for name in service["environment"] if name.startswith("HSU_")} if "build" in service else set()
        assert given <= settable


def test_every_setting_of_env_reaches_every_container_of_ours() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    ours = {name: service for name, service in compose["services"].items() if "build" in service}
    assert set(ours) == {"migrate", "api", "worker", "beat"}
    for service in ours.values():
        assert service["env_file"] == [{"path": ".env", "required": False}]
        fixed = {name for name in service["environment"] if name.startswith("HSU_")}
        assert fixed == {f"HSU_{name}" for name in FIXED}


FIXED = ("DATABASE_URL", "DATABASE_PASSWORD", "REDIS_URL", "DATA_DIR", "ARTIFACTS_DIR", "DATASET_CACHE")
"""Where the containers' own engines and folders are."""


def test_what_the_images_copy_is_sent_to_their_build() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [name for line in copied for name in line.split() if f"!{name}" not in sent] == []


def test_the_database_password_stands_in_no_url() -> None:
    for line in (ROOT / "docker-compose.yml").read_text(encoding="utf-8").splitlines():
        assert "://" not in line or "PASSWORD" not in line


def test_the_containers_run_what_one_machine_runs(tmp_path: Path) -> None:
    # The e2e tests run these commands: the images' are the same but for ports, names and paths.
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    api, worker = (json.loads(line.removeprefix("CMD ")) for line in dockerfile.splitlines() if line.startswith("CMD"))
    images = {"api": api, "worker": worker, "beat": compose["services"]["beat"]["command"]}
    for name, mine in commands(tmp_path, 8000, "node").items():
        words = {"worker", "worker.beat", "api"} & set(mine)
        assert words
        assert words <= set(images[name])
