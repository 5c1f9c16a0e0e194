"""Which addresses may we call because a user requests it? Those of the public internet, and those that are allowed.

Knows URLs, names and networks. A name is resolved once, and `worker.webhook_sender` connects to that very address, so
that the name cannot get another one in between. Addresses that a machine or a lab reaches by itself (loopback, private
and link-local networks, a cloud's metadata) are closed unless `HSU_WEBHOOK_ALLOW` opens them.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Collection
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

LONGEST_URL = 2000
PORTS = {"http": 80, "https": 443}
FIRST_FREE_PORT = 1024
"""Below it only the ports of HTTP are open: not those of mail, shells and the like."""

_CLOSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; parts of it count as global
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)
_PUBLIC = ipaddress.ip_network("2000::/3")
"""Outside of it: loopback, link-local, unique local, multicast, IPv4 in IPv6 (mapped, translated by NAT64)."""


class Refused(Exception):
    """The address may not be called; the text says why."""


class Unresolved(Exception):
    """The name cannot be resolved, at least now."""


class Endpoint(NamedTuple):
    """Where a URL leads."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def authority(self) -> str:
        """The Host header, without a default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Endpoint:
    """Where a URL leads. Raises `Refused` if we may not call it."""
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or any(sign in url for sign in ' \\"<>'):
        raise Refused(f"expected a URL of at most {LONGEST_URL} printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Refused(f"it is not a URL: {error}") from error
    if parts.scheme not in PORTS:
        raise Refused(f"expected http:// or https://, found {parts.scheme or 'no scheme'}")
    if not host:
        raise Refused("it names no host")
    if "@" in parts.netloc:
        raise Refused("it holds a user name or a password; messages are signed instead")
    if parts.fragment:
        raise Refused("it has a fragment (#), which is never sent")
    port = PORTS[parts.scheme] if port is None else port
    if port not in PORTS.values() and port < FIRST_FREE_PORT:
        raise Refused(f"port {port} is not one of HTTP: expected 80, 443, or {FIRST_FREE_PORT} and above")
    query = f"?{parts.query}" if parts.query else ""
    return Endpoint(parts.scheme, host, port, f"{parts.path or '/'}{query}")


def reachable(host: str, port: int, *, allow: Collection[str], patience: timedelta) -> list[Address]:
    """The addresses of a host, in the order in which to try them, every one of them checked.

    Raises `Refused` if any is closed, `Unresolved` if there is none within `patience`.
    """
    found = resolve(host, port, patience=patience)
    if host.lower().rstrip(".") in {name.lower() for name in allow}:
        return found
    for address in found:
        if not is_open(address, allow):
            which = "" if str(address) == host else f" is {address}, which"
            raise Refused(f"{host}{which} is not a public address; an operator may allow it (HSU_WEBHOOK_ALLOW)")
    return found


def is_open(address: Address, allow: Collection[str] = ()) -> bool:
    """Whether an address may be called: a public one of a single machine, or in an allowed network."""
    if any(address in network for network in _networks(allow) if network.version == address.version):
        return True
    if isinstance(address, IPv6Address) and address not in _PUBLIC:
        return False
    if any(address in network for network in _CLOSED if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def resolve(host: str, port: int, *, patience: timedelta) -> list[Address]:
    """The addresses of a name, or of one of the many spellings of an address. Raises `Unresolved`."""
    answer: list[Address] = []
    wrong: list[Exception] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.extend(dict.fromkeys(ipaddress.ip_address(sockaddr[0]) for *_, sockaddr in found))
        except (OSError, ValueError) as error:
            wrong.append(error)

    asking = threading.Thread(target=ask, name="resolve", daemon=True)  # the system's resolver has no deadline
    asking.start()
    asking.join(patience.total_seconds())
    if asking.is_alive():
        raise Unresolved(f"the name {host!r} was not resolved within {patience.total_seconds():g} s")
    if not answer:
        raise Unresolved(f"the name {host!r} cannot be resolved: {wrong[0] if wrong else 'it has no address'}")
    return answer


def _networks(allow: Collection[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The allowed entries that are networks or addresses; the others are names."""
    found = []
    for each in allow:
        try:
            found.append(ipaddress.ip_network(each, strict=False))
        except ValueError:
            continue
    return found
