"""Regular expressions of users: RE2, as in Envoy, so that no pattern and no input can take more than linear time.

Text that came off the wire is `str` of latin-1 characters (one per byte); RE2 sees those bytes as UTF-8, as Envoy
does. A pattern is text and is compiled from its UTF-8 bytes.
"""

from __future__ import annotations

from typing import Any, Final, final

import re2

from ostiary.model import limits


def octets(text: str) -> bytes:
    """The bytes behind `text`: latin-1 off the wire, UTF-8 for text that never was there (a claim, a flag)."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def wire_text(text: str) -> str:
    """Configured text in the form in which it arrives off the wire: its UTF-8 bytes as latin-1 characters."""
    return text if text.isascii() else text.encode("utf-8").decode("latin-1")


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


_OPTIONS: Final = _options()


class BadRegex(ValueError):
    """A pattern that RE2 refuses; `reason` is RE2's."""

    def __init__(self, pattern: str, reason: str) -> None:
        super().__init__(f"regular expression {pattern!r}: {reason}")
        self.reason = reason


@final
class Regex:
    """One compiled RE2 pattern. Raises ValueError, naming the pattern, for one that RE2 refuses."""

    __slots__ = ("_program", "groups", "pattern")

    def __init__(self, pattern: str) -> None:
        if len(pattern) > limits.MAX_REGEX_LENGTH:
            raise ValueError(f"a regular expression of {len(pattern)} characters (limit {limits.MAX_REGEX_LENGTH})")
        try:
            self._program = re2.compile(pattern.encode("utf-8"), _OPTIONS)
        except re2.error as error:
            reason = error.args[0].decode("utf-8", "replace") if error.args else "invalid"
            raise BadRegex(pattern, reason) from None
        self.pattern = pattern
        self.groups: int = self._program.groups

    def fullmatch(self, text: str) -> bool:
        """True if the whole of `text` matches."""
        return self._program.fullmatch(octets(text)) is not None

    def search(self, text: str) -> bool:
        """True if some part of `text` matches."""
        return self._program.search(octets(text)) is not None

    def __repr__(self) -> str:
        return f"<Regex {self.pattern!r}>"


@final
class Substitution:
    """Replace every match: RE2's GlobalReplace, with `\\0` to `\\9` and `\\\\` in the replacement.

    Raises ValueError for a replacement that RE2 would refuse.
    """

    __slots__ = ("_parts", "_regex")

    def __init__(self, pattern: str, replacement: str) -> None:
        self._regex = Regex(pattern)
        self._parts = _parse_replacement(replacement, self._regex.groups)

    def replace_all(self, text: str) -> str:
        """`text` with every match replaced; `text` itself where there is none."""
        program = self._regex._program
        source = octets(text)
        out: list[bytes] = []
        position, last_end, replaced = 0, -1, False
        while position <= len(source):
            match = program.search(source, position)
            if match is None:
                break
            start, end = match.span()
            out.append(source[position:start])
            if start == end == last_end:  # RE2 allows no empty match right after a match
                out.append(source[position : position + 1])
                position += 1
                continue
            out.extend(part if isinstance(part, bytes) else match.group(part) or b"" for part in self._parts)
            position = last_end = end
            replaced = True
        if not replaced:
            return text
        out.append(source[position:])
        return b"".join(out).decode("latin-1")


def _parse_replacement(replacement: str, groups: int) -> tuple[bytes | int, ...]:
    parts: list[bytes | int] = []
    characters = iter(replacement)
    for character in characters:
        if character != "\\":
            parts.append(character.encode("utf-8"))
            continue
        escaped = next(characters, "")
        if escaped == "\\":
            parts.append(b"\\")
        elif escaped in tuple("0123456789"):
            if int(escaped) > groups:
                raise ValueError(f"substitution {replacement!r}: \\{escaped}, but the pattern has {groups} group(s)")
            parts.append(int(escaped))
        else:
            raise ValueError(f"substitution {replacement!r}: after a backslash comes a digit or a backslash")
    return tuple(parts)
