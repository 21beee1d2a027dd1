"""Facts that a configuration states, whether read from a file, a config_dump or a rejection in a log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.finding import Confidence, Edit, Severity, Where
from ostiary.model import limits
from ostiary.model.oauth2 import SdsSecret
from ostiary.model.signin import ClientAuthMethod
from ostiary.model.tls import DataSource, UpstreamTlsContext

ProblemKind = Literal[
    "unknown-field", "type-url", "type-missing", "invalid", "cluster-unknown", "extension-missing", "patch-crash",
    "patch-nothing", "filter-order", "fails-open", "redirect-uri-template", "redirect-scheme", "secret-missing",
    "secret-invalid", "tls-not-verified", "cookie-scope", "filter-fails-open", "jwt-issuer", "jwt-missing",
    "discovery-failed", "not-examined",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSeen(Fact):
    """A cluster that leads to a provider (or may)."""

    name: str
    hosts: tuple[str, ...]
    """Names or addresses, as written."""
    port: int
    type: str
    """Envoy's discovery type: `LOGICAL_DNS`, `STRICT_DNS`, `STATIC`, ...; `native` for Ostiary's own upstreams."""
    lookup_family: str
    """As it takes effect: `AUTO` where Envoy finds none written, `ALL` in Ostiary."""
    family_written: bool
    connect_timeout: float
    """Seconds."""
    tls: bool
    sni: str = ""
    has_ca: bool = False
    checks_name: bool = False
    http2: bool = False
    limits_tls: bool = False
    """TLS versions, ciphers or curves are chosen in `tls_params`."""
    for_provider: bool = True
    where: Where | None = None
    """The place of the cluster's mapping."""
    lookup_where: Where | None = None
    """The mapping that has (or would have) dns_lookup_family: the cluster's, or that of envoy.clusters.dns."""
    document: int = 0
    """Which document of the file."""
    tls_context: UpstreamTlsContext | None = None
    """The files, names and versions of its TLS, as far as they are understood."""
    dns_servers: tuple[tuple[str, int], ...] = ()
    """Who is asked for its names; empty: resolv.conf's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Seen(Fact):
    """Envoy's OAuth2 filter, or the native sign-in."""

    token_endpoint: str
    token_cluster: str
    authorization_endpoint: str
    redirect_uri: str
    scopes: tuple[str, ...]
    """As written; empty: Envoy asks for `user`."""
    has_config: bool = True
    """False: the filter lets everything pass."""
    issuer: str = ""
    where: Where | None = None
    document: int = 0
    client_id: str = ""
    client_secret: DataSource | SdsSecret | None = None
    """Where its secret is, if that is known; a file may be one of another host."""
    client_certificate: DataSource | None = None
    """Of the private key, where that is the secret."""
    auth_method: ClientAuthMethod = "auto"
    plain_http: bool = False
    """The redirect URI is judged by whoever read it: that it is http may be meant, or is told already."""
    preset: str = ""
    """The provider, where it is one that is known by name: `entra`, `auth0`, ..."""
    timeout: float = limits.PROVIDER_TIMEOUT
    """Seconds for one request to the provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationProblem(Fact):
    """Something that a configuration says can't work, or was refused."""

    kind: ProblemKind
    subject: str
    """The field, type, cluster or patch."""
    message: str
    mend: str = ""
    where: Where | None = None
    document: int = 0
    confidence: Confidence = "certain"
    """How sure it is that this is one: whether an anchor is there depends on objects that are not at hand."""
    edits: tuple[Edit, ...] = ()
    """What mends it in its file."""
    title: str = ""
    """What a finding calls it, where its rule's own words don't fit the program that reads this configuration."""
    severity: Severity = "error"
    rejected: bool = False
    """A running proxy refused it: the old configuration serves on, or nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChainSeen(Fact):
    """The HTTP filters of a listener, in their order."""

    listener: str
    filters: tuple[str, ...]
