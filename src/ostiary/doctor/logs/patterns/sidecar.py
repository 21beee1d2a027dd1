"""What pilot-agent and Envoy say of start-up, readiness and secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.facts.configuration import ConfigurationProblem
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.sidecar import NotReady, Warming
from ostiary.doctor.logs.pattern import Found, Pattern


def _not_ready(found: Found) -> None:
    if "DRAINING" in found["why"]:
        found.join.ready(None)  # it was told to stop
    elif "terminated" not in found["why"]:
        found.join.ready(NotReady(origin=found.origin, state="INITIALIZING", waits_for=(found["why"][:200],)))


def _ready(found: Found) -> None:
    found.join.ready(None)


def _secret_timeout(found: Found) -> Iterator[Fact]:
    yield Warming(origin=found.origin, what="secret", name="")


def _unexpected(found: Found) -> Iterator[Fact]:
    yield Warming(origin=found.origin, what="secret", name=found["wanted"])
    yield ConfigurationProblem(
        origin=found.origin, kind="secret-missing", subject=found["wanted"],
        message=f"the file holds the secret {found['got']}, not {found['wanted']}", rejected=True,
    )  # fmt: skip


def _crash(found: Found) -> Iterator[Fact]:
    yield ConfigurationProblem(
        origin=found.origin, kind="patch-crash", subject=found["what"], message=found.origin.quote, rejected=True
    )


PATTERNS: Final = (
    Pattern(
        words=("Envoy proxy is NOT ready",),
        expression=r"Envoy proxy is NOT ready: (?P<why>.*)",
        facts=_not_ready,
        joins=True,
    ),
    Pattern(words=("Envoy proxy is ready",), expression=r"^Envoy proxy is ready", facts=_ready, joins=True),
    Pattern(
        words=("initial fetch timed out for",),
        expression=r"initial fetch timed out for \S+\.tls\.v3\.Secret",
        facts=_secret_timeout,
    ),
    Pattern(
        words=("Secret is not supplied by SDS",),
        expression="Secret is not supplied by SDS",
        facts=_secret_timeout,
    ),
    Pattern(
        words=("Unexpected SDS secret",),
        expression=r"Unexpected SDS secret \(expecting (?P<wanted>[^)]*)\): (?P<got>[\w.-]+)",
        facts=_unexpected,
    ),
    Pattern(
        words=(r"patch (?:\S+ )?caused panic",),
        expression=r"(?P<what>\w+) patch (?:[\w.-]*/[\w.-]* )?caused panic",
        facts=_crash,
    ),
    Pattern(
        words=("Observed a panic: &runtime.TypeAssertionError",),
        expression=r"Observed a panic: .*interface conversion: proto[\w.]+ is nil, not \*(?P<what>[\w.]*\.\w+)",
        facts=_crash,
    ),
)
