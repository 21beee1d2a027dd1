"""One line after the other: which patterns may know it, what they make of it, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, final

import re2

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.signin import SignedIn, SignInFailed
from ostiary.doctor.logs.collected import Collected, Counted
from ostiary.doctor.logs.formats import parse
from ostiary.doctor.logs.joining import Joiner
from ostiary.doctor.logs.outlived import outlived
from ostiary.doctor.logs.pattern import Found, Pattern, compiled, expanded
from ostiary.doctor.logs.patterns import PATTERNS
from ostiary.doctor.logs.record import Record
from ostiary.model import limits

_ENOUGH: Final = 200
"""After so many equal messages with equal facts, one more is counted and not looked at again."""
_AUTOMATON_BYTES: Final = 32 * 1024 * 1024
"""RE2's bound for an automaton, four times its default: a set of words that meets it finds nothing, silently."""
_TAGS_END: Final = b'"] '
_GOES_ON: Final = ("{", ",", ":", "(", "[", "Unauthorized", "Request")
"""How a line without a format ends whose record goes on in the next."""


class Words(NamedTuple):
    """What to look for in bytes, compiled once."""

    telling: Any
    """A line with one of these gives facts."""
    any: Any
    """These, and the lines that belong to them."""
    which: Any
    """The set of all words: which of them are in a line."""
    owners: Sequence[int]
    """The pattern of each word of the set."""
    patterns: Sequence[tuple[Pattern, Any]]


def _options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _AUTOMATON_BYTES
    return options


def _union(words: Iterable[str]) -> Any:
    return re2.compile("|".join(f"(?:{expanded(word)})" for word in words).encode(), _options())


@cache
def words() -> Words:
    """The words of all patterns; compiled at the first log."""
    which, owners = re2.Set.SearchSet(_options()), []
    for index, pattern in enumerate(PATTERNS):
        for word in pattern.words:
            which.Add(expanded(word).encode())
            owners.append(index)
    which.Compile()
    return Words(
        telling=_union(word for pattern in PATTERNS if not pattern.context for word in pattern.words),
        any=_union(word for pattern in PATTERNS for word in pattern.words),
        which=which,
        owners=owners,
        patterns=[(pattern, compiled(pattern.expression, simple=pattern.context)) for pattern in PATTERNS],
    )


@final
class Examiner:
    """Reads lines of one log into facts."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._words = words()
        self._join = Joiner()
        self._collected = Collected()
        self._repeated: dict[str, tuple[list[int], list[Counted]]] = {}
        self._usual: dict[bytes, list[Counted]] = {}
        self._hosts: set[str] = set()
        """Whose sign-ins an access log has: one's success says nothing about another's provider."""
        self.formats: Counter[str] = Counter()

    def look(self, line: bytes, number: int, following: Callable[[], tuple[str, ...]] = tuple) -> None:
        """One line that has some pattern's word."""
        usual = self._usual.get(_behind_tags(line))
        if usual is not None:
            for each in usual:
                each.once_more(line)
            return
        found = self._words.which.Match(line)
        if not found:
            return
        record = parse(line.decode("utf-8", "replace"), number)
        record.following = following
        self.formats[record.format] += 1
        wanted = [self._words.patterns[index] for index in sorted({self._words.owners[word] for word in found})]
        counted = [self._collected.add(fact) for fact in self._facts(record, wanted)]
        if record.access and len(self._hosts) < limits.MAX_LOG_FACTS and any(map(_of_sign_in, counted)):
            self._hosts.add(record.access.get("authority", ""))
        if counted and not any(pattern.joins or pattern.whole for pattern, _ in wanted):
            self._remember(line, record.message, [each for each in counted if each is not None])

    def _facts(self, record: Record, wanted: Iterable[tuple[Pattern, Any]]) -> Iterable[Fact]:
        for pattern, expression in wanted:
            match = expression.search(_text(record, pattern))
            if match is None or (not pattern.plain and record.format == "text" and match.start() != 0):
                continue
            yield from pattern.facts(Found(match.groupdict(), record, self._join, self._source)) or ()

    def _remember(self, line: bytes, message: str, counted: list[Counted]) -> None:
        """What a message gave; from some number on lines that end like this one are counted, and not taken apart."""
        times, before = self._repeated.get(message, ([0], counted))
        if [*map(id, before)] != [*map(id, counted)]:
            times = [0]
        times[0] += 1
        if len(self._repeated) >= limits.MAX_JOINED:
            self._repeated.clear()
            self._usual.clear()
        self._repeated[message] = times, counted
        if times[0] >= _ENOUGH:
            self._usual[_behind_tags(line)] = counted

    def finish(self) -> list[Fact]:
        """The facts, with those that only the end of the log decides."""
        for fact in self._join.finish():
            self._collected.add(fact)
        facts = self._collected.facts()
        several = len(self._join.token_clusters) > 1 or len(self._hosts) > 1
        return facts if several else outlived(facts)

    @property
    def left_out(self) -> int:
        """Lines whose fact was one too many."""
        return self._collected.left_out


def _of_sign_in(counted: Counted | None) -> bool:
    return counted is not None and isinstance(counted.fact, SignedIn | SignInFailed)


def _behind_tags(line: bytes) -> bytes:
    """The part of Envoy's line that is the same for each request: behind the tags. All of a line without tags."""
    at = line.find(_TAGS_END)
    return line[at + len(_TAGS_END) :] if at >= 0 else line


def _text(record: Record, pattern: Pattern) -> str:
    if not pattern.whole or (record.format == "text" and not record.message.rstrip().endswith(_GOES_ON)):
        return record.message
    return "\n".join((record.message, *record.rest))[: limits.MAX_LOG_LINE_BYTES]
