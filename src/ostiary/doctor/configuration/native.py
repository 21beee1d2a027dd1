"""A configuration as Ostiary runs it (the native dialect, or any other once read) to facts.

Ostiary verifies certificates and races both address families unless told otherwise, so there is less to find than in
Envoy; what is left are hosts and endpoints to probe.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ostiary.core.log_redaction import redacted
from ostiary.doctor.configuration.filters import AUTH_METHODS
from ostiary.doctor.facts.configuration import ClusterSeen, OAuth2Seen
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.model import limits
from ostiary.model.clusters import Cluster
from ostiary.model.config import Config
from ostiary.model.oauth2 import OAuth2Config
from ostiary.model.signin import SignIn
from ostiary.model.tls import CertificateValidationContext, UpstreamTlsContext


def facts_of(config: Config, file: str) -> list[Fact]:
    """The providers and upstreams of a native configuration."""
    found: list[Fact] = []
    links = [link.config for listener in config.listeners for link in listener.http.http_filters]
    for sign_in in links:
        if isinstance(sign_in, SignIn):
            found += _provider(sign_in, file)
    envoys = [link for link in links if isinstance(link, OAuth2Config)]
    found += [_filter(each, file) for each in envoys]
    asked = {each.token_endpoint.cluster for each in envoys if each.token_endpoint is not None}
    found += [cluster_of(each, file, for_provider=each.name in asked) for each in config.clusters if each.endpoints]
    return found


def _filter(config: OAuth2Config, file: str) -> OAuth2Seen:
    endpoint = config.token_endpoint
    return OAuth2Seen(
        origin=Origin(kind="config", source=file, quote=f"oauth2 filter of client {config.credentials.client_id}"),
        token_endpoint=endpoint.uri if endpoint is not None else "",
        token_cluster=endpoint.cluster if endpoint is not None else "",
        authorization_endpoint=config.authorization_endpoint,
        redirect_uri=config.redirect_uri,
        scopes=config.auth_scopes,
        client_id=config.credentials.client_id,
        client_secret=config.credentials.token_secret,
        auth_method=AUTH_METHODS[config.auth_type],
        timeout=endpoint.timeout if endpoint is not None else limits.PROVIDER_TIMEOUT,
    )


def _provider(sign_in: SignIn, file: str) -> list[Fact]:
    provider = sign_in.provider
    where = provider.token_endpoint or provider.issuer
    parts = urlsplit(where)
    tls = parts.scheme == "https"
    cluster = ClusterSeen(
        origin=Origin(kind="config", source=file, quote=redacted(f"provider {where}")),
        name=parts.hostname or where,
        hosts=(parts.hostname,) if parts.hostname else (),
        port=parts.port or (443 if tls else 80),
        type="native",
        lookup_family="ALL",
        family_written=False,
        connect_timeout=provider.timeout,
        tls=tls,
        sni=parts.hostname or "",
        has_ca=True,
        checks_name=True,
        tls_context=UpstreamTlsContext(validation_context=CertificateValidationContext(trusted_ca=provider.ca)),
        dns_servers=provider.dns_resolvers,
    )
    seen = OAuth2Seen(
        origin=Origin(kind="config", source=file, quote=redacted(f"issuer {provider.issuer}")),
        token_endpoint=provider.token_endpoint or "",
        token_cluster=cluster.name,
        authorization_endpoint=provider.authorization_endpoint or "",
        redirect_uri=f"{sign_in.external_url}{sign_in.prefix}/callback" if sign_in.external_url else "",
        scopes=tuple(provider.scopes),
        issuer=provider.issuer,
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        client_certificate=provider.client_certificate,
        auth_method=provider.client_auth_method,
        preset=provider.preset,
        timeout=provider.timeout,
    )
    return [cluster, seen]


def cluster_of(cluster: Cluster, file: str, *, for_provider: bool = False) -> ClusterSeen:
    """The fact of one cluster as it runs."""
    endpoint = cluster.endpoints[0]
    tls = cluster.transport_socket
    return ClusterSeen(
        origin=Origin(kind="config", source=file, quote=f"{'provider' if for_provider else 'upstream'} {cluster.name}"),
        name=cluster.name,
        hosts=(endpoint.address,) if endpoint.address else (),
        port=endpoint.port,
        type=cluster.type,
        lookup_family=cluster.dns_lookup_family or "ALL",
        family_written=cluster.dns_lookup_family is not None,
        connect_timeout=cluster.connect_timeout,
        tls=tls is not None,
        sni=(tls.sni or "") if tls is not None else "",
        has_ca=True,
        checks_name=True,
        for_provider=for_provider,
        tls_context=tls,
        dns_servers=cluster.dns_resolvers,
    )
