"""What a proxy says of itself: ready or not, what it waits for, what it refused, which secrets have not come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.sidecar import NotReady, PlaceholderKeys, UpdateRejected, Warming
from ostiary.doctor.live.fetch import Documents
from ostiary.doctor.live.plain import items, text
from ostiary.doctor.logs.joining import What
from ostiary.doctor.logs.patterns.configuration import rejection

_PLACEHOLDER: Final = b"RXJyb3ItSXN0aW9kRmFpbGVkVG9GZXRjaEp3a3NVcmkt"
"""The modulus that istiod sends where it could not fetch keys: base64 of `Error-IstiodFailedToFetchJwksUri-`."""
_LIVE: Final = "LIVE"
_BEFORE_SECRETS: Final = "PRE_INITIALIZING"
"""The clusters are not there yet; secrets are asked for once they are."""
_DISCOVERIES: Final[tuple[tuple[str, What], ...]] = (
    ("listener_manager.lds", "listener"), ("cluster_manager.cds", "cluster"),
)  # fmt: skip
_MAX_REASON: Final = 400


def state_facts(documents: Documents) -> Iterator[Fact]:
    """The facts of /ready, /init_dump and the dumps' states."""
    source = documents.source
    if documents.problem:
        quote = " ".join(documents.problem.split())
        yield NotReady(origin=Origin(kind="admin", source=source, quote=quote), state="unreachable")
        return
    ready = documents.state
    if ready and ready != _LIVE:
        waits = tuple(_waits_for(documents.parsed("init_dump")))
        origin = Origin(kind="admin", source=f"{source}/ready", quote=ready)
        yield NotReady(origin=origin, state=ready, waits_for=waits)
    yield from _warming(documents)
    yield from _rejected(documents)
    if _PLACEHOLDER in documents.bodies.get("listener_dump", b""):
        origin = Origin(kind="admin", source=f"{source}/config_dump", quote="Error-IstiodFailedToFetchJwksUri-")
        yield PlaceholderKeys(origin=origin, issuer="")


def _waits_for(dump: Any) -> Iterator[str]:
    for manager in items(dump, "unready_targets_dumps"):
        names = manager.get("target_names")
        yield from (str(name) for name in names) if isinstance(names, list) else ()


def _warming(documents: Documents) -> Iterator[Fact]:
    clusters, secrets = (documents.parsed(name) for name in ("cluster_dump", "secret_dump"))
    for section in items(clusters, "configs"):
        for each in items(section, "dynamic_warming_clusters"):
            yield _warms(documents, "cluster", text(each, "cluster", "name"))
    early = documents.state == _BEFORE_SECRETS
    for section in items(secrets, "configs") if not early else ():
        for each in items(section, "dynamic_warming_secrets"):
            yield _warms(documents, "secret", text(each, "name"))
    for section in items(documents.parsed("listener_dump"), "configs"):
        for each in items(section, "dynamic_listeners"):
            if each.get("warming_state") and not each.get("active_state"):
                yield _warms(documents, "listener", text(each, "name"))


def _warms(documents: Documents, what: Any, name: str) -> Fact:
    quote = f"{what} {name} is warming: asked for, and not there yet"
    return Warming(
        origin=Origin(kind="admin", source=f"{documents.source}/config_dump", quote=quote), what=what, name=name
    )


def _rejected(documents: Documents) -> Iterator[Fact]:
    """A refused update is told twice, once without a name; its reason is the last line of the details."""
    found: dict[str, str] = {}
    for section in items(documents.parsed("listener_dump"), "configs"):
        for each in items(section, "dynamic_listeners"):
            state = each.get("error_state")
            details = text(state, "details")
            if details:
                name = text(each, "name") or text(state, "failed_configuration", "name")
                found.setdefault(name, _reason(details))
    for name, reason in found.items():
        origin = Origin(kind="admin", source=f"{documents.source}/config_dump", quote=f"listener {name}: {reason}")
        yield UpdateRejected(origin=origin, what="listener", name=name, reason=f"{reason.rstrip('.')}.")
        yield rejection(origin, reason)
    if not found:
        yield from _never_accepted(documents)


def _never_accepted(documents: Documents) -> Iterator[Fact]:
    """A whole update that can't be read leaves nothing but a counter: told while no other one was ever taken."""
    counted = documents.counters()
    for prefix, what in _DISCOVERIES:
        refused = {name: counted.get(f"{prefix}.{name}", 0) for name in ("update_rejected", "update_failure")}
        told = ", ".join(f"{prefix}.{name}: {count}" for name, count in refused.items() if count)
        if told and not counted.get(f"{prefix}.update_success"):
            origin = Origin(kind="admin", source=f"{documents.source}/stats", quote=told)
            reason = "No update was ever taken: each was refused or could not be read, and the log has the reason."
            yield UpdateRejected(origin=origin, what=what, name="", reason=reason)


def _reason(details: str) -> str:
    lines = [line.strip() for line in details.splitlines() if line.strip()]
    return " ".join(lines[-1].removeprefix(":").split())[:_MAX_REASON] if lines else ""
