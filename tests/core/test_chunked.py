"""The chunked coding, read strictly."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.chunked import ChunkedReader, encode, encode_end
from ostiary.core.header_lines import BadMessage, HeaderLine
from ostiary.model import limits


def feed_all(reader: ChunkedReader, *parts: bytes) -> None:
    for part in parts:
        reader.feed(part)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@given(st.lists(st.binary(min_size=1, max_size=50)), st.lists(st.integers(0, 10_000)), st.binary(max_size=10))
def test_whatever_the_cuts_the_payload_is_the_same(chunks: list[bytes], cuts: list[int], rest: bytes) -> None:
    wire = b"".join(encode(chunk) for chunk in chunks) + encode_end([])
    reader = ChunkedReader()
    out = b""
    after = b""
    for piece in pieces(wire + rest, cuts):
        if reader.done:
            after += piece
        else:
            out += reader.feed(piece)
    assert out == b"".join(chunks)
    assert reader.done
    assert reader.rest + after == rest


def test_trailers_are_kept_but_those_that_frame_are_not_sent_on() -> None:
    reader = ChunkedReader()
    assert reader.feed(b"1;ext=1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\nAuthorization: x\r\n\r\n") == b"a"
    assert [t.name for t in reader.trailers] == [b"x-sum", b"content-length", b"authorization"]
    assert encode_end(reader.trailers) == b"0\r\nx-sum: 1\r\n\r\n"
    assert encode_end([HeaderLine(b"x-forwarded-user", b"root")]) == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\na\r\n",
        b"0x1\r\na\r\n",
        b"1 \r\r\na",
        b" 1\r\na\r\n",
        b"1\na\n0\n\n",
        b"1\r\nab\r\n",
        b"1\r\na0\r\n",
        b"1\r\n\r\n\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"1" * 300,
        b"1_0\r\n",
        b"1;a\nb\r\nx\r\n",
        b"1\r\na\r\n0\r\nX : 1\r\n\r\n",
        b"1\r\na\r\n0\r\n X: 1\r\n\r\n",
        b"0\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(40)),
        b"0\r\nA: " + b"b" * 9000,
    ],
)
def test_malformed_chunks_are_refused(wire: bytes) -> None:
    for cut in range(1, min(len(wire), 20)):
        reader = ChunkedReader()
        with pytest.raises(BadMessage):
            feed_all(reader, wire[:cut], wire[cut:] + b"x" * 400)


@pytest.mark.parametrize(
    ("before", "line", "limit"),
    [(b"", b"1;", limits.MAX_CHUNK_LINE_BYTES), (b"0\r\n", b"X-Sum: ", limits.MAX_TRAILER_BYTES)],
)
def test_a_line_has_one_bound_however_it_arrives(before: bytes, line: bytes, limit: int) -> None:
    longest = before + line.ljust(limit, b"x") + b"\r\n"
    for cut in range(len(longest) - 3, len(longest) + 1):
        feed_all(ChunkedReader(), longest[:cut], longest[cut:])
    beyond = longest.replace(b"x", b"xx", 1)
    for cut in (*range(len(beyond) - 3, len(beyond)), len(beyond)):
        with pytest.raises(BadMessage):
            feed_all(ChunkedReader(), beyond[:cut], beyond[cut:])


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_else(wire: bytes) -> None:
    reader = ChunkedReader()
    try:
        reader.feed(wire)
    except BadMessage:
        return
