"""The fast part: blocks of bytes searched as a whole, so that a line that says nothing costs only the search.

One automaton (RE2) runs over each block for the words of all patterns. Where it stops, the lines around are searched
for those that joining needs too, and only lines with such words are cut out and looked at. What lies between is never
a Python object. A buffer is the end of the block before, kept for joining, and a new block; lines near its end wait for
the next, so that a record of many lines is seen whole. So memory is constant, whatever the log's size.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final, final

from ostiary.doctor.logs.examine import Examiner, words
from ostiary.doctor.logs.formats import begins_record, without_prefix_of
from ostiary.model import limits

_KEPT: Final = limits.LOG_BEFORE_BYTES + limits.MAX_LOG_LINE_BYTES
_TIME: Final = re.compile(rb"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?")


@final
class Scanner:
    """Feeds an examiner with the lines of blocks that matter."""

    def __init__(self, examiner: Examiner) -> None:
        self._examiner = examiner
        self._words = words()
        self._buffer = b""
        self._looked = 0
        """Offset in the buffer behind the last line that was looked at."""
        self._searched = 0
        """Offset up to which the buffer was searched."""
        self._until = 0
        """Offset up to which lines belong to the last one that matters."""
        self._counted = 0
        """Offset up to which lines were counted."""
        self.lines = 0
        """Line breaks before that."""
        self.first = ""
        """The first time in the log, as written."""
        self.last = ""

    def feed(self, block: bytes) -> None:
        """The next block."""
        if not self.first and (found := _TIME.search(block[: limits.MAX_LOG_LINE_BYTES])) is not None:
            self.first = found[0].decode()
        self._buffer += block
        self._search(len(self._buffer) - limits.MAX_LOG_LINE_BYTES)
        dropped = len(self._buffer) - _KEPT
        if dropped > 0:
            self._count(max(self._counted, dropped))
            self._buffer = self._buffer[dropped:]
            self._looked = max(0, self._looked - dropped)
            self._searched = max(0, self._searched - dropped)
            self._until -= dropped
            self._counted -= dropped

    def finish(self) -> None:
        """The end of the log."""
        self._search(len(self._buffer))
        self._count(len(self._buffer))
        if self._buffer and not self._buffer.endswith(b"\n"):
            self.lines += 1
        times = _TIME.findall(self._buffer[-limits.MAX_LOG_LINE_BYTES :])
        self.last = times[-1].decode() if times else self.first

    def _search(self, end: int) -> None:
        buffer, telling = self._buffer, self._words.telling
        while self._searched < end:
            if self._searched < self._until:
                self._searched = self._region(self._searched, min(self._until, end))
                continue
            found = telling.search(buffer, self._searched, len(buffer))
            if found is None or found.start() >= end:
                self._searched = max(self._searched, end)
                return
            at = found.start()
            start = self._line_start(max(self._looked, at - limits.LOG_BEFORE_BYTES))
            self._until = found.end() + limits.LOG_AFTER_BYTES
            self._searched = max(start, self._looked)

    def _region(self, position: int, stop: int) -> int:
        """Look at the lines with any word from `position` on; returns where the next one may begin."""
        buffer, search = self._buffer, self._words.any.search
        while position < stop:
            found = search(buffer, position, len(buffer))
            if found is None or found.start() >= stop:
                return stop
            at = found.start()
            start = max(self._line_start(at), self._looked)
            end = buffer.find(b"\n", at, at + limits.MAX_LOG_LINE_BYTES)
            if end < 0:
                end = min(len(buffer), at + limits.MAX_LOG_LINE_BYTES)
            self._count(start)
            self._examiner.look(buffer[start:end], self.lines + 1, partial(self._rest, start, end))
            position = self._looked = end + 1
        return position

    def _line_start(self, at: int) -> int:
        return self._buffer.rfind(b"\n", max(0, at - limits.MAX_LOG_LINE_BYTES), at) + 1 or max(
            0, at - limits.MAX_LOG_LINE_BYTES
        )

    def _rest(self, start: int, end: int) -> tuple[str, ...]:
        """The lines behind that line which begin no record, up to the end of a quotation."""
        lines: list[str] = []
        inner = without_prefix_of(self._buffer[start:end].decode("utf-8", "replace"))
        position = end + 1
        while position < len(self._buffer) and len(lines) < limits.MAX_LOG_CONTINUATION:
            end = self._buffer.find(b"\n", position, position + limits.MAX_LOG_LINE_BYTES)
            end = end if end >= 0 else min(len(self._buffer), position + limits.MAX_LOG_LINE_BYTES)
            line = self._buffer[position:end].decode("utf-8", "replace").rstrip("\r")
            line = inner(line)
            if begins_record(line) or line.startswith("```"):
                break
            lines.append(line)
            position = end + 1
        return tuple(lines)

    def _count(self, offset: int) -> None:
        """Count lines up to there."""
        if offset > self._counted:
            self.lines += self._buffer.count(b"\n", self._counted, offset)
            self._counted = offset
