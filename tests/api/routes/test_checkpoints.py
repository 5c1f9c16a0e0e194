"""The file of a checkpoint over HTTP: whole, in parts, its weights alone; and files that are gone or damaged."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient
from safetensors.torch import load
from samples import DIGITS
from sqlalchemy import text, update
from stored_checkpoints import STEPS, stored

from api.streams.large_responses import LargeResponses
from hsu_core.outcomes import Saved
from hsu_jobs import database, settings
from hsu_jobs.artifacts import checkpoint_files
from hsu_jobs.artifacts.storage import MARKER
from hsu_jobs.attempts import Claim
from hsu_jobs.tables import CheckpointRow

LAST = STEPS[-1]


class Kept(NamedTuple):
    """A job of ada's with real checkpoints."""

    job: int
    saved: dict[int, Saved]
    contents: dict[int, bytes]
    top: Path
    """Where the storage's files are."""

    def url(self, step: int = LAST) -> str:
        return f"/v1/jobs/{self.job}/checkpoints/{step}"

    def file(self, step: int = LAST) -> Path:
        (found,) = self.top.glob(f"jobs/{self.job}/attempt-*/{self.saved[step].path.name}")
        return found


@pytest.fixture(params=["folder", "store"])
def kept(
    request: pytest.FixtureRequest,
    ada: TestClient,
    submit: Callable[..., dict[str, Any]],
    start: Callable[[], Claim],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Kept:
    own, store = tmp_path / "own", tmp_path / "store"
    monkeypatch.setenv("HSU_ARTIFACTS_DIR", str(own))
    if request.param == "store":
        monkeypatch.setenv("HSU_ARTIFACTS_URL", f"file://{store}")
    settings.settings.cache_clear()
    job = submit(ada)["id"]
    if request.param == "store":  # `file://` makes no folders
        (store / "jobs" / str(job) / "attempt-1").mkdir(parents=True)
    claim = start()
    with database.transaction() as session:
        saved = {state.step: state for state in stored(session, claim, settings.settings())}
    top = store if request.param == "store" else own
    found = Kept(job, saved, {}, top)
    found.contents.update({step: found.file(step).read_bytes() for step in STEPS})
    if request.param == "store":
        shutil.rmtree(own)  # the API is another machine
    return found


def test_a_file_comes_as_it_was_saved_with_its_hash_and_a_name(ada: TestClient, kept: Kept) -> None:
    for step in STEPS:
        answer = ada.get(kept.url(step))
        assert answer.status_code == 200, answer.text
        assert answer.content == kept.contents[step]
        assert answer.headers["etag"] == f'"{kept.saved[step].sha256}"'
        assert answer.headers["content-length"] == str(kept.saved[step].bytes)
        assert answer.headers["content-type"] == "application/octet-stream"
        name = f'attachment; filename="job-{kept.job}-step-{step}.safetensors"'
        assert answer.headers["content-disposition"] == name
        assert (answer.headers["cache-control"], answer.headers["vary"]) == ("private, no-cache", "Authorization")


def test_the_weights_alone_are_a_file_of_their_own(ada: TestClient, kept: Kept) -> None:
    answer = ada.get(kept.url(), params={"part": "weights"})
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert int(answer.headers["content-length"]) == len(answer.content) < len(kept.contents[LAST]) / 2
    assert answer.headers["content-disposition"].endswith(f'step-{LAST}-weights.safetensors"')
    whole, alone = load(kept.contents[LAST]), load(answer.content)
    assert alone.keys() == {name for name in whole if name.startswith("model/")}
    assert all((alone[name] == whole[name]).all() for name in alone)
    length = int.from_bytes(answer.content[:8], "little")
    assert length % 8 == 0
    assert ada.get(kept.url(), params={"part": "head"}).json()["errors"][0]["pointer"] == "#query/part"


@pytest.mark.parametrize("part", ["all", "weights"])
def test_a_head_has_the_headers_of_the_file_and_no_body(ada: TestClient, kept: Kept, part: str) -> None:
    answer, head = (ask(kept.url(), params={"part": part}) for ask in (ada.get, ada.head))
    assert (head.status_code, head.content) == (200, b"")
    names = ("etag", "content-length", "content-disposition", "accept-ranges", "content-type", "vary")
    assert [head.headers[name] for name in names] == [answer.headers[name] for name in names]
    assert ada.head(kept.url(5)).status_code == 404


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-100", slice(-100, None)),
        ("bytes=7-7", slice(7, 8)),
        ("bytes=50-99999999", slice(50, None)),
        ("bytes=-99999999", slice(0, None)),
        ("Bytes=3-4", slice(3, 5)),
    ],
)
@pytest.mark.parametrize("of", ["all", "weights"])
def test_a_part_is_those_bytes(
    ada: TestClient, kept: Kept, asked: str, part: slice, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_files, "PIECE", 64)
    whole = ada.get(kept.url(), params={"part": of})
    answer = ada.get(kept.url(), params={"part": of}, headers={"Range": asked, "If-Range": whole.headers["etag"]})
    begin, end, _ = part.indices(size := len(whole.content))
    assert answer.status_code == 206
    assert answer.content == whole.content[begin:end]
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
    assert answer.headers["content-length"] == str(end - begin)
    assert answer.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=0-1", "bytes=-", "bytes=9-3", "bytes=a-b", "bytes", ""])
def test_what_is_no_single_range_gets_the_whole_file(ada: TestClient, kept: Kept, asked: str) -> None:
    answer = ada.get(kept.url(), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, kept.contents[LAST])


def test_a_part_of_another_file_gets_the_whole_file(ada: TestClient, kept: Kept) -> None:
    for other in (f'"{kept.saved[2].sha256}"', f'W/"{kept.saved[LAST].sha256}"', "Sat, 01 Jan 2022 00:00:00 GMT"):
        answer = ada.get(kept.url(), headers={"Range": "bytes=5-", "If-Range": other})
        assert (answer.status_code, answer.content) == (200, kept.contents[LAST])


@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes=-0", "bytes=99999999-"])
def test_bytes_beyond_the_end_are_refused_with_the_size(ada: TestClient, kept: Kept, asked: str) -> None:
    size = kept.saved[LAST].bytes
    answer = ada.get(kept.url(), headers={"Range": asked.format(size=size)})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{size}"
    assert f"the file has {size} bytes" in answer.json()["detail"]


def test_a_client_that_has_the_file_gets_a_304(ada: TestClient, kept: Kept) -> None:
    tag = ada.head(kept.url()).headers["etag"]
    for ask in (ada.get, ada.head):
        answer = ask(kept.url(), headers={"If-None-Match": tag, "Range": "bytes=0-1"})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)


def test_a_step_without_a_checkpoint_says_which_there_are(ada: TestClient, kept: Kept) -> None:
    answer = ada.get(kept.url(5))
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith("no checkpoint of step 5; there are those of steps 2, 4, 6")
    assert ada.get(kept.url(-1)).json()["errors"][0]["pointer"] == "#path/step"


@pytest.mark.parametrize("why", ["superseded", "damaged", "missing"])
def test_a_checkpoint_that_was_given_up_says_why(ada: TestClient, kept: Kept, why: str) -> None:
    with database.transaction() as session:
        mine = (CheckpointRow.job_id == kept.job) & (CheckpointRow.step == 2)
        session.execute(update(CheckpointRow).where(mine).values(removed_at="now()", removed_because=why))
    answer = ada.get(kept.url(2))
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")
    assert ("its file is missing" if why == "missing" else f"removed ({why})") in answer.json()["detail"]


def test_a_file_that_is_missing_is_gone(ada: TestClient, kept: Kept) -> None:
    kept.file().unlink()
    for part in ("all", "weights"):
        answer = ada.get(kept.url(), params={"part": part})
        assert (answer.status_code, answer.json()["code"]) == (410, "gone")
        assert (
            answer.json()["detail"]
            == f"job {kept.job}'s checkpoint of step {LAST} is lost: its file is not in the storage"
        )


@pytest.mark.parametrize("part", ["all", "weights"])
@pytest.mark.parametrize("harm", ["a bit", "the end", "all"])
def test_a_damaged_file_is_refused_and_never_sent(ada: TestClient, kept: Kept, harm: str, part: str) -> None:
    assert ada.get(kept.url(), params={"part": part}).status_code == 200  # and is remembered as good
    content = kept.contents[LAST]
    harmed = {"a bit": bytes([*content[:-1], content[-1] ^ 1]), "the end": content[:-7], "all": b""}[harm]
    kept.file().write_bytes(harmed)
    for headers in ({}, {"Range": "bytes=0-9"}):
        answer = ada.get(kept.url(), params={"part": part}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (410, "gone")
        assert (
            f"is damaged: expected {len(content)} bytes of sha256 {kept.saved[LAST].sha256}" in answer.json()["detail"]
        )
    kept.file().write_bytes(content)
    assert ada.get(kept.url(), params={"part": part}).status_code == 200


def test_a_storage_that_is_away_is_an_outage_and_no_loss(ada: TestClient, kept: Kept) -> None:
    (kept.top / MARKER).unlink()
    answer = ada.get(kept.url())
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "5")
    assert "storage" in answer.json()["detail"]
    assert str(kept.top) not in answer.text


def test_downloads_are_counted_as_large_answers(ada: TestClient, kept: Kept) -> None:
    answers: LargeResponses = ada.app.state.large_responses  # type: ignore[attr-defined]
    with database.transaction() as session:
        user = session.execute(text("SELECT owner_id FROM jobs")).scalar_one()
    answers._open[user] = 8
    for ask in (ada.get, ada.head):
        assert ask(kept.url()).status_code == 429
    del answers._open[user]
    assert ada.get(kept.url()).status_code == 200
    assert not answers._open


def test_what_is_already_known_is_not_read_again(ada: TestClient, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    ada.get(kept.url())
    monkeypatch.setattr(checkpoint_files, "_checked", None)
    assert ada.get(kept.url(), headers={"Range": "bytes=1-2"}).content == kept.contents[LAST][1:3]


def test_another_jobs_owner_sees_no_file(kept: Kept, as_user: Callable[[str], TestClient]) -> None:
    answer = as_user("bob").get(kept.url())
    assert (answer.status_code, answer.json()["detail"]) == (404, f"there is no job {kept.job}, or it is not yours")
    assert DIGITS["name"] not in answer.text
