"""Request targets and paths: read once, normalised once.

Two readers of one path must not disagree about it, or a rule guards one path while the application serves another
(`/public/..%2fadmin`). So

- `split_target` takes the origin form and the absolute form of a target (RFC 9112 section 3.2) apart and refuses what
  is neither;
- `normalise` is Envoy's `normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action`, in Envoy's order
  (escaped slashes, dot segments, slashes), each of them optional, and normalise(normalise(x)) == normalise(x). For
  that, one thing differs from Envoy: `%2e%2e;x` is a dot segment like `..;x` (Envoy decodes it and leaves it);
- `strict` is for the native rules, which must hold for every reading an application may have of the raw path that
  goes upstream. `readings` lists them, the normal form first; a plain path has one. Servers agree neither on the order
  of decoding, merging slashes and removing dot segments (nginx merges first: `/public//../admin` is `/admin` there) nor
  on parameters (`/admin;x` is `/admin` in a servlet container). Where dot segments meet any of this, what comes out
  depends on the order, so such a path is refused; what is left is read in every way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from ostiary.model import limits

EscapedSlashes = Literal["KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"]

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_PLAIN: Final = b"/-._~!$&'()*+,;=:@ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPED: Final = frozenset('"<>^`{|}')
"""Visible characters that a canonical path carries percent-encoded."""
_ESCAPE: Final = re.compile("%([0-9a-fA-F]{2})")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_WRITTEN: Final = frozenset(_PLAIN.decode() + "\\")
_KEPT: Final = {"/": "\u2215", "\\": "\u29f5"}
"""Stand for a slash and a backslash that one server leaves escaped and the next may decode."""
_ESCAPED_AGAIN: Final = {"\u2215": "%2F", "\u29f5": "%5C"}
_MAX_READINGS: Final = 32
AMBIGUOUS: Final = "path_ambiguous"


class PathRejected(Exception):
    """A target or path that must not be served; the text says why, for the response code details."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """A path in normal form; `redirect`: send the client there (UNESCAPE_AND_REDIRECT found an escaped slash)."""

    path: str
    redirect: bool = False


@dataclass(frozen=True, slots=True)
class Strict:
    """A path as native rules see it."""

    path: str
    """The normal form: decoded slashes, no dot segments, no empty segments."""
    readings: tuple[str, ...]
    """Every form an application may understand the raw path as, `path` first. Access needs the consent of all."""


def split_target(target: str) -> tuple[str, str]:
    """(path, query without `?`) of a request target in origin form.

    `http(s)://authority/path` is accepted as well and yields its path. Raises PathRejected for anything else: the
    authority form (CONNECT), the asterisk form, a fragment, characters that are not visible ASCII, and targets beyond
    limits.MAX_URL_BYTES.
    """
    if len(target) > limits.MAX_URL_BYTES:
        raise PathRejected("target too long")
    if not (target.isascii() and target.isprintable()) or " " in target:
        raise PathRejected("target holds a character that is not visible ASCII")
    if "#" in target:
        raise PathRejected("target holds a fragment")
    if not target.startswith("/"):
        _, target = split_absolute(target)
    path, _, query = target.partition("?")
    return path, query


def split_absolute(target: str) -> tuple[str, str]:
    """(authority, target in origin form) of an absolute-form target. Raises PathRejected for any other form."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise PathRejected("target is neither a path nor an http URL")
    end = min((index for index in (rest.find("/"), rest.find("?")) if index >= 0), default=len(rest))
    authority, tail = rest[:end], rest[end:]
    if not authority or "@" in authority:
        raise PathRejected("target holds no host, or credentials")
    return authority, tail if tail.startswith("/") else f"/{tail}"


def normalise(
    path: str,
    *,
    normalize: bool = True,
    merge_slashes: bool = True,
    escaped_slashes: EscapedSlashes = "KEEP_UNCHANGED",
) -> Normalised:
    """The normal form of a path without query, by Envoy's three options.

    Raises PathRejected for a path that an option refuses.
    """
    if _is_plain(path):
        return Normalised(path)
    redirect = False
    if escaped_slashes != "KEEP_UNCHANGED" and "%" in path:
        unescaped = _unescape_slashes(path)
        if unescaped != path:
            if escaped_slashes == "REJECT_REQUEST":
                raise PathRejected("path holds an escaped slash")
            redirect = escaped_slashes == "UNESCAPE_AND_REDIRECT"
            path = unescaped
    if normalize:
        path = _canonical(path)
    if merge_slashes and "//" in path:
        path = _merge_slashes(path)
    return Normalised(path, redirect)


@lru_cache(maxsize=8)  # one request asks for the same path several times
def strict(path: str) -> Strict:
    """A raw path for native rules.

    Raises PathRejected for control characters (also those encoded, once or twice), broken percent-encoding, and a path
    that servers resolve to different places.
    """
    if is_plain(path):
        return Strict(path, (path,))
    if not path.startswith("/"):
        raise PathRejected("path does not start with a slash")
    _check_escapes(path)
    normal = normalise(path, escaped_slashes="UNESCAPE_AND_FORWARD").path
    if normal == "//":
        normal = "/"
    twice = _decode(_decode(path))
    if _CONTROL.search(twice):
        raise PathRejected("path holds an encoded control character")
    if _dot_segments(twice):
        found = _readings_with_dots(path, twice)
    else:
        found = _readings_without_dots(path)
    readings = dict.fromkeys((normal, path))
    for reading in found:
        readings[reading] = None
        if len(readings) > _MAX_READINGS:
            raise PathRejected(AMBIGUOUS)
    return Strict(normal, tuple(readings))


def is_plain(path: str) -> bool:
    """True if every server reads this path as it is written: no escape, parameter, backslash, `//` or `/.`."""
    return ";" not in path and _is_plain(path)


def has_escaped_slash(path: str) -> bool:
    """Whether it holds `%2F` or `%5C`."""
    return "%" in path and _unescape_slashes(path) != path


def _readings_with_dots(path: str, twice: str) -> Iterator[str]:
    """Only dot segments whose outcome doesn't depend on when a server removes them. Raises PathRejected for others."""
    once = _decode(path)
    if "//" in twice or any(character in twice for character in "\\;?#") or twice.count("/") != path.count("/"):
        raise PathRejected(AMBIGUOUS)
    counts = {_dot_segments(text) for text in (path, once, twice)} - {0}
    if len(counts) != 1:  # some are literal, others encoded: decoding between two removals changes what is removed
        raise PathRejected(AMBIGUOUS)
    for text, written in ((path, _as_it_is), (once, _encode), (twice, _encode)):
        resolved = _resolve(text)
        yield written(text)
        yield written(resolved)
        yield written(resolved.rstrip("/") or "/")


def _readings_without_dots(path: str) -> Iterator[str]:
    for raw in dict.fromkeys((path, _without_parameters(path))):  # servlet containers remove them before decoding
        yield from _ways(raw, _as_it_is)
        if "%" in raw:
            full, kept = _decode(raw), _decode_kept(raw)
            for text in dict.fromkeys((full, kept, _decode(full), _decode_kept(full), _decode_kept(kept))):
                yield from _ways(text, _encode)


def _ways(text: str, written: Callable[[str], str]) -> Iterator[str]:
    """A text with backslashes, what follows a decoded `?`, parameters and empty segments taken as servers may."""
    for slashed in dict.fromkeys((text, text.replace("\\", "/"))):
        for cut in dict.fromkeys((slashed, re.split("[?#]", slashed, maxsplit=1)[0])):
            for bare in dict.fromkeys((cut, _without_parameters(cut))):
                yield written(bare)
                if "//" in bare:
                    yield written(_merge_slashes(bare).replace("//", "/"))
                    yield written("/" + bare.lstrip("/"))


def _as_it_is(text: str) -> str:
    return text


def _decode(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text) if "%" in text else text


def _decode_kept(text: str) -> str:
    """Decoded but for slashes and backslashes."""
    if "%" not in text:
        return text

    def decoded(found: re.Match[str]) -> str:
        character = chr(int(found[1], 16))
        return _KEPT.get(character, character)

    return _ESCAPE.sub(decoded, text)


def _encode(text: str) -> str:
    """A decoded text as rules see it."""
    if text.isascii() and not text.encode("ascii").translate(None, _PLAIN):
        return text
    return "".join(c if c in _WRITTEN else _ESCAPED_AGAIN.get(c) or f"%{ord(c):02X}" for c in text)


def _without_parameters(path: str) -> str:
    if ";" not in path:
        return path
    return "/".join(segment.partition(";")[0] for segment in path.split("/"))


def _dot_segments(text: str) -> int:
    """How many segments any server could take for a dot segment."""
    if "/." not in (text := text.replace("\\", "/")):
        return 0
    return sum(re.split("[;?#]", segment, maxsplit=1)[0] in (".", "..") for segment in text.split("/"))


def _resolve(text: str) -> str:
    segments: list[str] = []
    parts = text.split("/")[1:]
    for part in parts:
        if part == "..":
            del segments[-1:]
        elif part != ".":
            segments.append(part)
    return "/" + "/".join(segments) + ("/" if segments and parts[-1] in (".", "..") else "")


def _is_plain(path: str) -> bool:
    """True if no option changes or refuses the path: the common case, in a few comparisons."""
    if path[:1] != "/" or "//" in path or "/." in path or not path.isascii():
        return False
    return not path.encode("ascii").translate(None, _PLAIN)


def _unescape_slashes(path: str) -> str:
    for escape, character in (("%2f", "/"), ("%2F", "/"), ("%5c", "\\"), ("%5C", "\\")):
        path = path.replace(escape, character)
    return path


def _merge_slashes(path: str) -> str:
    merged = "/".join(segment for segment in path.split("/") if segment)  # "//" stays "//", as in Envoy
    return f"{'/' if path.startswith('/') else ''}{merged}{'/' if path.endswith('/') else ''}"


def _canonical(path: str) -> str:
    """RFC 3986 section 6.2.2 as Envoy's URL library does it: backslashes are slashes, unreserved bytes are decoded."""
    if not path.startswith(("/", "\\")):
        raise PathRejected("path does not start with a slash")
    if not path.isascii() or not path.isprintable():
        raise PathRejected("path holds a character that is not printable ASCII")
    segments: list[str] = []
    last = ""
    for segment in _decode_unreserved(path).replace("\\", "/").split("/")[1:]:
        last = segment.partition(";")[0] if segment.startswith(".") else ""
        if last == "..":
            if segments:
                segments.pop()
        elif last != ".":
            segments.append(segment)
    if last in (".", ".."):
        segments.append("")
    return "/" + "/".join(segments)


def _decode_unreserved(path: str) -> str:
    """Percent-decode what needs no encoding, encode what does, and never let two steps make a new escape."""
    out: list[str] = []
    lone_percents: list[int] = []
    index = 0
    while index < len(path):
        character = path[index]
        if character == "%" and _is_escape(path[index + 1 : index + 3]):
            octet = int(path[index + 1 : index + 3], 16)
            if octet == 0:
                raise PathRejected("path holds an encoded NUL")
            decoded = chr(octet)
            out.append(decoded if decoded in _UNRESERVED else path[index : index + 3])
            index += 3
            continue
        if character == "%":
            lone_percents.append(len(out))
        out.append(f"%{ord(character):02X}" if character in _ESCAPED or character == " " else character)
        index += 1
    for position in lone_percents:
        if _is_escape("".join(out[position + 1 : position + 3])[:2]):
            out[position] = "%25"
    return "".join(out)


def _is_escape(digits: str) -> bool:
    return len(digits) == 2 and digits[0] in _HEX and digits[1] in _HEX


def _check_escapes(path: str) -> None:
    index = path.find("%")
    while index >= 0:
        digits = path[index + 1 : index + 3]
        if not _is_escape(digits):
            raise PathRejected("path holds a percent sign without two hexadecimal digits")
        octet = int(digits, 16)
        if octet < 0x20 or octet == 0x7F:
            raise PathRejected("path holds an encoded control character")
        index = path.find("%", index + 3)
