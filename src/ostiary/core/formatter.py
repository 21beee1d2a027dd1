"""Envoy's format strings (`%REQ(:METHOD)% took %DURATION%`), compiled once to functions of a `Record`.

Syntax: `%NAME%`, `%NAME(argument)%`, `%NAME(argument):max_length%`, and `%%` for a percent sign. What is missing
becomes `-`, or nothing with `omit_empty`. Control characters never survive: a format's output goes into header
fields and log lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final, final

from ostiary.core.operators import Field, Getter, Value, compile_operator, needs_response
from ostiary.core.record import Record
from ostiary.core.regex import wire_text
from ostiary.model import limits

_COMMAND: Final = re.compile(r"%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]{1,6}))?%", re.DOTALL)
_CONTROLS: Final = {code: f"\\x{code:02X}" for code in (*range(0x20), 0x7F)}
_QUOTED: Final = {code: f"\\x{code:02X}" for code in (*range(0x20), *range(0x7F, 0x100), ord('"'), ord("\\"))}
_HARMLESS: Final = bytes(code for code in range(0x100) if code not in _QUOTED)

Part = str | Getter


@final
class Format:
    """A compiled format string."""

    __slots__ = (
        "_fetch",
        "_getters",
        "_in_order",
        "_missing",
        "_others",
        "_own",
        "_template",
        "constant",
        "needs_response",
        "single",
        "source",
    )

    def __init__(self, source: str, parts: tuple[Part, ...], later: bool, omit_empty: bool) -> None:
        self.source = source
        self.needs_response = later
        """True if an operator has no value while there is only a request."""
        self._getters: tuple[Getter, ...] = tuple(part for part in parts if not isinstance(part, str))
        self._template = "".join(part.replace("%", "%%") if isinstance(part, str) else "%s" for part in parts)
        self._missing = "" if omit_empty else "-"
        text = "".join(part for part in parts if isinstance(part, str))
        self.constant: str | None = None if self._getters else text
        """The text, where no operator is in it."""
        self.single: Getter | None = self._getters[0] if len(parts) == 1 and self._getters else None
        """The only operator, where there is nothing else: its value keeps its type in a JSON log."""
        self._own = _wire(text).translate(None, _HARMLESS)
        """Quotes, line breaks and the like that are the format's own."""
        self._fetch, self._others, self._in_order = _grouped(self._getters)

    def render(self, record: Record) -> str:
        """The text for one exchange, without control characters."""
        if self.constant is not None:
            return self.constant
        missing = self._missing
        values = [missing if (value := getter(record)) is None else value for getter in self._getters]
        text = self._template % tuple(values)
        return text if text.isprintable() else text.translate(_CONTROLS)

    def render_line(self, record: Record) -> bytes:
        """Like `render`, for a log line: quotes, backslashes and all but visible ASCII in values become `\\xNN`.

        The format's own text is kept as it is, line breaks included.
        """
        missing = self._missing
        values: list[Value] = [value if value or value == 0 else missing for value in self._fetch(record)]
        values += [missing if (value := getter(record)) is None else value for getter in self._others]
        line = _wire(self._template % self._in_order(values))
        if line.translate(None, _HARMLESS) == self._own:
            return line
        return _wire(self._template % self._in_order([quote(str(value)) for value in values]))

    def __repr__(self) -> str:
        return f"<Format {self.source!r}>"


def _wire(text: str) -> bytes:
    return text.encode("latin-1", "backslashreplace")


def _grouped(
    getters: Sequence[Getter],
) -> tuple[Callable[[Record], tuple[Value, ...]], tuple[Getter, ...], Callable[[list[Value]], tuple[Value, ...]]]:
    """What fetches all plain fields at once, the other getters, and what puts the values of both into their order."""
    plain = [number for number, getter in enumerate(getters) if isinstance(getter, Field)]
    names = [getter.attribute for getter in getters if isinstance(getter, Field)]
    if len(names) < 2:  # attrgetter and itemgetter make a tuple of two or more
        return _nothing, tuple(getters), tuple
    rest = [number for number in range(len(getters)) if number not in plain]
    place = {number: at for at, number in enumerate((*plain, *rest))}
    fetch: Any = attrgetter(*names)
    in_order: Any = itemgetter(*(place[number] for number in range(len(getters))))
    return fetch, tuple(getters[number] for number in rest), in_order


def _nothing(_record: Record) -> tuple[Value, ...]:
    return ()


def quote(value: str) -> str:
    """A value that may stand between double quotes on a log line and can be read back."""
    return value.translate(_QUOTED)


def compile_format(source: str, *, omit_empty: bool = False, redact: bool = False) -> Format:
    """Compile a format string; `redact` for a log: headers with credentials are not written.

    Raises ValueError for bad syntax and, naming it and the nearest, an unknown operator.
    """
    if len(source) > limits.MAX_FORMAT_LENGTH:
        raise ValueError(f"a format string of {len(source)} characters (limit {limits.MAX_FORMAT_LENGTH})")
    parts: list[Part] = []
    text = ""
    later = False
    position = 0
    while position < len(source):
        start = source.find("%", position)
        if start < 0:
            text += source[position:]
            break
        text += source[position:start]
        if source.startswith("%%", start):
            text += "%"
            position = start + 2
            continue
        command = _COMMAND.match(source, start)
        if command is None:
            raise ValueError(f"format string {source!r}: no valid command at position {start} (a percent sign is %%)")
        if text:
            parts.append(wire_text(text))
            text = ""
        name, argument, max_length = command.groups()
        parts.append(compile_operator(name, argument, int(max_length) if max_length else None, redact=redact))
        later = later or needs_response(name)
        position = command.end()
    if text:
        parts.append(wire_text(text))
    return Format(source, tuple(parts), later, omit_empty)


__all__ = ["Format", "Record", "Value", "compile_format", "quote"]
