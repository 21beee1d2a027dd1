"""Envoy's OAuth2 filters and filter chains to facts."""

from __future__ import annotations

from collections.abc import Mapping as Mapping_
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from ostiary.dialects.yaml_nodes import Mapping, Node
from ostiary.doctor.configuration.walk import Seen, Walked, at, field, items, seconds, text
from ostiary.doctor.facts.configuration import ClusterSeen, FilterChainSeen, OAuth2Seen
from ostiary.doctor.facts.origin import Kind, Origin
from ostiary.doctor.finding import Where
from ostiary.model import limits
from ostiary.model.oauth2 import SdsSecret
from ostiary.model.secret import Secret
from ostiary.model.signin import ClientAuthMethod
from ostiary.model.tls import DataSource

_METHODS: Final[dict[str, ClientAuthMethod]] = {
    "BASIC_AUTH": "client_secret_basic", "PRIVATE_KEY_JWT": "private_key_jwt", "TLS_CLIENT_AUTH": "none",
}  # fmt: skip


def oauth2_fact(
    seen: Seen, kind: Kind = "config", source: str = "", secrets: Mapping_[str, Node] = MappingProxyType({})
) -> OAuth2Seen:
    """The fact of one OAuth2 filter. `secrets` are the static ones, by name."""
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
            quote=f"oauth2 filter: token_endpoint {endpoint or 'not written'}, redirect_uri "
            f"{text(config, 'redirect_uri') or 'not written'}"
            if written
            else "oauth2 filter without config",
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
        client_secret=_token_secret(config, secrets),
        auth_method=_METHODS.get(text(config, "auth_type").upper(), "client_secret_post"),
        timeout=seconds(at(config, "token_endpoint", "timeout"), limits.PROVIDER_TIMEOUT),
    )


def _token_secret(config: Node | None, secrets: Mapping_[str, Node]) -> SdsSecret | None:
    """Where the client's secret is: in a file, or among the static secrets; None where a server delivers it."""
    reference = at(config, "credentials", "token_secret")
    name = text(reference, "name")
    source = field(reference, "sds_config")
    path = text(source, "path_config_source", "path") or text(source, "path")
    if path:
        return SdsSecret(name=name, path=path)
    value = at(secrets.get(name), "generic_secret", "secret")
    inline = text(value, "inline_string")
    file = text(value, "filename")
    if inline:
        return SdsSecret(name=name, value=DataSource(inline=Secret(inline)))
    return SdsSecret(name=name, value=DataSource(filename=file)) if file else None


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


def for_providers(clusters: list[ClusterSeen], walked: Walked, oauth2: list[OAuth2Seen]) -> list[ClusterSeen]:
    """The clusters, each marked by whether it leads to a provider: a token endpoint's or one for keys.

    Where no filter is at hand that would say so (a cluster's patch alone), a cluster with a DNS name and TLS is.
    """
    named = {fact.token_cluster for fact in oauth2 if fact.token_cluster} | _of_keys(walked)
    if named:
        return [replace(cluster, for_provider=cluster.name in named) for cluster in clusters]
    return [replace(cluster, for_provider=cluster.tls or cluster.port == 443) for cluster in clusters]


def _of_keys(walked: Walked) -> set[str]:
    """Clusters from which jwt_authn fetches keys."""
    found: set[str] = set()
    for seen in walked.chains:
        for item in items(seen.node, "http_filters"):
            providers = at(item, "typed_config", "providers")
            for _, provider in providers if isinstance(providers, Mapping) else ():
                found.add(text(provider, "remote_jwks", "http_uri", "cluster"))
    return found - {""}
