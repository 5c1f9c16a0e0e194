"""Under which path is the service reached? `HSU_ROOT_PATH`, or the `X-Forwarded-Prefix` of a trusted proxy.

Knows ASGI's scope. Inside the app a path is always the prefix and then the route's path, as in ASGI, whether or not the
proxy removed the prefix. Each `Location` that the app sends includes the prefix.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hsu_jobs.settings import PATH_PREFIX

_LONGEST = 200
"""Characters of a prefix: enough for several proxies, each with one of its own."""


class PathPrefix:
    """ASGI middleware: sets the app's `root_path`, and adds it to each `Location`."""

    def __init__(self, app: ASGIApp, *, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path
        self.trusted = _Trusted(os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        prefix = self._prefix(scope) if scope["type"] == "http" else ""
        if not prefix:
            await self.app(scope, receive, send)
            return
        _enter(scope, prefix)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                if (location := headers.get("location", "")).startswith("/"):
                    headers["location"] = prefix + location
            await send(message)

        await self.app(scope, receive, answer)

    def _prefix(self, scope: Scope) -> str:
        """The outermost first: what trusted proxies send, else the setting, else the server's `root_path`."""
        given = Headers(scope=scope).getlist("x-forwarded-prefix")
        if given and self.trusted.was_asked_by(scope):
            parts = [part.strip().rstrip("/") for each in given for part in each.split(",")]
            prefix = "".join(parts)
            return prefix if len(prefix) <= _LONGEST and re.fullmatch(PATH_PREFIX, prefix) else ""
        return self.root_path or str(scope.get("root_path", "")).rstrip("/")


def route_path(scope: Scope) -> str:
    """The path of a request without the prefix: routes are compared with it."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path


def _enter(scope: Scope, prefix: str) -> None:
    """Set path and prefix as ASGI defines them, whether or not the proxy removed the prefix."""
    scope["root_path"] = prefix
    if scope["path"] == prefix or scope["path"].startswith(f"{prefix}/"):
        return
    scope["path"] = prefix + scope["path"]
    scope["raw_path"] = prefix.encode() + (scope.get("raw_path") or b"")


class _Trusted:
    """The proxies that uvicorn trusts too: addresses, networks, or `*`; separated by commas."""

    def __init__(self, names: str) -> None:
        self._names = frozenset(name.strip() for name in names.split(","))
        self._networks = [network for name in self._names if (network := _network(name)) is not None]

    def was_asked_by(self, scope: Scope) -> bool:
        """Whether a trusted proxy passed this request on.

        If the proxy also named the client, uvicorn has replaced the proxy's address by the client's, with the port 0,
        which no connection has.
        """
        if "*" in self._names:
            return True
        host, port = scope.get("client") or ("", -1)
        return port == 0 or host in self._names or self._is_near(host)

    def _is_near(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _network(name: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(name)
    except ValueError:
        return None
