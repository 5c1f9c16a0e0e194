"""Messages brought to real receivers on loopback, over real sockets."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trustme
from receiving import Receiver, receiver, said
from sending import send
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hsu_client.webhooks import verify
from hsu_jobs import database
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Delivery, DeliveryState, User, Webhook
from hsu_jobs.webhooks import addresses, deliveries, subscriptions
from hsu_jobs.webhooks.deliveries import Batch, Message
from worker import webhook_sender

LOOPBACK = ("127.0.0.0/8", "::1")
BODY = b'{"id": "msg_1"}'


def post(url: str, *allow: str, in_all: float = 10.0) -> deliveries.Answer:
    return webhook_sender.post(
        url, {"webhook-id": "msg_1"}, BODY, allow=allow or LOOPBACK, in_all=timedelta(seconds=in_all)
    )


@pytest.fixture
def opened(fast: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that allow loopback, with short rests."""
    return fast.model_copy(update={"webhook_allow": LOOPBACK, "webhook_retry": timedelta(milliseconds=50)})


Hook = Callable[..., int]


@pytest.fixture
def hook(opened: Settings) -> Hook:
    """Makes a webhook of ada's with this many pings on their way."""

    def made(url: str, pings: int = 1) -> int:
        with database.transaction() as session:
            owner = User(name="ada")
            session.add(owner)
            session.flush()
            made = subscriptions.create(session, owner, url=url, events=["submitted"], settings=opened)
            for _ in range(pings):
                subscriptions.ping(session, made)
            return made.id

    return made


def sent(webhook_id: int) -> list[Delivery]:
    with database.transaction() as session:
        chosen = select(Delivery).where(Delivery.webhook_id == webhook_id).order_by(Delivery.id)
        return list(session.execute(chosen).scalars())


def secret(webhook_id: int) -> str:
    with database.transaction() as session:
        return session.get_one(Webhook, webhook_id).secret


def test_what_is_due_is_brought_in_order_and_signed(hook: Hook, opened: Settings) -> None:
    with receiver() as there:
        mine = hook(f"{there.url}/hooks?lab=1", pings=3)
        send(mine, opened)
    assert [each.state for each in sent(mine)] == [DeliveryState.DELIVERED] * 3
    assert [got.told["id"] for got in there.received] == [f"msg_{each.message.hex}" for each in sent(mine)]
    for got in there.received:
        assert verify(got.body, got.headers, secret(mine)) == got.told
        assert got.path == "/hooks?lab=1"
        assert got.headers["host"] == there.url.removeprefix("http://")
        assert got.headers["content-type"] == "application/json"
        assert got.headers["user-agent"].startswith("HSU-Webhooks")


def test_a_message_that_was_refused_twice_is_taken_the_third_time_with_the_same_id(
    hook: Hook, opened: Settings
) -> None:
    with receiver(500, 503) as there:
        mine = hook(there.url)
        while sent(mine)[0].state is DeliveryState.PENDING:
            send(mine, opened)
            time.sleep(0.02)
    (delivery,) = sent(mine)
    assert (delivery.state, delivery.attempts, delivery.status) == (DeliveryState.DELIVERED, 3, 204)
    assert len({got.headers["webhook-id"] for got in there.received}) == 1
    assert len(there.received) == 3
    gaps = [after.at - before.at for before, after in zip(there.received, there.received[1:], strict=False)]
    assert gaps[0] >= 0.04
    assert gaps[1] >= 0.08


def test_doubled_doorbells_do_not_double_deliveries(hook: Hook, opened: Settings) -> None:
    def slowly(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.05)
        said(204)(handler)

    with receiver(*[slowly] * 10) as there:
        mine = hook(there.url, pings=10)
        rings = [threading.Thread(target=send, args=(mine, opened)) for _ in range(6)]
        for ring in rings:
            ring.start()
        for ring in rings:
            ring.join()
    assert [got.told["id"] for got in there.received] == [f"msg_{each.message.hex}" for each in sent(mine)]
    assert {each.attempts for each in sent(mine)} == {1}


def test_a_webhook_that_is_removed_while_its_message_is_on_the_way_hurts_nobody(hook: Hook, opened: Settings) -> None:
    def remove(handler: BaseHTTPRequestHandler) -> None:
        with database.transaction() as session:
            session.delete(session.get_one(Webhook, mine))
        said(204)(handler)

    with receiver(remove) as there:
        mine = hook(there.url, pings=3)
        send(mine, opened)
    assert len(there.received) == 1, "nothing more is sent to it"
    assert sent(mine) == []


def test_a_message_whose_end_cannot_be_written_keeps_no_other_from_being_sent_and_is_not_sent_again_at_once(
    hook: Hook, opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = webhook_sender.deliveries.settle

    def broken(session: Session, turn: Batch, message: Message, *rest: Any) -> bool:
        if message.delivery_id == first.id:
            raise ValueError("it cannot be written")
        return settle(session, turn, message, *rest)

    with receiver() as there:
        mine = hook(there.url, pings=3)
        first = sent(mine)[0]
        monkeypatch.setattr(webhook_sender.deliveries, "settle", broken)
        for _ in range(2):
            send(mine, opened)
    pending, delivered = DeliveryState.PENDING, DeliveryState.DELIVERED
    assert [each.state for each in sent(mine)] == [pending, delivered, delivered]
    assert len(there.received) == 3


def test_gone_ends_a_webhook(hook: Hook, opened: Settings) -> None:
    with receiver(410) as there:
        mine = hook(there.url, pings=2)
        send(mine, opened)
        send(mine, opened)
    assert len(there.received) == 1
    assert [each.state.value for each in sent(mine)] == ["failed", "pending"]


def test_what_is_more_than_a_batch_is_due_at_once(hook: Hook, opened: Settings) -> None:
    with receiver() as there:
        mine = hook(there.url, pings=25)
        send(mine, opened)
        assert len(there.received) == 20
        send(mine, opened)
    assert len(there.received) == 25


def test_a_redirect_is_not_followed_wherever_it_leads() -> None:
    with receiver() as secret, receiver(said(302, headers=[("Location", secret.url)])) as there:
        answer = post(there.url)
    assert (answer.status, secret.received) == (302, [])
    assert answer.error is not None
    assert "redirects are not followed" in answer.error


@pytest.mark.parametrize("address", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::ffff:127.0.0.1]"])
def test_a_closed_address_is_not_called_at_delivery_either(address: str) -> None:
    with receiver() as there:
        answer = webhook_sender.post(there.url.replace("127.0.0.1", address), {}, BODY, allow=())
    assert (answer.status, there.received) == (None, [])
    assert answer.error is not None
    assert "not a public address" in answer.error


def test_the_address_that_is_connected_to_is_the_one_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a public address when it is looked at and elsewhere afterwards gains nothing."""
    answers = iter([[ip_address("203.0.114.1")], [ip_address("127.0.0.1")]])
    asked, connected = [], []

    def rebinding(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return next(answers)

    real = webhook_sender.httpcore2.SyncBackend.connect_tcp

    def watched(self: Any, host: str, *rest: Any) -> Any:
        connected.append(host)
        return real(self, "127.0.0.1", *rest)

    monkeypatch.setattr(addresses, "resolve", rebinding)
    monkeypatch.setattr(webhook_sender.httpcore2.SyncBackend, "connect_tcp", watched)
    with receiver() as there:
        port = there.url.rpartition(":")[2]
        answer = webhook_sender.post(f"http://rebinding.example:{port}/", {}, BODY, allow=())
    assert (answer.status, asked, connected) == (204, ["rebinding.example"], ["203.0.114.1"])
    assert there.received[0].headers["host"] == f"rebinding.example:{port}"


def test_the_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as there:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert post(there.url).status == 204
    assert (len(proxy.received), len(there.received)) == (0, 1)


def test_only_the_beginning_of_an_answer_is_read() -> None:
    sizes = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(500)
        handler.end_headers()
        try:
            while len(sizes) < 10_000:
                sizes.append(handler.wfile.write(b"\0" + b"x" * 65535))
        except OSError:
            return

    with receiver(endless) as there:
        answer = post(there.url)
    assert answer.response == "\ufffd" + "x" * (webhook_sender.MOST_READ - 1)
    assert sum(filter(None, sizes)) < 64 * 2**20


def test_who_drips_an_answer_is_hung_up_on() -> None:
    is_over = threading.Event()

    def dripping(handler: BaseHTTPRequestHandler) -> None:
        try:
            for sign in itertools.chain(b"HTTP/1.1 204 No Content", itertools.cycle(b" and so on")):
                handler.wfile.write(bytes([sign]))
                time.sleep(0.1)
        except OSError:
            is_over.set()

    with receiver(dripping) as there:
        answer = post(there.url, in_all=0.5)
        assert is_over.wait(60)
    assert (answer.status, answer.error) == (None, "ReadTimeout: timed out")


def test_an_answer_that_drips_after_its_first_words_counts() -> None:
    def dripping(handler: BaseHTTPRequestHandler) -> None:
        said(200, headers=[("Content-Length", "1000")])(handler)
        try:
            for _ in range(1000):
                handler.wfile.write(b"x")
                time.sleep(0.1)
        except OSError:
            return

    with receiver(dripping) as there:
        answer = post(there.url, in_all=3)
    assert (answer.status, answer.error) == (200, None)
    assert answer.response
    assert len(answer.response) < 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"", "RemoteProtocolError"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "RemoteProtocolError"),
    ],
)
def test_what_is_no_http_is_said(words: bytes, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            line, _ = server.accept()
            with line, suppress(ConnectionError):  # who has read enough of a long head closes
                line.recv(65536)
                line.sendall(words)
                line.shutdown(socket.SHUT_WR)
                while line.recv(65536):  # closed with unread bytes, the line would be reset before the words are read
                    pass

        speaking = threading.Thread(target=speak)
        speaking.start()
        answer = post(f"http://127.0.0.1:{server.getsockname()[1]}/")
        speaking.join()
    assert answer.status is None
    assert answer.error is not None
    assert said in answer.error


def test_what_nobody_foresaw_is_a_failure_as_any_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(addresses, "resolve", broken)
    assert post("http://hook.example/") == (None, "it could not be sent: on purpose", None)
    assert "a message could not be sent" in caplog.text


def test_nobody_at_the_address_is_said() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        answer = post(f"http://127.0.0.1:{probe.getsockname()[1]}/")
    assert answer.error is not None
    assert answer.error.startswith("ConnectError")


def test_one_that_was_allowed_once_and_is_no_longer_a_url_is_said() -> None:
    assert post("ftp://127.0.0.1/") == (None, "expected http:// or https://, found ftp", None)


@contextmanager
def _secured(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver with a certificate for this name, which we trust."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    webhook_sender._trust.cache_clear()
    with receiver(trusted_by=context) as there:
        yield there
    webhook_sender._trust.cache_clear()


def test_a_certificate_has_to_be_that_of_the_name_though_an_address_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _secured("localhost", tmp_path, monkeypatch) as there:
        named = there.url.replace("127.0.0.1", "localhost")
        assert post(named, "localhost").status == 204
        wrong = post(there.url)
    assert wrong.error is not None
    assert "CERTIFICATE_VERIFY_FAILED" in wrong.error
    assert len(there.received) == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _secured("localhost", tmp_path, monkeypatch) as there:
        monkeypatch.delenv("SSL_CERT_FILE")
        webhook_sender._trust.cache_clear()
        answer = post(there.url.replace("127.0.0.1", "localhost"), "localhost")
    assert answer.error is not None
    assert "CERTIFICATE_VERIFY_FAILED" in answer.error


def test_a_secret_that_cannot_sign_is_a_failure_as_any_other(hook: Hook, opened: Settings) -> None:
    mine = hook("http://127.0.0.1:9999/")
    with database.transaction() as session:
        session.execute(update(Webhook).values(secret="whsec_not base64"))
    send(mine, opened)
    with database.transaction() as session:
        webhook = session.get_one(Webhook, mine)
        (delivery,) = session.execute(select(Delivery)).scalars()
    assert (webhook.failures, webhook.courier) == (1, None)
    assert "rotate the webhook's secret" in (delivery.error or "")
