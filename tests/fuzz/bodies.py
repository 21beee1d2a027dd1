"""Chunked bodies: how the bytes are cut changes nothing, and what goes on is read as the same by everybody."""

from __future__ import annotations

from fuzz.targets import pieces
from ostiary.core.chunked import ChunkedReader, encode, encode_end
from ostiary.core.header_lines import BadMessage
from ostiary.model import limits

SEEDS = (
    b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
    b"1;name=value\r\na\r\nA ; x\r\n0123456789\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\n\r\n",
    b"0\r\nAuthorization: x\r\nX_Forwarded_User: root\r\n\r\n",
    b"1;" + b"x" * (limits.MAX_CHUNK_LINE_BYTES - 2) + b"\r\na\r\n0\r\n\r\n",
    b"1\r\nab\r\n",
    b"-1\r\n",
    b"1;a\nb\r\nx\r\n",
    b"000000000000001\r\na\r\n0\r\n" + b"A: b\r\n" * 5 + b"\r\n",
    b"ffffffffffffffff\r\n",
)
WORDS = (
    b"\r\n", b"0\r\n\r\n", b"0\r\n", b"1\r\na\r\n", b";", b"X-A: b\r\n", b"10\r\n0123456789abcdef\r\n",
    b"x-forwarded-for: a\r\n",
)  # fmt: skip


def one(data: bytes) -> None:
    whole = _read([data])
    for cut in pieces(data):
        assert _read(cut) == whole
    if whole is None:
        return
    payload, done, trailers, _ = whole
    if done:
        kept = [(name, value) for name, value in trailers if _may_pass(name)]
        wire = (encode(payload) if payload else b"") + _end_of(data)
        assert _read([wire + b"next"]) == (payload, True, kept, b"next")


def _may_pass(name: bytes) -> bool:
    reader = ChunkedReader()
    reader.feed(b"0\r\n" + name + b": x\r\n\r\n")
    return encode_end(reader.trailers) != b"0\r\n\r\n"


def _end_of(data: bytes) -> bytes:
    reader = ChunkedReader()
    reader.feed(data)
    end = encode_end(reader.trailers)
    names = [line.partition(b":")[0] for line in end.split(b"\r\n")[1:-2]]
    assert not {b"content-length", b"transfer-encoding", b"authorization", b"cookie", b"host"} & set(names)
    assert not any(
        name.replace(b"_", b"-").startswith((b"x-forwarded-", b"x-ostiary-", b"forwarded")) for name in names
    )
    return end


def _read(parts: list[bytes]) -> tuple[bytes, bool, list[tuple[bytes, bytes]], bytes] | None:
    """Payload, whether it is complete, trailers, and what follows; None for what is refused."""
    reader = ChunkedReader()
    payload = rest = b""
    try:
        for part in parts:
            if reader.done:
                rest += part
            else:
                payload += reader.feed(part)
    except BadMessage as error:
        assert 400 <= error.status < 500
        return None
    return payload, reader.done, [(line.name, line.value) for line in reader.trailers], reader.rest + rest
