"""HTTP/1.0 knows no chunks: whole answers with their length, over real sockets from a real server."""

from __future__ import annotations

import hashlib
import io
import json
import socket
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from urllib.parse import urlparse

import httpx2
import pyarrow as pa
import pyarrow.parquet
import pytest
from samples import ROOM
from serving import AsUser, Serving, cancel, serving, submit
from stored_checkpoints import stored

from hsu_core.outcomes import Series
from hsu_jobs import attempts, curves, database
from hsu_jobs.artifacts import installation
from hsu_jobs.curves import Point
from hsu_jobs.settings import Settings


@pytest.fixture
def measured(job: int) -> int:
    """A job with 5,000 losses."""
    points = [Point(step, 1e9 + step, {Series(None, "loss"): step / 7}) for step in range(5000)]
    with database.transaction() as session:
        curves.write(session, job, points)
    return job


def old(server: Serving, ada: httpx2.Client, path: str, version: str = "HTTP/1.0") -> tuple[int, Message, bytes]:
    """Ask as a client of old does: everything until the connection ends."""
    address = urlparse(server.url)
    asked = f"GET {path} {version}\r\nHost: x\r\nAuthorization: {ada.headers['authorization']}\r\n\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=60) as line:
        line.sendall(asked.encode())
        whole = b"".join(iter(lambda: line.recv(1 << 16), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    status, _, fields = head.partition(b"\r\n")
    headers = BytesParser().parsebytes(fields, headersonly=True)
    assert "transfer-encoding" not in headers
    assert int(headers["content-length"]) == len(body)
    return int(status.split()[1]), headers, body


def test_a_download_is_the_file_and_nothing_else(server: Serving, ada: httpx2.Client, measured: int) -> None:
    for form in ("parquet", "csv", "arrow"):
        path = f"/v1/jobs/{measured}/curves?format={form}"
        status, headers, body = old(server, ada, path)
        assert (status, headers["content-disposition"]) == (200, f'attachment; filename="curves.{form}"')
        assert body == ada.get(path).content
    _, _, file = old(server, ada, f"/v1/curves?job={measured}&format=parquet")
    assert pa.parquet.read_table(io.BytesIO(file)).num_rows == 5000


def test_a_checkpoint_comes_whole_or_in_part(
    as_user: AsUser, urls: tuple[str, str], tmp_path: Path, ada: httpx2.Client
) -> None:
    job = submit(priority=100)
    mine = Settings(artifacts_dir=tmp_path)
    with database.transaction() as session:
        claim = attempts.claim(session, ROOM, mine)
        assert claim is not None
        assert claim.job_id == job
        installation.adopt(session, mine)  # other tests may have recorded checkpoints, which lie nowhere
        stored(session, claim, mine)
    with serving(*urls, HSU_ARTIFACTS_DIR=str(tmp_path)) as server, as_user(server, "ada") as new:
        path = f"/v1/jobs/{job}/checkpoints/6"
        status, headers, body = old(server, ada, path)
        assert (status, headers["etag"]) == (200, f'"{hashlib.sha256(body).hexdigest()}"')
        assert body == new.get(path).content
        rest = f"HTTP/1.0\r\nRange: bytes={len(body) - 9}-"
        status, headers, end = old(server, ada, path, rest)
        assert (status, end) == (206, body[-9:])
        assert headers["content-range"] == f"bytes {len(body) - 9}-{len(body) - 1}/{len(body)}"
    cancel(job)


def test_what_has_a_length_is_as_ever(server: Serving, ada: httpx2.Client, measured: int) -> None:
    for path in (f"/v1/jobs/{measured}/curves", "/v1/jobs", "/openapi.json", "/docs", f"/v1/jobs/{measured + 99}"):
        status, _, body = old(server, ada, path)
        answer = ada.get(path)
        assert status == answer.status_code
        assert status != 200 or body == answer.content


@pytest.mark.parametrize("path", ["events/stream", "curves/stream"])
def test_a_stream_that_goes_on_is_refused_with_what_would_do(
    server: Serving, ada: httpx2.Client, job: int, path: str
) -> None:
    status, headers, body = old(server, ada, f"/v1/jobs/{job}/{path}")
    assert (status, headers["content-type"], headers["upgrade"]) == (426, "application/problem+json", "HTTP/1.1")
    assert headers["x-request-id"]
    told = json.loads(body)
    assert told["code"] == "upgrade_required"
    assert "proxy_http_version 1.1" in told["detail"]


def test_the_server_goes_on_after_what_it_refused(server: Serving, ada: httpx2.Client) -> None:
    ended = submit()
    cancel(ended)
    assert old(server, ada, f"/v1/jobs/{ended}/events/stream")[0] == 426
    assert ada.get(f"/v1/jobs/{ended}/events/stream").status_code == 200
