"""Heads between HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import pytest
from hpack import Decoder, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.h2_head import LOWER_TOKEN, AnswerReader, LiteralEncoder, outgoing_head, switched
from ostiary.core.header_lines import FIELD_VALUE, BadMessage
from ostiary.core.response import ResponseReader
from ostiary.core.websocket import accept_key
from ostiary.model import limits

NAMES = st.binary(min_size=1, max_size=12).map(lambda raw: bytes(LOWER_TOKEN[byte % len(LOWER_TOKEN)] for byte in raw))
VALUES = st.binary(max_size=300).map(lambda raw: bytes(FIELD_VALUE[byte % len(FIELD_VALUE)] for byte in raw).strip())
ANYTHING = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=8)
HOP = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings")


def sent(*lines: bytes, encrypted: bool = False, scheme_of_client: bool = True) -> list[tuple[bytes, bytes]]:
    head = b"\r\n".join((b"GET /a?b HTTP/1.1", b"host: app.test", *lines))
    return list(outgoing_head(head, encrypted=encrypted, scheme_of_client=scheme_of_client).fields)


# --- requests


def test_pseudo_headers_come_first_and_host_becomes_authority() -> None:
    assert sent(b"x-a: 1", b"cookie: a=b; c=d", b"X-B:2") == [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"app.test"),
        (b":path", b"/a?b"),
        (b"x-a", b"1"),
        (b"cookie", b"a=b; c=d"),
        (b"x-b", b"2"),
    ]


@pytest.mark.parametrize(
    ("line", "encrypted", "of_client", "scheme"),
    [
        (b"x-forwarded-proto: https", False, True, b"https"),
        (b"x-forwarded-proto: https", False, False, b"http"),
        (b"x-forwarded-proto: http", True, True, b"http"),
        (b"x-forwarded-proto: http", True, False, b"https"),
        (b"x-forwarded-proto: gopher", True, True, b"https"),
        (b"x-a: b", True, True, b"https"),
    ],
)
def test_the_scheme_is_the_clients_or_the_connections(
    line: bytes, encrypted: bool, of_client: bool, scheme: bytes
) -> None:
    assert dict(sent(line, encrypted=encrypted, scheme_of_client=of_client))[b":scheme"] == scheme


def test_what_belongs_to_one_hop_stays_here() -> None:
    lines = [b"%b: x" % name for name in HOP if name != b"upgrade"]
    assert sent(*lines, b"te: trailers", b"te: gzip") == [*sent(), (b"te", b"trailers")]


def test_how_a_body_is_framed_is_known_afterwards() -> None:
    head = outgoing_head(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked", encrypted=False, scheme_of_client=True)
    assert (head.chunked, head.content_length) == (True, 0)
    assert dict(head.fields) == {b":method": b"POST", b":scheme": b"http", b":path": b"/"}  # no host, no :authority
    head = outgoing_head(b"POST / HTTP/1.1\r\ncontent-length: 17", encrypted=False, scheme_of_client=True)
    assert (head.chunked, head.content_length) == (False, 17)
    assert (b"content-length", b"17") in head.fields


def test_an_upgrade_is_an_extended_connect() -> None:
    lines = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: WebSocket\r\nsec-websocket-key: abc"
    head = outgoing_head(lines, encrypted=True, scheme_of_client=True)
    assert dict(head.fields) == {
        b":method": b"CONNECT",
        b":protocol": b"websocket",
        b":scheme": b"https",
        b":authority": b"a",
        b":path": b"/ws",
        b"sec-websocket-key": b"abc",
    }
    assert (head.upgrade, head.websocket_key) == (b"WebSocket", b"abc")


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20))
def test_whatever_a_head_holds_arrives_but_for_what_belongs_to_the_hop(fields: list[tuple[bytes, bytes]]) -> None:
    special = {*HOP, b"host", b"te", b"content-length", b"x-forwarded-proto", b"sec-websocket-key"}
    fields = [(name, value) for name, value in fields if name not in special]
    found = sent(*(b"%b: %b" % field for field in fields))
    assert found[4:] == fields
    assert not any(name.startswith(b":") for name, _ in found[4:])
    encoder, decoder = LiteralEncoder(), Decoder()
    for _ in range(2):
        assert [tuple(each) for each in decoder.decode(encoder.encode(found), raw=True)] == found


def test_nothing_is_put_into_a_table_and_secrets_never_by_anybody() -> None:
    encoder, decoder = LiteralEncoder(), Decoder()
    fields = [(b"x-a", b"1" * 200), (b"cookie", b"a" * 20_000), (b"authorization", b"Bearer x")]
    first, second = encoder.encode(fields), encoder.encode(fields)
    assert first == b"\x20" + second  # the table's size is set to 0, once
    decoded = decoder.decode(first, raw=True)
    assert [isinstance(each, NeverIndexedHeaderTuple) for each in decoded] == [False, True, True]
    assert decoder.header_table_size == 0


# --- answers


def test_an_answers_head() -> None:
    reader = AnswerReader()
    head = reader.head([(b":status", b"200"), (b"content-length", b"3"), (b"date", b"x"), (b"x-a", b" caf\xe9\t")])
    assert (head.status, head.reason, head.content_length, head.dated, head.close) == (200, None, 3, True, False)
    assert [line.wire for line in head.lines][-1] == b"x-a: caf\xe9\r\n"
    again = reader.head([(b":status", b"204"), (b"x-a", b" caf\xe9\t")])
    assert again.lines[0] is head.lines[-1]  # remembered


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        ([], "missing_status"),
        ([(b"x-a", b"b")], "missing_status"),
        ([(b":status", b"200"), (b":status", b"200")], "invalid_pseudo_header"),
        ([(b"x-a", b"b"), (b":status", b"200")], "invalid_pseudo_header"),
        ([(b":path", b"/")], "invalid_pseudo_header"),
        ([(b":status", b"200"), (b":x", b"/")], "invalid_pseudo_header"),
        ([(b":status", b"20")], "invalid_status"),
        ([(b":status", b"2OO")], "invalid_status"),
        ([(b":status", b"600")], "invalid_status"),
        ([(b":status", b"099")], "invalid_status"),
        ([(b":status", b"101")], "invalid_status"),
        ([(b":status", b"200"), (b"X-A", b"b")], "invalid_header_name"),
        ([(b":status", b"200"), (b"", b"b")], "invalid_header_name"),
        ([(b":status", b"200"), (b"x a", b"b")], "invalid_header_name"),
        ([(b":status", b"200"), (b"x-a:", b"b")], "invalid_header_name"),
        ([(b":status", b"200"), (b"connection", b"close")], "invalid_header_name"),
        ([(b":status", b"200"), (b"transfer-encoding", b"chunked")], "invalid_header_name"),
        ([(b":status", b"200"), (b"x-a", b"b\r\nset-cookie: c")], "invalid_header_value"),
        ([(b":status", b"200"), (b"x-a", b"b\nc")], "invalid_header_value"),
        ([(b":status", b"200"), (b"x-a", b"b\0")], "invalid_header_value"),
        ([(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")], "duplicate_content_length"),
        ([(b":status", b"200"), (b"content-length", b"-1")], "invalid_content_length"),
        ([(b":status", b"200"), *[(b"x-a", b"b")] * 301], "too_many_headers"),
    ],
)
def test_what_is_malformed(fields: list[tuple[bytes, bytes]], details: str) -> None:
    with pytest.raises(BadMessage) as error:
        AnswerReader().head(fields)
    assert (error.value.details, error.value.status) in ((details, 502), (details, 400))


@given(ANYTHING)
def test_an_answer_is_refused_or_reads_the_same_in_http_1_1(fields: list[tuple[bytes, bytes]]) -> None:
    try:
        head = AnswerReader().head([(b":status", b"200"), *fields])
    except BadMessage:
        return
    wire = b"HTTP/1.1 200 OK\r\n" + b"".join(line.wire for line in head.lines)
    again = ResponseReader().read(wire)
    assert [line.pair for line in again.lines] == [line.pair for line in head.lines]
    assert again.content_length == head.content_length
    assert not again.chunked


def test_trailers_are_judged_as_heads_are() -> None:
    reader = AnswerReader()
    assert [line.wire for line in reader.trailers([(b"grpc-status", b"0")])] == [b"grpc-status: 0\r\n"]
    for bad in ((b":status", b"200"), (b"x-a", b"\r\n"), (b"connection", b"close")):
        with pytest.raises(BadMessage):
            reader.trailers([bad])
    with pytest.raises(BadMessage):
        reader.trailers([(b"x", b"y")] * (limits.MAX_TRAILERS + 1))


# --- WebSocket


def test_an_answered_connect_looks_like_a_switch_of_protocols() -> None:
    key = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==")
    assert key == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
    reader = AnswerReader()
    head = switched(reader.head([(b":status", b"200"), (b"sec-websocket-protocol", b"chat")]), b"websocket", key)
    assert head.status == 101
    assert [line.pair for line in head.lines] == [
        ("sec-websocket-protocol", "chat"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", key.decode()),
    ]
    own = reader.head([(b":status", b"200"), (b"sec-websocket-accept", b"theirs")])
    assert [line.value for line in switched(own, b"websocket", key).lines] == [b"theirs", b"websocket"]
