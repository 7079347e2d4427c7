"""Endpoints as text and as values."""

from __future__ import annotations

import pytest

from toystore.hosts import HostError, is_numeric, parse_host
from toystore.net.endpoint import Endpoint, EndpointError, parse


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("tcp://127.0.0.1:7400", "127.0.0.1", 7400, "tcp://127.0.0.1:7400"),
        ("127.0.0.1:7400", "127.0.0.1", 7400, "tcp://127.0.0.1:7400"),
        ("n3.example.org:1", "n3.example.org", 1, "tcp://n3.example.org:1"),
        ("tcp://localhost:65535", "localhost", 65535, "tcp://localhost:65535"),
        ("tcp://[::1]:7400", "::1", 7400, "tcp://[::1]:7400"),
        ("[2001:db8::7]:7400", "2001:db8::7", 7400, "tcp://[2001:db8::7]:7400"),
        ("[fe80::1%eth0]:7400", "fe80::1%eth0", 7400, "tcp://[fe80::1%eth0]:7400"),
        ("a_name-of.ours.:7400", "a_name-of.ours.", 7400, "tcp://a_name-of.ours.:7400"),
    ],
)
def test_an_endpoint_is_read_and_shown(text, host, port, shown):
    endpoint = parse(text)

    assert endpoint == Endpoint(host, port)
    assert str(endpoint) == shown
    assert parse(shown) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        *("", "n1", ":7400", "tcp://", "tcp://n1", "tcp://n1:", "n1:x", "n1:0", "n1:65536"),
        *("n1:-1", "n1:99999999999999999999", "udp://n1:7400", "tcp://tcp://n1:7400", "n1:7400/x"),
        *("::1:7400", "[::1]", "[::1:7400", "::1]:7400", "[127.0.0.1]:7400", "[n1]:7400", "[]:1"),
        *("[::g]:7400", "[1::2::3]:7400", "tcp://n 1:7400", "n1:7400\n", "[fe80::1%e h]:1"),
        *("127.0.0.256:7400", "1.2.3:7400", "7400:7400", "-n1:7400", "n1-:7400", "tcp://*:7400"),
    ],
)
def test_what_is_no_endpoint_is_refused_with_what_was_given(text):
    with pytest.raises(EndpointError) as raised:
        parse(text)

    assert repr(text)[:80] in str(raised.value)


def test_a_host_stands_with_brackets_or_without():
    assert parse_host("::1") == parse_host("[::1]") == "::1"
    assert parse_host("n1") == "n1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[n1]",
        "[",
        "::1::",
        "fe80::1%",
        "1.2.3.4.5",
        "a/b",
        "a b",
        "a..b",
        "..",
        ".",
        "a" * 64,
        "a." * 150,
    ],
)
def test_what_is_no_host_is_refused(text):
    with pytest.raises(HostError):
        parse_host(text)


def test_numbers_are_told_from_names():
    assert all(map(is_numeric, ["127.0.0.1", "::1", "fe80::1%eth0", "::ffff:1.2.3.4"]))
    assert not any(map(is_numeric, ["localhost", "n1", "127.1", "", "[::1]", "a::b.c"]))
