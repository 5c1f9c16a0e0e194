"""Plug-ins in a folder of their own, as an installer leaves them there, and processes that have them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

SPECS = """
from typing import ClassVar, Literal

from hsu_core.spec.facts import ImageFacts
from hsu_core.spec.geometry import Geometry, Layer
from hsu_core.spec.penalties import About
from hsu_core.spec.plugin_bases import *
from hsu_core.spec.values import NonNegative
"""
"""What the modules of plug-ins begin with."""


def install(
    folder: Path, name: str, entries: Mapping[str, Mapping[str, str]], *, version: str = "1.0", **modules: str
) -> None:
    """Put a distribution into a folder: its modules, and its entry points by group and kind."""
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(SPECS + dedent(source))
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, kinds in entries.items()
        for line in (f"[{group}]", *(f"{kind} = {target}" for kind, target in kinds.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def asked(folder: Path, program: str) -> Any:
    """What a process that has the plug-ins of a folder prints as JSON."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", dedent(program)]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
