"""What is found in an oauth2-proxy's configuration, as facts: with the line, a proof without secrets, and the edit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ostiary.core.log_redaction import redacted
from ostiary.dialects.oauth2_proxy import Proxy
from ostiary.dialects.oauth2_proxy_values import Mistake, Setting
from ostiary.doctor.facts.configuration import ConfigurationProblem, ProblemKind
from ostiary.doctor.facts.origin import Origin
from ostiary.doctor.finding import Confidence, Edit, Severity, Where

_SHOWN: Final = 120
"""Characters of a value that a proof shows."""


def found(
    kind: ProblemKind,
    setting: Setting,
    message: str,
    *,
    mend: str = "",
    title: str = "",
    severity: Severity = "error",
    confidence: Confidence = "certain",
    line: int = 0,
    edit: tuple[str, str] | None = None,
) -> ConfigurationProblem:
    """A problem of one setting. `edit`: what stands in its line, and what should."""
    at = line or setting.line
    edits: tuple[Edit, ...] = ()
    if edit is not None:
        edits = (Edit(file=setting.file, path="", operation="text", line=at, key=edit[0], value=edit[1]),)
    return ConfigurationProblem(
        origin=Origin(kind="config", source=setting.file, line=at, quote=quoted(setting)),
        kind=kind, subject=setting.path, message=message, mend=mend, title=title, severity=severity,
        confidence=confidence, where=Where(file=setting.file, line=at, path=setting.path), edits=edits,
    )  # fmt: skip


def missing(proxy: Proxy, key: str, message: str, mend: str) -> ConfigurationProblem:
    """A problem of what is not there."""
    return ConfigurationProblem(
        origin=Origin(kind="config", source=proxy.file, line=proxy.line, quote=f"{proxy.name}: no {key}"),
        kind="invalid", subject=key, message=message, mend=mend,
        where=Where(file=proxy.file, line=proxy.line, path=key),
    )  # fmt: skip


def quoted(setting: Setting) -> str:
    """`key = value`, without what may be a secret."""
    value = setting.value
    if setting.option.secret:
        shown = "***"
    elif isinstance(value, bool):
        shown = str(value).lower()
    elif isinstance(value, tuple):
        shown = ", ".join(value)
    else:
        shown = "(not known here)" if value is None else str(value)
    shown = redacted(shown)
    return f"{setting.path} = {shown[:_SHOWN]}{'...' if len(shown) > _SHOWN else ''}"


def of_mistakes(proxy: Proxy) -> Iterator[ConfigurationProblem]:
    """What reading it has found."""
    for mistake in proxy.mistakes:
        yield _of(mistake)


def _of(mistake: Mistake) -> ConfigurationProblem:
    place = mistake.diagnostic
    message = f"{place.message[:1].upper()}{place.message[1:]}."
    title = ""
    if mistake.kind == "deprecated" or place.severity != "error":
        title = message.rstrip(".")
    subject = place.path or place.message
    if mistake.kind == "unknown":
        subject = place.path.rpartition(".")[2] or subject
        what, ends = next((told for sign, told in _KINDS.items() if subject.startswith(sign)))
        title = f"oauth2-proxy has no {what} {subject}{_BESIDE if place.message.endswith(_BESIDE) else ''}"
        message = ends if _PLAIN.fullmatch(place.message) else f"{message} {ends}"
    edits: tuple[Edit, ...] = ()
    if mistake.old:
        edits = (Edit(file=place.file, path="", operation="text", line=place.line, key=mistake.old, value=mistake.new),)
    return ConfigurationProblem(
        origin=Origin(kind="config", source=place.file, line=place.line, quote=place.message),
        kind="unknown-field" if mistake.kind == "unknown" else "invalid", subject=subject, message=message,
        mend=f"{place.mend[:1].upper()}{place.mend[1:]}." if place.mend else "", title=title, severity=place.severity,
        where=Where(file=place.file, line=max(place.line, 1), path=place.path), edits=edits,
    )  # fmt: skip


_BESIDE: Final = " beside --alpha-config"
_PLAIN: Final = re.compile(r"there is no \w+ '[^']*'(?:, and oauth2-proxy passes over it| beside --alpha-config)?")
"""A message that a title says as well."""
_REFUSES: Final = "It refuses to start with a name that it doesn't know."
_KINDS: Final = {
    "-": ("flag", _REFUSES),
    "OAUTH2_PROXY_": ("variable", "It passes over the variable, and what that was to set keeps its default."),
    "": ("key", _REFUSES),
}
"""By how a name begins: what it is, and what becomes of an unknown one."""


def address(url: str) -> SplitResult:
    """The parts of a URL; of what is none, nothing."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts
