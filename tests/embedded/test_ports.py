"""Two services that start at the same time do not choose the same port."""

from __future__ import annotations

import socket

import pytest

from embedded import up
from embedded.errors import CannotStart


def test_a_port_that_another_start_has_chosen_is_not_free() -> None:
    with up._free_port(None) as first, up._free_port(None) as second:
        assert first != second
        with pytest.raises(CannotStart, match=f"port {first} is taken"), up._free_port(first):
            pass
    with up._free_port(first) as again:
        assert again == first


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    with up._free_port(None) as port:
        pass
    with socket.create_server(("127.0.0.1", port)), up._free_port(None) as other:
        assert other != port
