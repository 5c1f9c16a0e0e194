"""Rules worth stating, checked by a machine. Import directions are import-linter's (`make check`)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("api", "worker", "hsu_jobs", "hsu_core", "hsu_client", "embedded")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("module", ["api.app", "hsu_core", "hsu_core.spec", "hsu_jobs.lifecycle", "worker.supervisor"])
def test_importing_it_loads_no_torch(module: str) -> None:
    question = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", question], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_database_module_commits(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    commits = [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "commit"]
    assert not commits or path == ROOT / "hsu_jobs" / "database.py"


def test_only_lifecycle_writes_a_jobs_state() -> None:
    writers = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(target, ast.Attribute) and target.attr == "state" for target in targets):
                writers.add(path.relative_to(ROOT).as_posix())
    assert writers == {"hsu_jobs/lifecycle.py"}


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
