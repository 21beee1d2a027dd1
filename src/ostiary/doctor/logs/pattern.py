"""What a pattern is: words that lead to a line, an expression that has to match its message, and the facts it gives.

Expressions are RE2's, so that no line can take long. A blank in an expression or in words stands for any run of blanks
or `_`: protobuf's errors have random blanks, access logs write `_` for each, and pasted logs are wrapped anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2

from ostiary.core.log_redaction import redacted
from ostiary.core.redaction import without_tokens
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.logs.joining import Joiner
from ostiary.doctor.logs.record import Record
from ostiary.model import limits

_BLANKS: Final = {" ": r"[\s_]+", " ?": r"[\s_]*"}
_CLASS_OR_BLANK: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]| \??")


def expanded(expression: str) -> str:
    """With blanks as any blanks, except within a class of characters."""
    return _CLASS_OR_BLANK.sub(lambda found: _BLANKS.get(found[0], found[0]), expression)


def compiled(expression: str, *, simple: bool = False) -> Any:
    """An RE2 program for text. Raises re2.error for a bad expression.

    A simple one begins at the start and can't go back far: Python's own `re` is as safe there, and a fifth of the time.
    """
    if simple and expression.startswith("^"):
        return re.compile(expanded(expression), re.DOTALL)
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    return re2.compile(expanded(expression), options)


@lru_cache(maxsize=256)
def quote_of(message: str) -> str:
    """A message as a proof shows it: without secrets, on one line, not too long."""
    shown = without_tokens(redacted(" ".join(message.split())))
    return shown if len(shown) <= limits.MAX_QUOTE else shown[: limits.MAX_QUOTE - 1] + "…"


@dataclass(frozen=True, slots=True)
class Found:
    """A pattern in a record."""

    groups: Mapping[str, str]
    record: Record
    join: Joiner
    source: str

    def __getitem__(self, name: str) -> str:
        """The text of a group; empty if it took no part."""
        return self.groups.get(name) or ""

    @property
    def origin(self) -> Origin:
        """Where it was said."""
        record = self.record
        message = record.message
        if record.access.get("path"):
            entry = record.access
            message = f"{entry.get('method')} {entry['path']} {entry.get('response_code')} {message}"
        return Origin(kind="log", source=self.source, quote=quote_of(message), line=record.line, when=record.when)

    @property
    def target(self) -> str:
        """The cluster of the token call that this is about; empty if not known."""
        return self.join.token_target(self.record)

    @property
    def who(self) -> str:
        """The program that wrote it; Envoy where a line has no format."""
        return self.record.program or "envoy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One wording, and what it means."""

    words: tuple[str, ...]
    """Each an RE2 expression without a capture; a line that has one of them is looked at."""
    expression: str
    """Searched in the message, with named groups."""
    facts: Callable[[Found], Iterable[Fact] | None]
    context: bool = False
    """Says something only about other lines: looked for near those, not everywhere."""
    joins: bool = False
    """What it says depends on other lines, or other lines on it: equal messages may mean different things."""
    whole: bool = False
    """Searched in the lines that follow the record's first, too."""
    plain: bool = True
    """May stand anywhere in a line of no known format. False for words that people use too: there only at its start."""
