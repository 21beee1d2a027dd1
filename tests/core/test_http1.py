"""Heads are understood one way only, or refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.header_lines import FORWARDED, RELEVANT, SET_PER_REQUEST, BadMessage, LineCache
from ostiary.core.http1 import HeadReader, parse_request_line
from ostiary.core.response import ResponseReader


def head(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


REFUSED = {
    "two lengths": (head(b"Host: a", b"Content-Length: 1", b"Content-Length: 1"), 400),
    "two lengths in one": (head(b"Host: a", b"Content-Length: 1, 1"), 400),
    "length and chunked": (head(b"Host: a", b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
    "chunked and length": (head(b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 1"), 400),
    "plus sign": (head(b"Host: a", b"Content-Length: +1"), 400),
    "negative": (head(b"Host: a", b"Content-Length: -1"), 400),
    "hex length": (head(b"Host: a", b"Content-Length: 0x1"), 400),
    "inner space": (head(b"Host: a", b"Content-Length: 1 1"), 400),
    "empty length": (head(b"Host: a", b"Content-Length:"), 400),
    "huge length": (head(b"Host: a", b"Content-Length: " + b"9" * 30), 400),
    "unicode digits": (head(b"Host: a", "Content-Length: ٣".encode()), 400),
    "gzip, chunked": (head(b"Host: a", b"Transfer-Encoding: gzip, chunked"), 501),
    "chunked twice": (head(b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 501),
    "chunked chunked": (head(b"Host: a", b"Transfer-Encoding: chunked, chunked"), 501),
    "xchunked": (head(b"Host: a", b"Transfer-Encoding: xchunked"), 501),
    "identity": (head(b"Host: a", b"Transfer-Encoding: identity"), 501),
    "vertical tab": (head(b"Host: a", b"Transfer-Encoding: \x0bchunked"), 400),
    "space before colon": (head(b"Host: a", b"Transfer-Encoding : chunked"), 400),
    "tab before colon": (head(b"Host: a", b"Content-Length\t: 1"), 400),
    "folded": (head(b"Host: a", b"X: 1", b" Transfer-Encoding: chunked"), 400),
    "folded by tab": (head(b"Host: a", b"X: 1", b"\tb"), 400),
    "leading space": (head(b" Host: a"), 400),
    "no colon": (head(b"Host: a", b"nonsense"), 400),
    "no name": (head(b"Host: a", b": x"), 400),
    "bare lf in value": (head(b"Host: a", b"X: 1\nContent-Length: 5"), 400),
    "bare cr in value": (head(b"Host: a", b"X: 1\rContent-Length: 5"), 400),
    "bare lf in name": (head(b"Host: a", b"X\nY: 1"), 400),
    "nul in value": (head(b"Host: a", b"X: 1\x002"), 400),
    "nul in name": (head(b"Host: a", b"X\x00: 1"), 400),
    "del in value": (head(b"Host: a", b"X: \x7f"), 400),
    "non-ascii name": (head(b"Host: a", "Ünder: 1".encode()), 400),
    "two hosts": (head(b"Host: a", b"Host: b"), 400),
    "same host twice": (head(b"Host: a", b"host: a"), 400),
    "other expectation": (head(b"Host: a", b"Expect: 200-ok"), 417),
    "empty line inside": (b"Host: a\r\n\r\nX: 1\r\n", 400),
}


@pytest.mark.parametrize(("block", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_an_ambiguous_head_is_refused_each_time(block: bytes, status: int) -> None:
    heads = HeadReader()
    for _ in range(2):  # the cache must not make the second one pass
        with pytest.raises(BadMessage) as error:
            heads.read(block)
        assert error.value.status == status


def test_a_good_head_is_read_once_and_found_again() -> None:
    heads = HeadReader()
    block = head(b"HOST: Example.com", b"X-One:  spaced \t", b"cookie: a=b", b"Content-Length: 12")
    first = heads.read(block)
    assert first.host == b"Example.com"
    assert first.content_length == 12 and first.has_body and not first.chunked
    assert [line.wire for line in first.lines][1] == b"x-one: spaced\r\n"
    assert first.as_headers().get("cookie") == "a=b"
    assert heads.read(block, first) is first


LINES = (b"A: 1", b"A: 2", b"B: 1", b"C: 3", b"Cookie: x=y", b"Host: a", b"Long: " + b"l" * 99, b"X-Request-Id: 7")


@given(st.lists(st.sampled_from(LINES)), st.booleans())
def test_what_came_before_changes_nothing(lines: list[bytes], forwarded: bool) -> None:
    def classify(name: bytes) -> int:
        return SET_PER_REQUEST if name == b"x-request-id" else FORWARDED if forwarded and name < b"c" else RELEVANT

    heads = HeadReader(classify=classify)
    before = heads.read(head(b"Host: a", b"A: 1", b"B: 1", b"C: 3", b"Cookie: x=y", b"X-Request-Id: 1"))
    try:
        fresh = HeadReader(classify=classify).read(head(*lines))
    except BadMessage:
        with pytest.raises(BadMessage):
            heads.read(head(*lines), before)
        return
    after = heads.read(head(*lines), before)
    assert [line.pair for line in after.lines] == [line.pair for line in fresh.lines]
    assert (after.forwarded, after.request_id, after.host) == (fresh.forwarded, fresh.request_id, fresh.host)
    assert [line.pair for line in after.relevant] == [line.pair for line in fresh.relevant]


@pytest.mark.parametrize(
    ("before", "after"), [((b"1", b"1"), (b"1", b"2")), ((b"", b""), (b"a", b"b")), ((b"a", b"b"), (b"", b"c"))]
)
def test_of_two_request_ids_the_first_counts_whatever_came_before(
    before: tuple[bytes, bytes], after: tuple[bytes, bytes]
) -> None:
    def block(ids: tuple[bytes, bytes]) -> bytes:
        return head(b"Host: a", *[b"X-Request-Id: " + each for each in ids])

    def classify(name: bytes) -> int:
        return SET_PER_REQUEST if name == b"x-request-id" else RELEVANT

    heads = HeadReader(classify=classify)
    last = heads.read(block(before))
    assert heads.read(block(after), last).request_id == HeadReader(classify=classify).read(block(after)).request_id


def test_the_memory_of_lines_is_bounded() -> None:
    lines = LineCache(10, lambda _name: 0)
    for number in range(1000):
        lines.lines(head(b"X-N: %d" % number))
    assert len(lines) <= 20


def test_too_many_lines_are_431() -> None:
    with pytest.raises(BadMessage) as error:
        HeadReader(max_lines=5).read(head(b"Host: a", *[b"X: %d" % n for n in range(5)]))
    assert error.value.status == 431


def test_upgrade_counts_only_with_its_connection_option() -> None:
    heads = HeadReader()
    assert (
        heads.read(head(b"Host: a", b"Upgrade: WebSocket", b"Connection: keep-alive, Upgrade")).upgrade == b"websocket"
    )
    assert heads.read(head(b"Host: a", b"Upgrade: websocket")).upgrade == b""


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/1.1 ", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\x0b", 400),
        (b"GET /", 400),
        (b"", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / http/1.1", 400),
        (b"G@T / HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET /a\tb HTTP/1.1", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET /#f HTTP/1.1", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1", 414),
        (b"GET /\n HTTP/1.1", 400),
    ],
)
def test_bad_request_lines(line: bytes, status: int) -> None:
    with pytest.raises(BadMessage) as error:
        parse_request_line(line)
    assert error.value.status == status


def test_good_request_lines() -> None:
    assert parse_request_line(b"GET /a?b=c%20d HTTP/1.1") == (b"GET", b"/a?b=c%20d", False)
    assert parse_request_line(b"M-SEARCH * HTTP/1.0") == (b"M-SEARCH", b"*", True)


@given(st.binary(max_size=200))
def test_no_block_raises_anything_else(block: bytes) -> None:
    with contextlib.suppress(BadMessage):
        HeadReader().read(block + b"\r\n")


@given(st.binary(max_size=80))
def test_no_request_line_raises_anything_else(line: bytes) -> None:
    try:
        method, target, _ = parse_request_line(line)
    except BadMessage:
        return
    assert b" " not in method + target and b"\n" not in target


def test_response_heads() -> None:
    reader = ResponseReader()
    answer = reader.read(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\nConnection: close\r\nDate: now\r\n"
    )
    assert (answer.status, answer.reason, answer.content_length, answer.close, answer.dated) == (
        200,
        b"OK",
        3,
        True,
        True,
    )
    assert reader.read(b"HTTP/1.0 204 \r\n").close
    assert not reader.read(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n").close


def test_what_a_response_names_in_connection_ends_here() -> None:
    lines = head(b"HTTP/1.1 200 OK", b"Connection: X-Hop, Set-Cookie", b"X-Hop: 1", b"Set-Cookie: a=b", b"X: 1")
    assert [line.name for line in ResponseReader().read(lines).lines] == [b"connection", b"set-cookie", b"x"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 999 OK\r\n",
        b"HTTP/3 200 OK\r\n",
        b"200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nA B: c\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        b"HTTP/1.1 200 O\x00K\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ],
)
def test_bad_response_heads(answer: bytes) -> None:
    with pytest.raises(BadMessage):
        ResponseReader().read(answer)


ANSWER_LINES = (
    b"Content-Length: 1", b"Content-Length: 2", b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: x-a",
    b"X-A: 1", b"Date: d", b"Upgrade: u", b"no colon", b"Set-Cookie: \xe9",
)  # fmt: skip


@given(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 404 ", b"HTTP/1.1 200", b"HTTP/2 200 OK"]) | st.binary(max_size=20),
    st.lists(st.sampled_from(ANSWER_LINES) | st.binary(max_size=20), max_size=5),
)
def test_an_answer_s_head_is_read_the_same_each_time_or_refused_as_the_upstream_s_fault(
    status: bytes, lines: list[bytes]
) -> None:
    def read(reader: ResponseReader) -> object:
        try:
            found = reader.read(head(status, *lines))
        except BadMessage as error:
            return error.details, error.status
        assert not (found.chunked and found.content_length is not None)
        framing = (found.status, found.reason, found.content_length, found.chunked, found.close, found.upgrade)
        return framing, [line.wire for line in found.lines]

    remembering = ResponseReader()
    first = read(ResponseReader())
    assert [read(remembering) for _ in range(3)] == [first] * 3
