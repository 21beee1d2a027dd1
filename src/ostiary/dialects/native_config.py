"""From the native document to the model: listeners, routes, the sign-in."""

from __future__ import annotations

from msgspec.structs import replace

from ostiary.core.decision import Entropy
from ostiary.dialects.native_access import read_sign_in
from ostiary.dialects.native_listeners import (
    is_private_to_this_machine,
    read_addresses,
    read_admin,
    read_http,
    read_tls,
)
from ostiary.dialects.native_reader import Section
from ostiary.dialects.native_telemetry import read_telemetry
from ostiary.dialects.native_upstreams import Clusters, read_routes
from ostiary.model import limits
from ostiary.model.clusters import CircuitBreakers
from ostiary.model.config import Config, Listener
from ostiary.model.signin import SignIn


def read_config(root: Section, entropy: Entropy) -> Config:
    """The whole configuration; what is wrong is in the report of `root`."""
    bounds = root.section("limits", "limits")
    connections = bounds.integer("upstream_connections", limits.MAX_UPSTREAM_CONNECTIONS, low=1, high=65_535)
    route_timeout = root.section("timeouts", "timeouts").duration("route", 0.0, off=True)
    addresses = read_addresses(root)
    loopback = all(is_private_to_this_machine(address) for address in addresses)
    clusters = Clusters(CircuitBreakers(max_connections=connections))
    hosts = read_routes(root, clusters, route_timeout)
    sign_in = read_sign_in(root, loopback=loopback, entropy=entropy)
    tracing, metrics = read_telemetry(root)
    http = replace(read_http(root, sign_in, hosts), tracing=tracing)
    tls = read_tls(root)
    _check_scheme(root, sign_in, secure=tls is not None or loopback)
    listeners = [
        Listener(name="ostiary" if number == 1 else f"ostiary_{number}", address=address, http=http, tls=tls)
        for number, address in enumerate(addresses, start=1)
    ]
    return Config(
        dialect="native",
        listeners=tuple(listeners),
        clusters=tuple(clusters.found),
        admin=read_admin(root),
        metrics=metrics,
    )


def _check_scheme(root: Section, sign_in: SignIn, *, secure: bool) -> None:
    """Over plain HTTP from other machines, browsers keep no Secure cookie, and a sign-in goes round in circles."""
    if secure or sign_in.external_url or root.has("trusted_hops"):
        return
    root.warning(
        "listen",
        "other machines reach this over plain http://, where browsers refuse the session's cookie",
        "set tls, or, behind something that ends TLS, external_url: https://… and trusted_hops: 1",
    )
