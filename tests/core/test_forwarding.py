"""Who the client is, and which headers go on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.forwarding import Forwarded, Forwarder, Peer, address_from_right, uuid4
from ostiary.model.config import HttpConnectionManager
from ostiary.model.headers import Headers
from ostiary.model.routes import RouteConfiguration
from requests_for_tests import entropy

IDENTITY = frozenset(("x-forwarded-user", "x-forwarded-groups"))
PEER = Peer(address="198.51.100.9", encrypted=False, own_address="192.0.2.2")


def forward(
    *headers: tuple[str, str], peer: Peer = PEER, identity: frozenset[str] = IDENTITY, **options: Any
) -> Forwarded:
    manager = HttpConnectionManager(
        stat_prefix="t", route_config=RouteConfiguration(virtual_hosts=()), http_filters=(), **options
    )
    return Forwarder(manager, identity).forward(Headers(headers), peer, entropy)


@pytest.mark.parametrize(
    ("edge", "hops", "chain", "client", "forwarded"),
    [
        (True, 0, None, "198.51.100.9", "198.51.100.9"),
        (True, 0, "1.1.1.1", "198.51.100.9", "1.1.1.1,198.51.100.9"),
        (True, 1, "1.1.1.1, 2.2.2.2", "2.2.2.2", "1.1.1.1, 2.2.2.2,198.51.100.9"),
        (True, 2, "1.1.1.1, 2.2.2.2", "1.1.1.1", "1.1.1.1, 2.2.2.2,198.51.100.9"),
        (True, 3, "1.1.1.1, 2.2.2.2", "198.51.100.9", "1.1.1.1, 2.2.2.2,198.51.100.9"),
        (True, 1, "nonsense", "198.51.100.9", "nonsense,198.51.100.9"),
        (False, 0, None, "198.51.100.9", None),
        (False, 0, "1.1.1.1, 2.2.2.2", "2.2.2.2", "1.1.1.1, 2.2.2.2"),
        (False, 1, "1.1.1.1, 2.2.2.2", "1.1.1.1", "1.1.1.1, 2.2.2.2"),
        (False, 2, "1.1.1.1, 2.2.2.2", "198.51.100.9", "1.1.1.1, 2.2.2.2"),
        (False, 0, "2001:DB8::1", "2001:db8::1", "2001:DB8::1"),
    ],
)
def test_the_client(edge: bool, hops: int, chain: str | None, client: str, forwarded: str | None) -> None:
    headers = (("x-forwarded-for", chain),) if chain else ()
    result = forward(*headers, use_remote_address=edge, xff_num_trusted_hops=hops)
    assert result.client == client
    assert result.headers.joined("x-forwarded-for") == forwarded
    assert result.headers.get("x-envoy-external-address") == (client if edge else None)


def test_all_lines_of_the_chain_count() -> None:
    result = forward(("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2"))
    assert result.client == "2.2.2.2"
    assert result.headers.get_all("x-forwarded-for") == ["1.1.1.1,2.2.2.2"]


def test_a_loopback_peer_is_written_as_this_hosts_address() -> None:
    local = Peer(address="127.0.0.1", encrypted=False, own_address="192.0.2.2")
    result = forward(peer=local, use_remote_address=True)
    assert (result.client, result.headers.get("x-forwarded-for")) == ("127.0.0.1", "192.0.2.2")


def test_appending_can_be_switched_off() -> None:
    result = forward(("x-forwarded-for", "1.1.1.1"), use_remote_address=True, skip_xff_append=True)
    assert result.headers.get_all("x-forwarded-for") == ["1.1.1.1"]


def test_a_unix_socket_has_no_address() -> None:
    result = forward(peer=Peer(address="", encrypted=False), use_remote_address=True)
    assert result.client == ""
    assert "x-forwarded-for" not in result.headers


@pytest.mark.parametrize(
    ("text", "skip", "expected"),
    [
        ("1.1.1.1", 0, "1.1.1.1"),
        (" 1.1.1.1\t", 0, "1.1.1.1"),
        ("1.1.1.1:80", 0, ""),
        ("[::1]", 0, ""),
        ("fe80::1%eth0", 0, ""),
        ("", 0, ""),
        ("1.1.1.1,", 0, ""),
        ("010.1.1.1", 0, ""),
        ("1.1.1.1", 1, ""),
    ],
)
def test_only_an_ip_address_is_an_address(text: str, skip: int, expected: str) -> None:
    assert address_from_right(text, skip) == expected


@pytest.mark.parametrize(
    ("options", "encrypted", "claim", "scheme", "header"),
    [
        ({"use_remote_address": True}, False, "https", "http", "http"),
        ({"use_remote_address": True}, True, "http", "https", "https"),
        ({"use_remote_address": True, "xff_num_trusted_hops": 1}, False, "https", "https", "https"),
        ({"use_remote_address": True, "xff_num_trusted_hops": 1}, False, None, "http", "http"),
        ({}, False, "https", "https", "https"),
        ({}, False, "HTTPS", "https", "HTTPS"),
        ({}, True, "ftp", "https", "ftp"),
        ({}, True, None, "https", "https"),
        ({"scheme_to_overwrite": "https"}, False, "http", "https", "https"),
    ],
)
def test_the_scheme(options: dict[str, Any], encrypted: bool, claim: str | None, scheme: str, header: str) -> None:
    headers = (("x-forwarded-proto", claim),) if claim else ()
    result = forward(*headers, peer=Peer(address="198.51.100.9", encrypted=encrypted), **options)
    assert (result.scheme, result.headers.get_all("x-forwarded-proto")) == (scheme, [header])


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, True),
        ({"use_remote_address": True}, False),
        ({"use_remote_address": True, "preserve_external_request_id": True}, True),
        ({"use_remote_address": True, "generate_request_id": False}, True),
    ],
)
def test_request_ids(options: dict[str, Any], kept: bool) -> None:
    result = forward(("x-request-id", "theirs"), **options)
    assert (result.request_id == "theirs") is kept
    assert result.headers.get_all("x-request-id") == [result.request_id]


def test_a_missing_request_id_is_made_or_not() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", forward().request_id)
    assert "x-request-id" not in forward(generate_request_id=False).headers


@given(st.binary(min_size=16, max_size=16))
def test_a_uuid_has_its_version_and_variant(octets: bytes) -> None:
    made = uuid4(lambda _: octets)
    assert (made[14], made[19] in "89ab", len(made)) == ("4", True, 36)


@pytest.mark.parametrize("name", sorted(IDENTITY))
@pytest.mark.parametrize("spelling", ["{}", "_", "mixed"])
@pytest.mark.parametrize("profile", ["ostiary", "envoy"])
def test_identity_headers_never_pass(name: str, spelling: str, profile: str) -> None:
    spelt = {"{}": name, "_": name.replace("-", "_"), "mixed": name.replace("-", "_", 1)}[spelling]
    assert spelt not in forward((spelt, "admin"), profile=profile).headers


def test_a_listed_identity_header_of_ours_is_not_dropped_by_connection() -> None:
    result = forward(
        ("connection", "x-secret, authorization, X-Forwarded-For"), ("x-secret", "1"), ("authorization", "2")
    )
    assert "x-secret" not in result.headers
    assert result.headers.get("authorization") == "2"
    assert "connection" not in result.headers


@pytest.mark.parametrize("name", ["keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "x-envoy-internal"])
def test_hop_by_hop_ends_here(name: str) -> None:
    assert name not in forward((name, "1")).headers


@pytest.mark.parametrize(("value", "kept"), [("trailers", True), ("gzip, trailers", True), ("gzip", False)])
def test_te(value: str, kept: bool) -> None:
    assert forward(("te", value)).headers.get_all("te") == (["trailers"] if kept else [])


def test_an_upgrade_keeps_its_headers() -> None:
    result = forward(("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket"), ("keep-alive", "1"))
    assert result.upgrade == "websocket"
    assert list(result.headers)[:2] == [("connection", "upgrade"), ("upgrade", "WebSocket")]
    assert forward(("upgrade", "websocket")).upgrade == "", "it takes both headers"
    assert forward(("connection", "upgrade"), ("upgrade", "a"), ("upgrade", "b")).upgrade == ""


def test_via_is_appended() -> None:
    assert forward(("via", "1.1 a"), via="ostiary").headers.get_all("via") == ["1.1 a, ostiary"]
    assert forward(("via", "1.1 a")).headers.get_all("via") == ["1.1 a"]


CLAIMS = [
    "forwarded",
    "x-real-ip",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x_forwarded_for",
    "x.forwarded.for",
    "x!real~ip",
    "x_real-ip",
]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_native_edge_believes_no_claims(name: str) -> None:
    assert name not in forward((name, "1"), use_remote_address=True, profile="ostiary").headers
    assert name in forward((name, "1"), use_remote_address=True, profile="envoy").headers, "Envoy passes them"


@given(st.lists(st.tuples(st.text(alphabet="abx-_forwdhuestian", min_size=1, max_size=16), st.text(max_size=12))))
def test_no_headers_make_it_raise(headers: list[tuple[str, str]]) -> None:
    forward(*headers, ("connection", ",".join(name for name, _ in headers)), use_remote_address=True, profile="ostiary")
