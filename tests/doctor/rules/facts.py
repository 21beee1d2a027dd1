"""Facts for tests of rules, each from one line."""

from __future__ import annotations

import ipaddress
from typing import Any, Literal

from ostiary.core.trace import QueryOutcome
from ostiary.doctor.case import Case
from ostiary.doctor.diagnose import diagnose
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.connection import Attempted, RouteSeen
from ostiary.doctor.facts.dns import LookedUp
from ostiary.doctor.facts.origin import Fact, Kind, Origin
from ostiary.doctor.finding import Finding, Where
from ostiary.doctor.rules import all_rules

HOST = "login.example.com"
TARGET = f"{HOST}:443"
V4, V6 = "20.190.151.7", "2606:4700::6810:a016"


def origin(quote: str = "what it said", kind: Kind = "log") -> Origin:
    return Origin(kind=kind, source="sidecar.log", quote=quote, line=7)


def cluster(**changes: Any) -> ClusterSeen:
    """The incident's cluster: nothing is written about its lookup family."""
    settings: dict[str, Any] = {
        "name": "oauth", "hosts": (HOST,), "port": 443, "type": "LOGICAL_DNS", "lookup_family": "AUTO",
        "family_written": False, "connect_timeout": 10.0, "tls": True, "sni": HOST, "has_ca": True, "checks_name": True,
        "where": Where(file="envoyfilter.yaml", line=41, path="spec.configPatches[0].patch.value"),
    }  # fmt: skip
    return ClusterSeen(origin=origin("name: oauth", "config"), **{**settings, **changes})


def attempted(
    address: str, outcome: Literal["connected", "failed", "timeout", "started"], errno: str = "", **more: Any
) -> Attempted:
    family: Literal["v4", "v6"] = "v6" if ipaddress.ip_address(address).version == 6 else "v4"
    quote = f"{address} {outcome} {errno}"
    return Attempted(origin=origin(quote), address=address, port=443, family=family, outcome=outcome, errno=errno,
                     **{"target": TARGET, **more})  # fmt: skip


def looked_up(
    kind: Literal["A", "AAAA"], outcome: QueryOutcome, *answers: str, name: str = HOST, rcode: str = ""
) -> LookedUp:
    return LookedUp(origin=origin(f"{kind} {name} {outcome}", "probe"), name=name, type=kind, server="10.0.0.10:53",
                    outcome=outcome, rcode=rcode, answers=answers)  # fmt: skip


def route(family: Literal["v4", "v6"], *, ok: bool) -> RouteSeen:
    return RouteSeen(origin=origin(f"{family} route: {ok}", "probe"), family=family, ok=ok)


def find(*facts: Fact) -> list[Finding]:
    """What the doctor finds in these facts."""
    return diagnose(Case(facts), all_rules())


def names(*facts: Fact) -> list[str]:
    """The rules that find something, in order."""
    return [finding.rule for finding in find(*facts)]
