"""Envoy's OAuth2 filters and filter chains to facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ostiary.core.log_redaction import redacted
from ostiary.dialects.yaml_nodes import Mapping, Node
from ostiary.doctor.configuration.walk import Seen, Walked, at, field, items, seconds, text
from ostiary.doctor.facts.configuration import ClusterSeen, FilterChainSeen, OAuth2Seen
from ostiary.doctor.facts.origin import Kind, Origin
from ostiary.doctor.finding import Where
from ostiary.model import limits
from ostiary.model.oauth2 import SdsSecret
from ostiary.model.signin import ClientAuthMethod

AUTH_METHODS: Final[dict[str, ClientAuthMethod]] = {
    "URL_ENCODED_BODY": "client_secret_post", "BASIC_AUTH": "client_secret_basic",
    "PRIVATE_KEY_JWT": "private_key_jwt", "TLS_CLIENT_AUTH": "none",
}  # fmt: skip


def oauth2_fact(seen: Seen, kind: Kind = "config", source: str = "") -> OAuth2Seen:
    """The fact of one OAuth2 filter."""
    config = field(seen.node, "config")
    scopes = tuple(scope for item in items(config, "auth_scopes") if (scope := text(item) or _plain(item)))
    endpoint = text(config, "token_endpoint", "uri")
    written = isinstance(config, Mapping) and len(config) > 0
    place = config if isinstance(config, Mapping) else seen.node
    return OAuth2Seen(
        origin=Origin(
            kind=kind,
            source=source or seen.node.file,
            line=place.line if kind == "config" else 0,
            quote=redacted(
                f"oauth2 filter: token_endpoint {endpoint or 'not written'}, redirect_uri "
                f"{text(config, 'redirect_uri') or 'not written'}"
                if written
                else "oauth2 filter without config"
            ),
        ),
        token_endpoint=endpoint,
        token_cluster=text(config, "token_endpoint", "cluster"),
        authorization_endpoint=text(config, "authorization_endpoint"),
        redirect_uri=text(config, "redirect_uri"),
        scopes=scopes,
        has_config=written,
        where=Where(file=place.file, line=place.line, path=f"{seen.path}.config") if kind == "config" else None,
        document=seen.document,
        client_id=text(config, "credentials", "client_id"),
        client_secret=_token_secret(config),
        auth_method=AUTH_METHODS.get(text(config, "auth_type").upper(), "client_secret_post"),
        timeout=seconds(at(config, "token_endpoint", "timeout"), limits.PROVIDER_TIMEOUT),
    )


def _token_secret(config: Node | None) -> SdsSecret | None:
    """Where the client's secret is: in a file; None where a server delivers it, or it is static."""
    reference = at(config, "credentials", "token_secret")
    source = field(reference, "sds_config")
    path = text(source, "path_config_source", "path") or text(source, "path")
    return SdsSecret(name=text(reference, "name"), path=path) if path else None


def _plain(item: object) -> str:
    found = getattr(item, "text", "")
    return found if isinstance(found, str) else ""


def chain_fact(seen: Seen, kind: Kind = "config", source: str = "") -> FilterChainSeen:
    """The order of the HTTP filters of one connection manager."""
    names = tuple(text(item, "name") for item in items(seen.node, "http_filters"))
    listener = text(seen.node, "stat_prefix") or seen.path
    return FilterChainSeen(
        origin=Origin(
            kind=kind,
            source=source or seen.node.file,
            line=seen.node.line if kind == "config" else 0,
            quote=f"HTTP filters: {', '.join(names)}",
        ),
        listener=listener,
        filters=names,
    )


def for_providers(
    clusters: list[ClusterSeen], walked: Walked, oauth2: list[OAuth2Seen], *, whole: bool = False
) -> list[ClusterSeen]:
    """The clusters, each marked by whether it leads to a provider: a token endpoint's or one for keys.

    Where no filter is at hand that would say so (a cluster's patch alone), a cluster with a DNS name and TLS is; not in
    a `whole` configuration, whose listeners are all there is.
    """
    named = {fact.token_cluster for fact in oauth2 if fact.token_cluster} | key_clusters(walked)
    if named or whole:
        return [replace(cluster, for_provider=cluster.name in named) for cluster in clusters]
    return [replace(cluster, for_provider=cluster.tls or cluster.port == 443) for cluster in clusters]


def token_clusters(walked: Walked) -> set[str]:
    """Clusters of token endpoints."""
    return {text(seen.node, "config", "token_endpoint", "cluster") for seen in walked.oauth2} - {""}


def key_clusters(walked: Walked) -> set[str]:
    """Clusters from which jwt_authn fetches keys, and which ext_authz asks."""
    found: set[str] = set()
    for seen in walked.chains:
        for item in items(seen.node, "http_filters"):
            found.add(text(item, "typed_config", "http_service", "server_uri", "cluster"))
            providers = at(item, "typed_config", "providers")
            for _, provider in providers if isinstance(providers, Mapping) else ():
                found.add(text(provider, "remote_jwks", "http_uri", "cluster"))
    return found - {""}
