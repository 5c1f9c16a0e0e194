"""What may be called: many spellings of what must not be."""

from __future__ import annotations

import ipaddress
import socket
import threading
from datetime import timedelta
from typing import Any

import pytest

from hsu_jobs.webhooks import addresses
from hsu_jobs.webhooks.addresses import Endpoint, Refused, Unresolved

SOON = timedelta(seconds=5)


def called(url: str, *allow: str) -> list[str]:
    """Whom a call to the URL would connect to."""
    found = addresses.parse(url)
    return [str(each) for each in addresses.reachable(found.host, found.port, allow=allow, patience=SOON)]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.000.000.001",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST",
        "0.0.0.0",
        "0",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.0.9",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:8.8.8.8]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a00:1]",
        "[100::1]",
        "[2001::1]",
        "[2001:db8::1]",
        "[2002:7f00:1::]",
        "[2002:a9fe:a9fe::1]",
        "[3fff::1]",
        "[5f00::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fec0::1]",
        "[ff02::1]",
    ],
)
def test_what_only_we_can_reach_is_refused_however_it_is_spelled(host: str) -> None:
    with pytest.raises((Refused, Unresolved)) as caught:
        called(f"http://{host}/hook")
    assert not isinstance(caught.value, Unresolved) or "%25" in host, caught.value


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://8.8.8.8/", "8.8.8.8"),
        ("https://134744072/", "8.8.8.8"),
        ("http://100.63.255.255/", "100.63.255.255"),
        ("http://172.32.0.1:8080/", "172.32.0.1"),
        ("https://[2606:4700::1111]/", "2606:4700::1111"),
    ],
)
def test_what_anybody_can_reach_is_called(url: str, address: str) -> None:
    assert called(url) == [address]


@pytest.mark.parametrize(
    ("host", "allow"),
    [
        ("127.0.0.1", "127.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("[fd00::7]", "fd00::/8"),
        ("localhost", "localhost"),
        ("LocalHost", "localhost"),
    ],
)
def test_an_operator_may_allow_networks_and_names(host: str, allow: str) -> None:
    assert called(f"http://{host}:9000/", allow, "unrelated.example")


def test_a_name_is_allowed_as_such_and_not_what_it_leads_to_under_another_name() -> None:
    with pytest.raises(Refused):
        called("http://127.0.0.1/", "localhost")
    with pytest.raises(Refused):
        called("http://localhost/", "10.0.0.0/8", "host")


def test_a_name_that_also_leads_to_a_closed_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("192.168.0.7")]
    monkeypatch.setattr(addresses, "resolve", lambda *_, **__: mixed)
    with pytest.raises(Refused, match=r"hook\.example is 192\.168\.0\.7, which is not a public address"):
        called("https://hook.example/")


def test_a_name_that_nobody_knows_is_said() -> None:
    with pytest.raises(Unresolved, match="resolved"):
        called("https://there-is-no-such-name.invalid/")


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up, answered = threading.Event(), threading.Event()

    def slow(*_: Any, **__: Any) -> list[Any]:
        given_up.wait(60)
        answered.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(Unresolved, match=r"within 0\.1 s"):
        addresses.resolve("hook.example", 443, patience=timedelta(seconds=0.1))
    assert not answered.is_set()
    given_up.set()
    assert answered.wait(60)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://hook.example/", "expected http:// or https://, found ftp"),
        ("file:///etc/passwd", "found file"),
        ("gopher://hook.example/", "found gopher"),
        ("hook.example/path", "found no scheme"),
        ("", "found no scheme"),
        ("https:///path", "names no host"),
        ("https://ada:secret@hook.example/", "a user name or a password"),
        ("https://8.8.8.8@127.0.0.1/", "a user name or a password"),
        ("https://hook.example/#there", "a fragment"),
        ("https://hook.example:22/", "port 22 is not one of HTTP"),
        ("https://hook.example:0/", "port 0 is not one of HTTP"),
        ("https://hook.example:65536/", "not a URL"),
        ("https://hook.example:http/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://hook.example\\@127.0.0.1/", "printable ASCII"),
        ("https://hook.example/a b", "printable ASCII"),
        ("https://hook.example/\r\nHost: other", "printable ASCII"),
        ("https://①②⑦.0.0.1/", "printable ASCII"),
        ("https://hook.example/" + "x" * 2000, "at most 2000"),
    ],
)
def test_what_is_no_url_to_call_is_refused(url: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        addresses.parse(url)


@pytest.mark.parametrize(
    ("url", "expected", "authority"),
    [
        ("https://Hook.Example", Endpoint("https", "hook.example", 443, "/"), "hook.example"),
        ("http://h:80/a?b=c&d", Endpoint("http", "h", 80, "/a?b=c&d"), "h"),
        ("http://h:443/", Endpoint("http", "h", 443, "/"), "h:443"),
        ("https://[2606::1]:8443/x", Endpoint("https", "2606::1", 8443, "/x"), "[2606::1]:8443"),
    ],
)
def test_a_url_leads_to_one_place(url: str, expected: Endpoint, authority: str) -> None:
    assert addresses.parse(url) == expected
    assert expected.authority == authority
