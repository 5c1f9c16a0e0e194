"""Which code a worker runs: its commit, as git tells it, or none."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

from worker import code_version


def git(folder: Path, *words: str) -> str:
    own = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    return subprocess.run(["git", "-C", folder, *own, *words], capture_output=True, text=True, check=True).stdout


def test_it_is_the_commit_and_whether_files_were_changed_since(tmp_path: Path) -> None:
    assert code_version._commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert code_version._commit(tmp_path) is None  # nothing is committed
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "tag", "v1")
    head = git(tmp_path, "rev-parse", "HEAD").strip()
    assert code_version._commit(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert code_version._commit(tmp_path) == f"{head}-dirty"
    (tmp_path / "inner").mkdir()
    assert code_version._commit(tmp_path / "inner") is None  # as of a package within the folder of another checkout


def test_what_git_does_not_read_is_not_known(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("nothing that git knows")
    assert code_version._commit(tmp_path) is None
    assert code_version.code_version().version == metadata.version("hsu-service")
