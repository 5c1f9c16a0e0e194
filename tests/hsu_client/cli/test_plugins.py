"""`hsu plugin new` writes the example under another name, and needs no service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from fresh_environment import EXAMPLE

from hsu_client.cli.main import main

New = Callable[[str], tuple[int, str]]


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> New:
    """Runs the command in an empty folder: its exit status, and what it says."""
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["plugin", "new", name], env={"HSU_API_KEY": ""})
        return done.exit_code, done.output

    return run


def test_it_writes_every_file_of_the_example_under_the_new_name(new: New, tmp_path: Path) -> None:
    assert new("lab-networks") == (0, "wrote lab-networks: begin with lab-networks/README.md\n")
    folder = tmp_path / "lab-networks"
    names = (("hsu-example", "lab-networks"), ("hsu_example", "lab_networks"), ("HsuExample", "LabNetworks"))

    def renamed(text: str) -> str:
        for old, new in names:
            text = text.replace(old, new)
        return text

    suffixes = {".py", ".md", ".json", ".toml", ".typed"}
    originals = [path for path in EXAMPLE.rglob("*") if path.suffix in suffixes and "build" not in path.parts]
    assert len(originals) >= 10
    for original in originals:
        copy = folder / renamed(str(original.relative_to(EXAMPLE)))
        assert copy.read_text() == renamed(original.read_text())
    assert len([path for path in folder.rglob("*") if path.is_file()]) == len(originals)


@pytest.mark.parametrize("name", ["Lab", "lab_networks", "lab-", "lab--nets", "1lab", "x" * 41, "../lab", ""])
def test_a_name_that_no_package_can_have_is_refused(name: str, new: New, tmp_path: Path) -> None:
    status, said = new(name)
    assert status == 2
    assert "expected lower-case letters, digits and single hyphens" in " ".join(said.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["json", "class"])
def test_a_name_that_is_taken_is_refused(name: str, new: New) -> None:
    status, said = new(name)
    assert status == 1
    assert f"{name} is a word of Python, or an installed package: choose another name" in said


def test_a_folder_that_exists_is_left_as_it_is(new: New, tmp_path: Path) -> None:
    (tmp_path / "lab-networks").mkdir()
    status, said = new("lab-networks")
    assert status == 1
    assert "lab-networks exists already" in said
    assert list((tmp_path / "lab-networks").iterdir()) == []
