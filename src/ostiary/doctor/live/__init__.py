"""A running Envoy or Ostiary, asked through its admin API: documents are fetched, then read into facts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.configuration.walk import Walked
from ostiary.doctor.configuration.walk import text as text_of
from ostiary.doctor.facts.configuration import ClusterSeen, OAuth2Seen
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.live.certificates import certificate_facts
from ostiary.doctor.live.configuration import differences, running
from ostiary.doctor.live.fetch import Documents, fetch
from ostiary.doctor.live.flights import flight_facts
from ostiary.doctor.live.state import state_facts
from ostiary.doctor.live.traffic import traffic_facts
from ostiary.doctor.report import Evidence, Found
from ostiary.net.admin_client import AdminClient

_VERSION: Final = re.compile(rb'"version": ?"([^"]{1,200})"')
"""In /server_info, of whose hundred kilobytes nothing else is of interest."""


async def look(client: AdminClient, written: Walked, tell: Callable[[str, str], None]) -> Found:
    """One admin API's facts. `written` is what configuration files say, to be compared with what runs."""
    tell(client.where, "asking the admin API")
    documents = await fetch(client)
    found = read(documents, written, datetime.now(UTC))
    return Found(found.facts, [_evidence(documents, found.facts)], texts=found.texts)


def read(documents: Documents, written: Walked, now: datetime | None = None) -> Found:
    """Everything that the documents say; without `now` nothing of certificates that expire. Pure."""
    facts: list[Fact] = [*state_facts(documents)]
    live = running(documents, {text_of(seen.node, "name") for seen in written.clusters})
    facts += live.facts
    clusters = [fact for fact in live.facts if isinstance(fact, ClusterSeen)]
    facts += traffic_facts(documents, clusters, [fact for fact in live.facts if isinstance(fact, OAuth2Seen)])
    facts += flight_facts(documents)
    if now is not None:
        facts += certificate_facts(documents, now)
    if "cluster_dump" in documents.bodies:
        facts += differences(written, live.walked, Case(facts))
    return Found(facts, texts=live.texts)


def _evidence(documents: Documents, facts: list[Fact]) -> Evidence:
    said = _VERSION.search(documents.bodies.get("server_info", b""))
    whole = said[1].decode("utf-8", "replace") if said is not None else ""
    version = whole.split("/")
    filters = sum(isinstance(fact, OAuth2Seen) for fact in facts)
    clusters = sum(isinstance(fact, ClusterSeen) and fact.for_provider for fact in facts)
    told = (
        documents.problem
        or f"{documents.state or 'no answer'}, {filters} sign-in filters, {clusters} clusters of providers"
    )
    details = {"version": version[1] if len(version) > 1 else whole, "state": documents.state}
    return Evidence(kind="admin", source=documents.source, summary=told, details=details)
