"""A log to facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.logs.collected import content_of
from ostiary.doctor.logs.decoding import Text
from ostiary.doctor.logs.examine import Examiner
from ostiary.doctor.logs.scan import Scanner
from ostiary.doctor.logs.wrapping import unwrapped
from ostiary.model import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a log says, and what was read of it."""

    facts: list[Fact]
    read_bytes: int
    """Of the source, compressed or not."""
    lines: int
    formats: Mapping[str, int]
    """The lines that were looked at, by their format (`doctor.logs.record.Format`)."""
    first: str
    """The first time in it, as written; empty if there is none."""
    last: str
    left_out: int
    """Lines whose fact was one too many: beyond `limits.MAX_LOG_FACTS` distinct ones of a kind."""
    problem: str
    """Why it could not be read to its end; empty if it was."""


def read(stream: BinaryIO, source: str, progress: Callable[[int], None] | None = None) -> Reading:
    """Read an open binary file (or a pipe) to its end, in constant memory; gzip is unpacked.

    `source` names it in the facts' origins; `progress` is called with the bytes read so far. Never raises for what the
    log holds; OSError of the stream gets out.
    """
    text = Text(stream, progress)
    examiner = Examiner(source)
    scanner = Scanner(examiner)
    pasted: bytes | None = b""
    for block in text.blocks():
        scanner.feed(block)
        if pasted is not None:
            pasted = pasted + block if len(pasted) + len(block) <= limits.MAX_PASTED_BYTES else None
    scanner.finish()
    facts = examiner.finish()
    if pasted:
        facts = _with_unwrapped(facts, pasted, source)
    return Reading(
        facts=facts,
        read_bytes=text.read_bytes,
        lines=scanner.lines,
        formats=examiner.formats,
        first=scanner.first,
        last=scanner.last,
        left_out=examiner.left_out,
        problem=text.problem,
    )


def _with_unwrapped(facts: list[Fact], text: bytes, source: str) -> list[Fact]:
    """More facts, if the log was wrapped and says more in one piece."""
    joined = unwrapped(text)
    if joined is None:
        return facts
    examiner = Examiner(source)
    scanner = Scanner(examiner)
    scanner.feed(joined)
    scanner.finish()
    known = {content_of(fact) for fact in facts}
    return facts + [fact for fact in examiner.finish() if content_of(fact) not in known]
