"""Whether requests may come, in Envoy's four states, and why not."""

from __future__ import annotations

from typing import Final, Literal

from ostiary.app.lifecycle import Doorkeeper

State = Literal["LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING"]
"""admin.v3.ServerInfo.State."""
STATES: Final[tuple[State, ...]] = ("LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING")
"""By their numbers, which `server.state` shows."""

LEAVES: Final = "this worker is about to end, others serve"
"""Why one worker drains whose process does not: nobody new comes to it."""


def state_of(worker: Doorkeeper) -> tuple[State, str]:
    """This worker's state, and why it isn't LIVE."""
    shared, runtime = worker.shared, worker.runtime
    if worker.stopping and worker.peers.count and not shared.is_ending:
        return "DRAINING", LEAVES
    if worker.stopping:
        return "DRAINING", "the process is about to end: running requests may finish"
    if shared.listeners_stopped:
        return "DRAINING", "its listeners are closed (/drain_listeners)"
    if shared.health_failed:
        return "DRAINING", "health checks were told to fail (/healthcheck/fail)"
    if shared.is_draining:
        return "DRAINING", "clients are told to leave (/drain_listeners?graceful)"
    if runtime is None:
        return "PRE_INITIALIZING", "it starts"
    if cold := [name for name, pool in runtime.clusters.items() if not pool.is_warm]:
        return "PRE_INITIALIZING", f"hosts are not known yet, or not checked: {', '.join(sorted(cold))}"
    if closed := [server.listener.name for server in worker.servers if not server.is_listening]:
        return "INITIALIZING", f"listeners are not open yet: {', '.join(closed)}"
    if unknown := [each.provider_name for each in runtime.sign_ins if not each.is_ready]:
        return "INITIALIZING", f"nothing is known of the provider yet: {', '.join(unknown)} (the log says why)"
    return "LIVE", ""
