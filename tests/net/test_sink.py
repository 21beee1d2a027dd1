"""Log lines arrive whole, in order, or are counted as lost; a reader that stalls holds nobody up."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ostiary.model import limits
from ostiary.net.sink import Sink
from waiting import PATIENCE

LINES = [b"%05d %s\n" % (number, b"x" * (number % 300)) for number in range(5000)]


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)


def read_all(fd: int, into: list[bytes]) -> None:
    while data := os.read(fd, 65536):
        into.append(data)


def test_a_file_gets_every_line_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    said: list[str] = []
    sink = Sink(os.open(path, os.O_WRONLY | os.O_CREAT), owned=True, report=said.append)
    for at in range(0, len(LINES), 100):
        sink.write(b"".join(LINES[at : at + 100]))
    assert sink.close(PATIENCE)
    assert path.read_bytes() == b"".join(LINES)
    assert not said


def test_two_writers_of_one_pipe_tear_no_line() -> None:
    with pipe() as (reader, writer):
        got: list[bytes] = []
        reading = threading.Thread(target=read_all, args=(reader, got))
        reading.start()
        sinks = [Sink(os.dup(writer), owned=True, report=str) for _ in range(2)]
        os.close(writer)
        for at in range(0, len(LINES), 500):
            for name, sink in zip((b"a", b"b"), sinks, strict=True):
                sink.write(b"".join(name + line for line in LINES[at : at + 500]))
        assert all(sink.close(PATIENCE) for sink in sinks)
        reading.join(PATIENCE)
    lines = b"".join(got).splitlines(keepends=True)
    assert [line[1:] for line in lines if line.startswith(b"a")] == LINES
    assert [line[1:] for line in lines if line.startswith(b"b")] == LINES


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing() -> None:
    with pipe() as (reader, writer):
        os.set_blocking(writer, False)
        said: list[str] = []
        sink = Sink(writer, owned=True, report=said.append)
        sink.write(b"".join(LINES))
        got: list[bytes] = []
        reading = threading.Thread(target=read_all, args=(reader, got))
        reading.start()
        assert sink.close(PATIENCE)
        reading.join(PATIENCE)
        assert b"".join(got) == b"".join(LINES)
        assert not said


def test_what_a_stalled_reader_makes_us_lose_is_said() -> None:
    with pipe() as (reader, writer):
        said: list[str] = []
        sink = Sink(writer, owned=True, report=said.append)
        for _ in range(2 * limits.LOG_BACKLOG_BYTES // 1_000_000 + 1):
            sink.write(b"y" * 999_999 + b"\n")  # returns at once, whoever reads
        assert sink.lost and "can't be written" in said[0]
        got: list[bytes] = []
        reading = threading.Thread(target=read_all, args=(reader, got))
        reading.start()
        assert sink.close(PATIENCE)
        reading.join(PATIENCE)
        assert any("lines were lost" in text for text in said[1:])
