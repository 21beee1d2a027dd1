"""All that is known of a target from one place, in the forms in which it is shown: JSON, and a line a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostiary.core.lookup_families import Forecast, Resolved, Verdict, has_route, took_ms
from ostiary.core.recommend import Recommendation
from ostiary.core.trace import Attempt, ConnectTrace
from ostiary.model.clusters import DnsLookupFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The five lookup families side by side."""

    target: str
    connect_timeout: float
    answers: tuple[Resolved, ...]
    probes: tuple[Attempt, ...]
    verdicts: tuple[Verdict, ...]
    traces: Mapping[DnsLookupFamily, ConnectTrace]
    recommendation: Recommendation

    def as_dict(self) -> dict[str, Any]:
        """The JSON document of `ostiary connect --families --json`."""
        advice = self.recommendation
        return {
            "target": self.target,
            "connect_timeout_ms": self.connect_timeout * 1000,
            "dns": [
                {
                    "type": answer.type,
                    "outcome": answer.outcome,
                    "answers": list(answer.addresses),
                    "elapsed_ms": round(answer.elapsed_ms, 3),
                }
                for answer in self.answers
            ],
            "addresses": [
                {
                    "address": probe.address,
                    "family": probe.family,
                    "ok": probe.outcome == "won",
                    "route": has_route(probe),
                    "elapsed_ms": round(took_ms(probe), 3),
                    "stage": probe.stage,
                    "errno": probe.errno,
                    "message": probe.message,
                }
                for probe in self.probes
            ],
            "families": {verdict.family: self._family(verdict) for verdict in self.verdicts},
            "recommended": {
                "dns_lookup_family": advice.dns_lookup_family,
                "first_address_family_version": advice.first,
                "reason": advice.reason,
                "warnings": list(advice.warnings),
                "yaml": advice.yaml,
            },
        }

    def _family(self, verdict: Verdict) -> dict[str, Any]:
        return {
            "asks": list(verdict.asked),
            "addresses": list(verdict.addresses),
            "dns_ms": None if verdict.dns_ms is None else round(verdict.dns_ms, 3),
            "logical_dns": _forecast(verdict.logical),
            "strict_dns": _forecast(verdict.strict),
            "ostiary": self.traces[verdict.family].as_dict(),
        }


def _forecast(forecast: Forecast) -> dict[str, Any]:
    winner = forecast.winner
    return {
        "fate": forecast.fate,
        "winner": winner.address if winner is not None else None,
        "elapsed_ms": None if forecast.elapsed_ms is None else round(forecast.elapsed_ms, 3),
        "response_flags": forecast.flags,
        "reason": forecast.reason,
        "dead_hosts": list(forecast.dead),
    }


def addresses_line(verdict: Verdict, arrow: str = "→") -> str:
    """What is asked for, and what comes of it, in the order of Envoy's race."""
    asked = " and ".join(verdict.asked)
    if len(verdict.asked) == 2 and verdict.family != "ALL":
        asked = f"{verdict.asked[0]} gives nothing, so {verdict.asked[1]}"
    return f"{asked} {arrow} {', '.join(verdict.addresses) or 'no address'}"


def trouble_line(verdict: Verdict) -> str:
    """Why requests fail with this lookup family; empty if none do."""
    if verdict.logical.fate == "fails":
        return verdict.logical.reason
    if verdict.strict.fate == "some requests fail":
        dead = len(verdict.strict.dead)
        return f"STRICT_DNS: {dead} of {len(verdict.addresses)} hosts fail with {verdict.strict.reason}"
    return ""


def footnotes(found: Comparison) -> list[str]:
    """What the table's words mean, as far as they stand in it."""
    notes = []
    if any(verdict.logical.fate == "fails" for verdict in found.verdicts):
        notes.append(
            "503 at the provider's cluster is a 401 (OAuth flow failed.) for who signs in with Envoy's filter."
        )
    silent = [answer.type for answer in found.answers if answer.outcome in ("timeout", "pending")]
    if silent:
        families = " and ".join(verdict.family for verdict in found.verdicts if verdict.dns_ms is None)
        notes.append(
            f"The {' and '.join(silent)} query is never answered. With {families} Envoy waits 5 s and more for it each "
            "time it resolves, and with its first listener until then."
        )
    return notes
