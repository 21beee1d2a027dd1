"""Facts about TLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostiary.doctor.facts.origin import Fact

HandshakeFault = Literal[
    "untrusted-ca", "name-mismatch", "expired", "not-yet-valid", "version", "client-certificate", "unrecognized-name",
    "not-tls", "silent", "closed", "other",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeFailed(Fact):
    """TLS did not come up."""

    target: str
    """The cluster or `host:port`; empty where unknown."""
    fault: HandshakeFault
    detail: str = ""
    who: str = "envoy"
    for_provider: bool = True
    """False: with the application's upstream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeDone(Fact):
    """TLS came up."""

    target: str
    version: str = ""
    verified: bool | None = None
    """None: the source doesn't say."""
    names: tuple[str, ...] = ()
    not_after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateExpires(Fact):
    """A certificate that a proxy has loaded is about to expire, or has."""

    whose: str
    """Its names; where it has none, its file."""
    path: str
    is_ca: bool
    """One that others are verified by, not one of its own."""
    past: bool
    end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTextToTls(Fact):
    """Plain HTTP was sent to a port that speaks TLS."""

    target: str
