"""`upstream:` and `routes:` of the native dialect, as clusters and virtual hosts.

Each distinct upstream becomes one cluster. A name becomes LOGICAL_DNS, so that all its addresses of both families run
one race; several upstreams behind one route become STRICT_DNS (or STATIC), one endpoint each.

A route's `path` is a prefix at a segment boundary. Routes are tried in the order in which they are written,
`upstream` comes last. Routes that name a host are tried for that host only; Envoy picks a virtual host first and a
route second, so each named host gets a virtual host holding its own routes and those without a host, in the written
order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast, get_args
from urllib.parse import urlsplit

from msgspec.structs import replace

from ostiary.dialects.native_presets import is_ip
from ostiary.dialects.native_reader import Report, Section
from ostiary.dialects.native_values import Value
from ostiary.model import limits
from ostiary.model.clusters import CircuitBreakers, Cluster, ClusterType, DnsLookupFamily, Endpoint, Http2, LbPolicy
from ostiary.model.routes import RedirectAction, RegexRewrite, Route, RouteAction, RouteMatch, VirtualHost
from ostiary.model.tls import CertificateValidationContext, UpstreamTlsContext

_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?", re.ASCII)
_HOST_PATTERN: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)
_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/-]*", re.ASCII)
_HOST_MEND: Final = "write app.example.com or *.example.com, without port; leave it out for every host"
_EXAMPLE: Final = "write it as http://127.0.0.1:8080, https://app.internal or unix:/run/app.sock"
_SCHEMES: Final = ("http", "https", "h2c")
"""h2c is HTTP/2 without TLS: http with `http2`, as other proxies spell it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What one `upstream` stands for: its cluster and how the Host header reaches it."""

    cluster: str
    host_header: str
    """`client`, `upstream`, or a literal name."""


@dataclass(slots=True)
class Clusters:
    """The clusters so far; the same upstream written twice is one cluster, with one pool."""

    breakers: CircuitBreakers
    found: list[Cluster] = field(default_factory=list)

    def add(self, cluster: Cluster) -> str:
        """The name of an equal cluster that is there already, or of this one, added."""
        for known in self.found:
            if replace(known, name="") == cluster:
                return known.name
        name = "upstream" if not self.found else f"upstream_{len(self.found) + 1}"
        self.found.append(replace(cluster, name=name))
        return name


def parse_upstream(text: str) -> tuple[str, Endpoint] | str:
    """(The scheme, the endpoint) of an `http://`, `https://`, `h2c://` or `unix:` address, or what is wrong with it."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        return ("http", Endpoint(pipe=path)) if path.startswith("/") else "a Unix socket needs an absolute path"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "not an address"
    if parts.scheme not in _SCHEMES or not host:
        return "not an http://, https:// or unix: address"
    if parts.username is not None or parts.password is not None:
        return "an upstream's address must not carry credentials"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return "an upstream is a scheme, a host and a port, without a path"
    if not is_ip(host) and not _NAME.fullmatch(host):
        return "not a host name"
    if port == 0:
        return "port 0 can't be connected to"
    return parts.scheme, Endpoint(address=host, port=port or (443 if parts.scheme == "https" else 80))


def read_upstream(holder: Section, key: str, clusters: Clusters) -> Target | None:
    """Read one `upstream`: an address, a list of addresses, or a mapping with the details."""
    value = holder.get(key)
    if value is None or value.content is None:
        return None
    details = isinstance(value.content, Mapping)
    # An address alone reads as the mapping that has only `url`, so that there is one reader.
    mapped = value if details else Value({"urls": value}, value.file, value.line, value.column)
    section = Section(mapped, holder.at(key), "upstream", holder.report)
    items = section.items("url") + section.items("urls") if details else holder.items(key)
    if section.has("url") and section.has("urls"):
        section.error("urls", "both url and urls are given", "keep urls")
    if not items:
        section.error("url", "missing", _EXAMPLE)
        return None
    scheme, found = _endpoints(items, section)
    http2 = _http2(section, scheme)
    host_header = section.text("host_header", "client")
    if host_header not in ("client", "upstream") and not re.fullmatch(r"[A-Za-z0-9._:\[\]-]+", host_header):
        section.error("host_header", f"{host_header!r} can't be a Host header", "client, upstream, or a name")
    cluster = Cluster(
        name="",
        type=cluster_type(found),
        connect_timeout=section.duration("connect_timeout", limits.CONNECT_TIMEOUT, low=0.01),
        dns_lookup_family=cast(DnsLookupFamily, section.choice("dns_lookup_family", get_args(DnsLookupFamily), "ALL")),
        lb_policy=cast(LbPolicy, section.choice("balance", get_args(LbPolicy), "ROUND_ROBIN")),
        endpoints=found,
        transport_socket=_tls(section, found, scheme == "https", http2),
        http2=http2,
        idle_timeout=section.duration("idle_timeout", limits.UPSTREAM_IDLE_TIMEOUT, off=True) or None,
        circuit_breakers=clusters.breakers,
    )
    return Target(clusters.add(cluster), host_header) if found else None


def _endpoints(items: list[tuple[str, Value]], section: Section) -> tuple[str, tuple[Endpoint, ...]]:
    """(The scheme, the endpoints); whatever can't be read is reported and left out."""
    schemes: set[str] = set()
    endpoints: list[Endpoint] = []
    for path, item in items:
        if not isinstance(item.content, str):
            section.report.error(item, path, f"an address is needed, not {item.kind}", _EXAMPLE)
            continue
        parsed = parse_upstream(item.content)
        if isinstance(parsed, str):
            section.report.error(item, path, parsed, _EXAMPLE)
            continue
        schemes.add(parsed[0])
        endpoints.append(parsed[1])
    if len(schemes) > 1:
        found = " and ".join(f"{scheme}://" for scheme in sorted(schemes))
        section.report.error(section.value, section.path, f"{found} addresses behind one route", "use one scheme")
    return min(schemes, default="http"), tuple(endpoints)


def _http2(section: Section, scheme: str) -> Http2 | None:
    """Over TLS ALPN decides; without it HTTP/2 is spoken from the first byte, which the upstream must understand."""
    if scheme == "h2c" and section.has("http2") and not section.flag("http2", default=True):
        section.error("http2", "h2c:// is HTTP/2", "write http://, or leave this out")
    if section.flag("http2", default=scheme == "h2c"):
        return http2(tls=scheme == "https")
    return None


def http2(*, tls: bool) -> Http2:
    """HTTP/2 as an upstream speaks it."""
    return Http2(negotiate=tls, scheme_of_client=False)


def cluster_type(endpoints: tuple[Endpoint, ...]) -> ClusterType:
    """What kind of cluster an upstream is."""
    if all(e.pipe is not None or is_ip(e.address) for e in endpoints):
        return "STATIC"
    return "LOGICAL_DNS" if len(endpoints) == 1 else "STRICT_DNS"


def _tls(
    section: Section, endpoints: tuple[Endpoint, ...], tls: bool, http2: Http2 | None
) -> UpstreamTlsContext | None:
    if not tls:
        for key in ("ca_file", "verify", "server_name"):
            if endpoints and section.has(key):
                section.error(key, "an http:// upstream has no certificate", "use https://, or leave this out")
        return None
    verify = section.flag("verify", default=True)
    ca = section.file("ca_file")
    if not verify:
        if ca is not None:
            section.error("verify", "false makes ca_file useless", "keep one of them")
        section.warning("verify", "the application's certificate is not verified", "name its CA with ca_file")
    name = section.text("server_name")
    return UpstreamTlsContext(
        sni=name,
        auto_host_sni=not name and not any(is_ip(endpoint.address) for endpoint in endpoints),
        alpn_protocols=("h2", "http/1.1") if http2 is not None else (),
        validation_context=CertificateValidationContext(trusted_ca=ca, accept_untrusted=not verify),
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """One route as written, and the hosts it is for."""

    hosts: tuple[str, ...]
    route: Route


def read_routes(root: Section, clusters: Clusters, timeout: float) -> tuple[VirtualHost, ...]:
    """Read `routes` and `upstream`. `timeout` is what a route without its own gets; 0 is none."""
    default = read_upstream(root, "upstream", clusters)
    entries = [
        entry
        for path, item in root.items("routes")
        if (entry := _entry(Section(item, path, "routes", root.report), clusters, timeout)) is not None
    ]
    if default is not None:
        entries.append(_Entry((), Route(match=RouteMatch(prefix="/"), action=_action(default, timeout))))
    if not root.has("upstream") and not root.items("routes"):
        root.error("upstream", "missing", f"where is the application? {_EXAMPLE}")
    return tuple(_virtual_hosts(entries))


def _entry(section: Section, clusters: Clusters, default_timeout: float) -> _Entry | None:
    hosts = section.texts("host")
    for path, item in section.items("host"):
        if isinstance(item.content, str):
            check_host_pattern(item, path, section.report)
    path = section.text("path", "/")
    if problem := path_problem(path):
        section.error("path", *problem)
    timeout = section.duration("timeout", default_timeout, off=True)
    target = read_upstream(section, "upstream", clusters)
    redirect, rewrite = section.text("redirect"), section.text("rewrite")
    if section.has("upstream") == section.has("redirect"):
        section.error("upstream", "a route needs either upstream or redirect", _EXAMPLE)
        return None
    if rewrite and redirect:
        section.error("rewrite", "a redirect has nothing to rewrite", "leave it out")
    if rewrite and (problem := path_problem(rewrite)):
        section.error("rewrite", *problem)
    action: RouteAction | RedirectAction | None
    action = _redirect(section, redirect) if redirect else _action(target, timeout) if target else None
    if action is None:
        return None
    prefix = path.rstrip("/")
    if rewrite and isinstance(action, RouteAction):
        action = replace(action, regex_rewrite=rewrite_of(prefix, rewrite))
    match = RouteMatch(path_separated_prefix=prefix) if prefix else RouteMatch(prefix="/")
    return _Entry(tuple(host.lower() for host in hosts), Route(match=match, action=action))


def rewrite_of(prefix: str, replacement: str) -> RegexRewrite:
    """Replace the prefix. `/api` -> `/` must turn `/api/x` into `/x`, so the slash after the prefix goes along."""
    quoted = re.sub(r"[^A-Za-z0-9/_]", r"\\\g<0>", prefix)
    return RegexRewrite(pattern=f"^{quoted}/?", substitution=replacement.rstrip("/") + "/")


def _action(target: Target, timeout: float) -> RouteAction:
    literal = target.host_header not in ("client", "upstream")
    return RouteAction(
        cluster=target.cluster,
        timeout=timeout,
        auto_host_rewrite=target.host_header == "upstream",
        host_rewrite_literal=target.host_header if literal else None,
        append_x_forwarded_host=target.host_header != "client",
    )


def _redirect(section: Section, text: str) -> RedirectAction | None:
    """`/new` on the same host, or an absolute address without query."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    bad = parts.query or parts.fragment or parts.username is not None or "\\" in text or text.startswith("//")
    absolute = parts.scheme in ("http", "https") and host
    if bad or not (absolute or (text.startswith("/") and not parts.scheme)):
        section.error("redirect", "not a path and not an http(s) address", "write /new/place or https://host/place")
        return None
    if not absolute:
        return RedirectAction(path_redirect=text, response_code=302)
    return RedirectAction(
        scheme_redirect=parts.scheme,
        host_redirect=host,
        port_redirect=port,
        path_redirect=parts.path or None,
        response_code=302,
    )


def path_problem(path: str) -> tuple[str, str] | None:
    """What is wrong with a path in a rule or route, and the mend. It is compared with the normalised path only."""
    mend = "write it as it looks after normalising: /admin, without %, //, . or .."
    if not _PATH.fullmatch(path):
        return f"{path!r} is not a plain path", mend
    if "//" in path or any(segment in (".", "..") for segment in path.split("/")):
        return f"{path!r} is not normalised, so no request would match it", mend
    return None


def check_host_pattern(item: Value, path: str, report: Report) -> None:
    """A host of a rule or route: a name, or `*.name`."""
    if isinstance(item.content, str) and not _HOST_PATTERN.fullmatch(item.content.lower()):
        report.error(item, path, f"{item.content!r} is not a host", _HOST_MEND)


def _covers(pattern: str, host: str) -> bool:
    return pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _virtual_hosts(entries: list[_Entry]) -> Iterable[VirtualHost]:
    hosts = dict.fromkeys(host for entry in entries for host in entry.hosts)
    for number, host in enumerate([*hosts, "*"], start=1):
        routes = tuple(e.route for e in entries if not e.hosts or any(_covers(h, host) for h in e.hosts))
        if routes:
            yield VirtualHost(name="default" if host == "*" else f"host_{number}", domains=(host,), routes=routes)
