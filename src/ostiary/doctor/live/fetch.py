"""The documents that an examination needs of one admin API, all asked for at once.

A document that is not to be had (an older Envoy, a path that is forbidden, a time-out) is missing and no more: the rest
still tells something. Dumps are asked for by section, because the whole of a large mesh's is a hundred megabytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ostiary.doctor.live.plain import items, load
from ostiary.net.admin_client import AdminClient, AdminError

_COUNTERS: Final = (
    "upstream_cx_connect_fail|upstream_cx_connect_timeout|upstream_cx_none_healthy|upstream_cx_overflow|"
    "upstream_cx_protocol_error|upstream_cx_total|upstream_cx_destroy_remote_with_active_rq|upstream_rq_pending_overflow|upstream_rq_timeout|upstream_rq_[45]..|"
    "upstream_rq_[45]xx|update_failure|ssl[.](connection_error|fail_verify_error|fail_verify_san|handshake)"
)
_FILTERS: Final = "[.]oauth_|[.]ext_authz[.](error|ok|timeout)$"
_UPDATES: Final = "(listener_manager[.]lds|cluster_manager[.]cds)[.]update_(rejected|failure|success)"
PATHS: Final[Mapping[str, str]] = {
    "ready": "/ready",
    "server_info": "/server_info",
    "init_dump": "/init_dump",
    "clusters": "/clusters?format=json",
    "cluster_dump": "/config_dump?mask=static_clusters,dynamic_active_clusters,dynamic_warming_clusters",
    "listener_dump": "/config_dump?mask=static_listeners,dynamic_listeners",
    "secret_dump": "/config_dump?mask=static_secrets,dynamic_active_secrets,dynamic_warming_secrets",
    "stats": f"/stats?format=json&usedonly&filter=({_FILTERS}|^{_UPDATES}$|^cluster[.].*[.]({_COUNTERS})$)",
    "certs": "/certs",
    "flights": "/flights?format=json&outcome=problem&limit=50",
    "signed_in": "/flights?format=json&outcome=signed-in&limit=1",
}
"""Name -> path with its query."""
_OF_EVERY_ENVOY: Final = "ready"
"""If not even this is answered, nothing is there."""


@dataclass(frozen=True)
class Documents:
    """What one admin API said."""

    source: str
    bodies: Mapping[str, bytes]
    """Name -> body, of those that were answered with 200 (`ready` with any status)."""
    problem: str = ""
    """Why nothing was to be had at all."""
    _parsed: dict[str, Any] = field(default_factory=dict)

    def counters(self) -> Mapping[str, int]:
        """What /stats counts, zeros left out."""
        if "counters" not in self._parsed:
            listed = items(self.parsed("stats"), "stats")
            pairs = ((each.get("name"), each.get("value")) for each in listed)
            self._parsed["counters"] = {name: value for name, value in pairs if value and isinstance(value, int)}
        found: Mapping[str, int] = self._parsed["counters"]
        return found

    @property
    def state(self) -> str:
        """`LIVE`, or what /ready says instead."""
        return self.bodies.get("ready", b"").decode("utf-8", "replace").split("\n", 1)[0].strip()

    def parsed(self, name: str) -> Any:
        """A document as plain data; None if it isn't there, or no JSON. Each is read once."""
        if name not in self._parsed:
            self._parsed[name] = load(self.bodies.get(name))
        return self._parsed[name]


async def fetch(client: AdminClient) -> Documents:
    """Everything from one admin API. Never raises for what it answers."""
    names = list(PATHS)
    answers = await asyncio.gather(*(_one(client, name) for name in names))
    bodies = {name: body for name, (body, _) in zip(names, answers, strict=True) if body is not None}
    problem = "" if _OF_EVERY_ENVOY in bodies else answers[names.index(_OF_EVERY_ENVOY)][1]
    return Documents(client.where, bodies, problem)


async def _one(client: AdminClient, name: str) -> tuple[bytes | None, str]:
    try:
        answer = await client.request(PATHS[name])
    except AdminError as error:
        return None, str(error)
    if answer.status == 200 or name == _OF_EVERY_ENVOY:
        return answer.body, ""
    return None, f"{name} is answered with {answer.status}"
