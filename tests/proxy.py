"""A road to a server that can be slow or cut: a TCP proxy before a unix socket, or before another port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, unquote

from sqlalchemy import make_url


class Road:
    """What passes between a client and a server, in a process or several."""

    def __init__(self, server: str | tuple[str, int]) -> None:
        """`server`: the path of a unix socket, or a host and a port."""
        self.delay = 0.0
        """Seconds that everything a client sends is late: a round trip takes so much longer."""
        self._server = server
        self._is_cut = False
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, name="road", daemon=True).start()

    @property
    def port(self) -> int:
        """Where clients come in, on 127.0.0.1."""
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self) -> None:
        """End every connection and let nobody through."""
        self._is_cut = True
        self._end_all()

    def mend(self) -> None:
        """Let clients through again."""
        self._is_cut = False

    def close(self) -> None:
        """Take the road away."""
        self._listener.close()
        self._end_all()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        if self._is_cut:
            client.close()
            return
        family = socket.AF_UNIX if isinstance(self._server, str) else socket.AF_INET
        server = socket.socket(family)
        try:
            server.connect(self._server)
        except OSError:
            client.close()
            server.close()
            return
        with self._lock:
            self._open += [client, server]
        back = threading.Thread(target=self._carry, args=(server, client, False), daemon=True)
        back.start()
        self._carry(client, server, True)
        back.join()
        client.close()
        server.close()

    def _carry(self, source: socket.socket, target: socket.socket, is_slow: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if is_slow and self.delay:
                    time.sleep(self.delay)
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _end_all(self) -> None:
        with self._lock:
            ended, self._open = self._open, []
        for end in ended:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def road_to_postgres(database_url: str) -> Iterator[tuple[Road, str]]:
    """A road to this database, and the URL that leads over it."""
    url = make_url(database_url)
    folder = url.query.get("host")
    server = f"{folder}/.s.PGSQL.{url.port or 5432}" if folder else (str(url.host), url.port or 5432)
    road = Road(server)
    try:
        over = url.set(host="127.0.0.1", port=road.port).difference_update_query(["host"])
        yield road, over.render_as_string(hide_password=False)
    finally:
        road.close()


@contextmanager
def road_to_redis(redis_url: str) -> Iterator[tuple[Road, str]]:
    """A road to this Redis, and the URL that leads over it."""
    scheme, _, rest = redis_url.partition("://")
    place, _, query = rest.partition("?")
    if scheme == "unix":
        number = parse_qs(query).get("db", ["0"])[0]
        road = Road(unquote(place))
    else:
        address, _, number = place.partition("/")
        host, _, port = address.rpartition("@")[2].partition(":")
        road = Road((host, int(port or 6379)))
    try:
        yield road, f"redis://127.0.0.1:{road.port}/{number or 0}"
    finally:
        road.close()
