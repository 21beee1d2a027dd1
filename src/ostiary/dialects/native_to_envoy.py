"""A native configuration as Envoy can run it: the sign-in filter becomes an OAuth2 filter and its cluster.

Envoy's filter signs users in and nothing more. It verifies no ID token, knows no access rules and sets no identity
headers: all of that is told as lost. The headers that Ostiary would have removed from what clients send are removed in
the routes, so that an application that trusts them isn't fooled; and because many read `X_Forwarded_User` as the same
header, none with an underscore gets by.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from msgspec.structs import replace

from ostiary.core.addresses import is_ip_address
from ostiary.core.oauth2.identity import identity_headers
from ostiary.core.oidc import ProviderMetadata
from ostiary.dialects.envoy_sign_in import TRUSTED_CA, SignInChoices, filter_config, token_cluster, url_cluster
from ostiary.dialects.envoy_text_values import PLACEHOLDER
from ostiary.dialects.lost import lost
from ostiary.dialects.native_upstreams import http2
from ostiary.model.clusters import Cluster
from ostiary.model.config import Config, HttpConnectionManager, HttpFilter, Listener
from ostiary.model.errors import Diagnostic
from ostiary.model.matchers import StringMatcher
from ostiary.model.oauth2 import AuthType, EnvoyOAuth2, SameSite, SdsSecret
from ostiary.model.signin import AccessRule, ProviderConfig, SessionConfig, SignIn
from ostiary.model.telemetry import Collector
from ostiary.model.tls import CertificateValidationContext, DataSource, SanMatcher

Discover = Callable[[ProviderConfig], ProviderMetadata]
OAUTH2_FILTER = "envoy.filters.http.oauth2"
_CLUSTER = "oauth2_token_endpoint"
_AUTH_TYPES: dict[str, AuthType] = {
    "client_secret_basic": "BASIC_AUTH",
    "client_secret_post": "URL_ENCODED_BODY",
    "private_key_jwt": "PRIVATE_KEY_JWT",
}
_SAME_SITE: dict[str, SameSite] = {"lax": "LAX", "strict": "LAX", "none": "NONE"}


def native_to_envoy(
    config: Config, discover: Discover, trusted_ca: str = TRUSTED_CA
) -> tuple[Config, list[Diagnostic]]:
    """The configuration without native filters, and what is lost. `discover` gives a provider's endpoints."""
    found: list[Diagnostic] = []
    clusters = [_verified(each, trusted_ca) for each in config.clusters]
    listeners: list[Listener] = []
    for listener in config.listeners:
        http, added = _manager(listener.http, discover, trusted_ca, found)
        clusters += [each for each in added if each not in clusters]
        if (tracing := http.tracing) is not None:
            collector = _collector(tracing.collector, "traces", clusters, trusted_ca, found)
            http = replace(http, tracing=replace(tracing, collector=collector, names="envoy", restart=False))
            if tracing.restart:
                found.append(lost("telemetry.incoming", "Envoy goes on with the traces of its clients"))
        listeners.append(replace(listener, http=http))
    metrics = tuple(
        replace(each, collector=_collector(each.collector, "metrics", clusters, trusted_ca, found))
        for each in config.metrics
    )
    written = replace(
        config, dialect="envoy", listeners=tuple(listeners), clusters=tuple(dict.fromkeys(clusters)), metrics=metrics
    )
    return written, list(dict.fromkeys(found))


def _collector(
    collector: Collector, signal: str, clusters: list[Cluster], trusted_ca: str, found: list[Diagnostic]
) -> Collector:
    """Envoy sends to a cluster where the native dialect has a URL."""
    parts = urlsplit(collector.url)
    name = f"telemetry_{signal}"
    cluster = url_cluster(name, collector.url, collector.ca or DataSource(filename=trusted_ca))
    clusters.append(replace(cluster, http2=http2(tls=False)) if collector.grpc else cluster)
    if collector.compress:
        found.append(lost("telemetry.compression", "Envoy sends telemetry uncompressed"))
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    path = "" if collector.grpc else path
    return replace(collector, url="", ca=None, compress=False, cluster=name, authority=parts.netloc, path=path)


def _verified(cluster: Cluster, trusted_ca: str) -> Cluster:
    """Ostiary verifies by the system's roots and the host's name without being told; Envoy has to be told."""
    tls = cluster.transport_socket
    if tls is None or tls.validation_context.accept_untrusted:
        return cluster
    validation = tls.validation_context
    names = validation.match_typed_subject_alt_names
    if not names:
        hosts = (tls.sni,) if tls.sni else tuple(e.hostname or e.address for e in cluster.endpoints if e.pipe is None)
        names = tuple(
            SanMatcher(san_type="IP_ADDRESS" if is_ip_address(host) else "DNS", matcher=StringMatcher("exact", host))
            for host in dict.fromkeys(hosts)
        )
    known = CertificateValidationContext(
        trusted_ca=validation.trusted_ca or DataSource(filename=trusted_ca), match_typed_subject_alt_names=names
    )
    return replace(cluster, transport_socket=replace(tls, validation_context=known))


def _manager(
    http: HttpConnectionManager, discover: Discover, trusted_ca: str, found: list[Diagnostic]
) -> tuple[HttpConnectionManager, list[Cluster]]:
    chain: list[HttpFilter] = []
    clusters: list[Cluster] = []
    routes = http.route_config
    for link in http.http_filters:
        if not isinstance(link.config, SignIn):
            chain.append(link)
            continue
        choices = _choices(link.config, discover(link.config.provider), trusted_ca, found)
        clusters.append(replace(token_cluster(choices), dns_resolvers=link.config.provider.dns_resolvers))
        chain.append(HttpFilter(name=OAUTH2_FILTER, config=EnvoyOAuth2(config=filter_config(choices))))
        headers = sorted(identity_headers(link.config) - {"authorization"})  # the filter sets or drops that one
        removed = (*routes.mutations.request_headers_to_remove, *headers)
        routes = replace(routes, mutations=replace(routes.mutations, request_headers_to_remove=removed))
        if http.underscores_in_headers == "ALLOW":
            http = replace(http, underscores_in_headers="DROP_HEADER")
    return replace(http, profile="envoy", http_filters=tuple(chain), route_config=routes), clusters


def _choices(sign_in: SignIn, metadata: ProviderMetadata, trusted_ca: str, found: list[Diagnostic]) -> SignInChoices:
    provider, session = sign_in.provider, sign_in.session
    _say_what_envoy_has_not(sign_in, found)
    method = provider.client_auth_method
    if method == "client_assertion":
        mend = "give the client a secret or a key"
        found.append(lost("provider.client_assertion_file", "Envoy sends no assertion that somebody else signed", mend))
    secret = provider.client_secret
    if secret is None:
        secret = DataSource(filename=PLACEHOLDER)
        found.append(lost("provider", "Envoy wants a client secret", f"put its file where {PLACEHOLDER} stands"))
    domains = [urlsplit(sign_in.external_url).hostname or ""] if sign_in.external_url else []
    if domains and sign_in.allowed_redirect_hosts:
        domains += sign_in.allowed_redirect_hosts
    return SignInChoices(
        client_id=provider.client_id,
        metadata=metadata,
        openid=provider.kind == "oidc",
        scopes=provider.scopes,
        authorization_params=provider.authorization_params,
        external_url=sign_in.external_url,
        redirect_uri=""
        if sign_in.external_url
        else f"%REQ(X-FORWARDED-PROTO)%://%REQ(:AUTHORITY)%{sign_in.prefix}/callback",
        redirect_domains=tuple(domains),
        callback_path=f"{sign_in.prefix}/callback",
        signout_path=f"{sign_in.prefix}/sign_out",
        pass_through=_public_paths(sign_in.rules, found),
        forward_bearer_token=sign_in.pass_authorization,
        auth_type=_AUTH_TYPES.get(method),
        cookie_domain=session.cookie_domain,
        same_site=_SAME_SITE[session.same_site],
        token_secret=SdsSecret(name="token", value=secret),
        hmac_secret=SdsSecret(
            name="hmac", value=session.secrets[0] if session.lasting else DataSource(filename=PLACEHOLDER)
        ),
        cluster_name=_CLUSTER,
        token_timeout=provider.timeout,
        trusted_ca=provider.ca or DataSource(filename=trusted_ca),
    )


def restricted(config: Config) -> bool:
    """True if somebody who can sign in may still not enter, which Envoy's filter can't say."""
    filters = [link.config for listener in config.listeners for link in listener.http.http_filters]
    rules = [rule for each in filters if isinstance(each, SignIn) for rule in each.rules]
    return any(_restricts(rule) for rule in rules)


def _restricts(rule: AccessRule) -> bool:
    return not rule.public and rule != AccessRule()


def _public_paths(rules: tuple[AccessRule, ...], found: list[Diagnostic]) -> tuple[str, ...]:
    """The paths that are public to everybody, as `pass_through` writes them; every other rule is lost."""
    paths: list[str] = []
    public = [rule for rule in rules if rule.public]
    leading = 0
    for rule in rules:
        if not (rule.public and rule.paths and not rule.hosts and not rule.methods):
            break
        leading += 1
        for path in rule.paths:
            plain = path.rstrip("/")
            paths += [plain, f"{plain}/*"]
    for rule in public[leading:]:
        where = ", ".join(rule.paths) or "everything"
        found.append(lost("access", f"public only for some hosts or methods: {where}", "write a pass_through_matcher"))
    if any(_restricts(rule) for rule in rules):
        mend = "add an RBAC filter (AuthorizationPolicy in Istio), or stay with Ostiary"
        found.append(lost("access", "no access rules: whoever can sign in at the provider may enter", mend))
    return tuple(paths)


def _say_what_envoy_has_not(sign_in: SignIn, found: list[Diagnostic]) -> None:
    provider, session = sign_in.provider, sign_in.session
    if provider.kind == "oidc":
        mend = "add a jwt_authn filter behind it (RequestAuthentication in Istio)"
        found.append(lost("provider", "Envoy's filter verifies no ID token", mend))
    mend = "let the application read the token"
    text = (
        "no identity headers (X-Forwarded-User, ...): Envoy's filter sets none. What clients send under these names is "
    )
    text += "removed, and so are all headers with _ in their names"
    found.append(lost("pass", text, mend))
    if sign_in.pass_access_token:
        found.append(lost("pass.access_token", "no X-Forwarded-Access-Token", "use pass.authorization"))
    if provider.token_params:
        found.append(lost("provider.token_params", "Envoy adds no parameters to token requests"))
    if provider.client_certificate is not None:
        found.append(lost("provider.client_certificate_file", "Envoy's assertions name no certificate"))
    if not session.lasting:
        text = "nobody wrote one: here every start makes its own, Envoy needs one that lasts"
        found.append(
            lost("secret_file", text, f"make one: openssl rand -base64 32, and name its file for {PLACEHOLDER}")
        )
    if len(session.secrets) > 1:
        found.append(lost("secret_file", "Envoy has one HMAC secret: the first is taken"))
    if session.same_site == "strict":
        found.append(lost("session.same_site", "Lax: Strict cookies would not come back from the provider"))
    plain = SessionConfig(secrets=())
    changed = [key for key, field in _LIFETIMES.items() if getattr(session, field) != getattr(plain, field)]
    if changed:
        text = "lifetimes: Envoy's session lives as long as the access token, and is refreshed when that ends"
        found.append(lost(f"session.{changed[0]}", text))
    if sign_in.sign_out_redirect != "/":
        found.append(lost("sign_out_redirect", "Envoy's sign-out goes to /, or to the provider"))


_LIFETIMES = {"lifetime": "absolute_lifetime", "idle_lifetime": "idle_lifetime", "refresh_margin": "refresh_margin"}
