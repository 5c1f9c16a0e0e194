"""A Python environment of its own, with all that ours has: a plug-in is installed there, and removed again."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

EXAMPLE = Path(__file__).parents[1] / "examples/plugin"
PIP = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}
"""Without a registry: what builds a package is there (0 means that it is not isolated)."""

SCRIPTS = {
    "pip": "import sys; from pip._internal.cli.main import main; sys.exit(main())",
    "hsu": "from hsu_client.cli.main import main; main()",
}


class Environment(NamedTuple):
    """A folder with a `bin`."""

    folder: Path

    def run(self, *command: str | Path, cwd: Path | None = None, **environment: str) -> str:
        """The output of a command of this environment. Fails as the command does, and shows what it said."""
        own = {**os.environ, **PIP, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", **environment}
        done = subprocess.run(command, env=own, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def service(self, **engines: str) -> Iterator[dict[str, Any]]:
        """API, worker and beat of this environment while the `with` lasts: their url and key."""
        command = [self.folder / "bin/python", "-m", "embedded", "up", "--parent-pipe", "--folder", self.folder / "hsu"]
        with subprocess.Popen(
            command, env={**os.environ, **engines}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            ready = process.stdout.readline() if process.stdout else ""
            assert ready, "the service did not start; what it said is above"
            yield json.loads(ready)


def made(folder: Path) -> Environment:
    """A new environment. Its own packages come first; then those of the environment that runs the tests."""
    venv.create(folder, with_pip=False, symlinks=True)
    ours = next(path for path in site.getsitepackages() if path.startswith(sys.prefix))
    own = next(folder.glob("lib/python3*/site-packages"))
    (own / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    for name, call in SCRIPTS.items():
        script = folder / "bin" / name
        script.write_text(f"#!{folder / 'bin/python'}\n{call}\n")
        script.chmod(0o755)
    return Environment(folder)


def example(folder: Path) -> Path:
    """A copy of the example: building it would leave files beside it."""
    return Path(shutil.copytree(EXAMPLE, folder))
