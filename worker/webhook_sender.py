"""How is a message sent to a webhook? One POST to a checked address, ended after ten seconds.

Knows HTTP as a client. Connects to exactly the address that was checked, so that a name cannot resolve to another one
in between. Follows no redirect, ignores proxies of the environment, and reads no more of an answer than it keeps. No
session is open meanwhile.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import cache

import httpcore2

from hsu_jobs import database, doorbell, row_failures
from hsu_jobs.settings import Settings
from hsu_jobs.webhooks import addresses, deliveries, messages
from hsu_jobs.webhooks.addresses import Refused, Unresolved
from hsu_jobs.webhooks.deliveries import Answer, Batch, Message

TO_RESOLVE = timedelta(seconds=5)
TO_CONNECT = timedelta(seconds=5)
IN_ALL = timedelta(seconds=10)
"""From the look-up of the name to the last byte that is read."""
MOST_READ = 1024
"""Bytes kept of an answer."""
LONGEST_BATCH = 10.0
"""Seconds after which no further message is sent: other webhooks wait for the thread."""

_BROKEN = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException)
_log = logging.getLogger(__name__)


def ring_for_all() -> None:
    """Send a doorbell message for every webhook that has messages to send."""
    with database.transaction() as session:
        webhooks = deliveries.due(session)
    for webhook_id in webhooks:
        doorbell.ring_for_webhook(webhook_id)


def deliver(batch: Batch, settings: Settings) -> None:
    """Send a batch, then end the claim.

    If a result could not be stored, its message would be sent again at once: then the claim stays until its lease ends.
    """
    if _send_all(batch, settings):
        with database.transaction() as session:
            deliveries.finish(session, batch)


def _send_all(batch: Batch, settings: Settings) -> bool:
    """Send one message after the other; returns whether every result could be stored."""
    began, all_written = time.monotonic(), True
    for message in batch.messages:
        answer = _sign_and_post(batch, message, settings)
        if answer.error is not None:
            _log.info("webhook %d did not take %s: %s", batch.webhook_id, message.id, answer.error)
        goes_on = is_written = False
        with row_failures.alone("webhook deliveries", f"delivery {message.delivery_id}"):
            with database.transaction() as session:
                goes_on = deliveries.settle(session, batch, message, answer, settings)
            is_written = True
        all_written &= is_written
        if (is_written and not goes_on) or time.monotonic() - began > LONGEST_BATCH:
            break
    return all_written


def _sign_and_post(batch: Batch, message: Message, settings: Settings) -> Answer:
    try:
        signed = messages.headers(batch.secret, message.id, int(time.time()), message.body)
    except ValueError as error:  # no base64: it counts as a failure, so that the webhook rests and is disabled at last
        return Answer(None, f"it cannot be signed ({error}): rotate the webhook's secret")
    return post(batch.url, signed, message.body, allow=settings.webhook_allow)


def post(
    url: str, headers: dict[str, str], body: bytes, *, allow: Collection[str], in_all: timedelta = IN_ALL
) -> Answer:
    """Send it; returns the result, also after any error."""
    try:
        endpoint = addresses.parse(url)
        roads = _Checked(allow, deadline=time.monotonic() + in_all.total_seconds())
        with (
            httpcore2.ConnectionPool(ssl_context=_trust(), network_backend=roads) as pool,
            pool.stream(
                "POST",
                httpcore2.URL(scheme=endpoint.scheme, host=endpoint.host, port=endpoint.port, target=endpoint.target),
                headers=[("host", endpoint.authority), ("connection", "close"), *headers.items()],
                content=body,
                extensions={"timeout": {"connect": TO_CONNECT.total_seconds(), "read": in_all.total_seconds()}},
            ) as response,
        ):
            beginning = _beginning(response.iter_stream())
            return Answer(response.status, _wrong(response.status), beginning)
    except (Refused, Unresolved) as error:
        return Answer(None, str(error))
    except _BROKEN as error:
        return Answer(None, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    except Exception as error:  # it counts as a failure, or it would be sent again for ever
        _log.exception("a message could not be sent")
        return Answer(None, f"it could not be sent: {error}")


@cache
def _trust() -> ssl.SSLContext:
    """The certificate authorities that this machine trusts."""
    return httpcore2.default_ssl_context()


def _wrong(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"it answered {status}; redirects are not followed: give the webhook the new address"
    return f"it answered {status}"


def _beginning(body: Iterable[bytes]) -> str:
    """The kept start of an answer; it is kept even if the answer breaks off."""
    read = b""
    with suppress(*_BROKEN):
        for part in body:
            read += part
            if len(read) >= MOST_READ:
                break
    return read[:MOST_READ].decode(errors="replace").replace("\0", "\ufffd")


class _Checked(httpcore2.NetworkBackend):
    """Connects to checked addresses only, and ends every operation at its deadline."""

    def __init__(self, allow: Collection[str], *, deadline: float) -> None:
        self._allow = allow
        self._deadline = deadline
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection to the first of the host's addresses that answers."""
        found = addresses.reachable(host, port, allow=self._allow, patience=TO_RESOLVE)
        wrong: Exception = httpcore2.ConnectTimeout()
        for address in found:
            try:
                left = _left(self._deadline, timeout, httpcore2.ConnectTimeout)
                stream = self._inner.connect_tcp(str(address), port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                wrong = error
            else:
                return _Hurried(stream, self._deadline)
        raise wrong


class _Hurried(httpcore2.NetworkStream):
    """A stream with a deadline: a receiver cannot keep it open with a byte now and then."""

    def __init__(self, inner: httpcore2.NetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._deadline, timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._deadline, timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = _left(self._deadline, timeout, httpcore2.ConnectTimeout)
        return _Hurried(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


def _left(deadline: float, timeout: float | None, late: Callable[[], Exception]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise late()
    return left if timeout is None else min(left, timeout)
