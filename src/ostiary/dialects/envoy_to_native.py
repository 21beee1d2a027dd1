"""An Envoy configuration as Ostiary's own: the OAuth2 filter becomes the native sign-in.

Envoy's filter knows two endpoints and no issuer; the native sign-in verifies ID tokens, so it has to know one.
Providers that Ostiary has a name for are told by their authorization endpoint; any other issuer has to be said.

Whoever could sign in before may still enter (`access: anyone`). Paths are prefixes here: a single path that needed no
sign-in doesn't become one, for everything below it would be open, too.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec.structs import replace

from ostiary.dialects.envoy_sign_in import TRUSTED_CA
from ostiary.dialects.envoy_text_values import PLACEHOLDER
from ostiary.dialects.lost import lost
from ostiary.dialects.native_text_provider import recognised
from ostiary.dialects.native_upstreams import path_problem
from ostiary.model.config import Config, HttpFilter, Listener
from ostiary.model.errors import Diagnostic
from ostiary.model.matchers import HeaderMatcher, StringMatcher
from ostiary.model.oauth2 import EnvoyOAuth2, OAuth2Config, SdsSecret
from ostiary.model.signin import AccessRule, ClientAuthMethod, ProviderConfig, SessionConfig, SignIn
from ostiary.model.tls import DataSource

LISTENERS = "static_resources.listeners"
CLUSTERS = "static_resources.clusters"
_METHODS: dict[str, ClientAuthMethod] = {
    "URL_ENCODED_BODY": "client_secret_post",
    "BASIC_AUTH": "client_secret_basic",
    "PRIVATE_KEY_JWT": "private_key_jwt",
}
_NO_KEY = (
    "preserve_authorization_header", "allow_failed_matcher", "resources", "disable_access_token_set_cookie",
    "disable_refresh_token_set_cookie", "default_refresh_token_expires_in", "stat_prefix", "post_logout_redirect_uri",
    "post_logout_redirect_uri_disabled", "forward_id_token_header", "use_refresh_token", "retry_policy",
)  # fmt: skip
_REPLACED = re.compile(r"https?://[A-Za-z0-9.:_-]+")


def envoy_to_native(config: Config, issuer: str = "") -> tuple[Config, list[Diagnostic]]:
    """The configuration with native filters, and what is lost. `issuer`: of a provider whose endpoints don't tell."""
    found: list[Diagnostic] = []
    listeners: list[Listener] = []
    for number, listener in enumerate(config.listeners):
        chain: list[HttpFilter] = []
        for index, link in enumerate(listener.http.http_filters):
            manager = f"{LISTENERS}[{number}].filter_chains[0].filters[0].typed_config"
            at = f"{manager}.http_filters[{index}].typed_config.config"
            if isinstance(link.config, EnvoyOAuth2) and link.config.config is not None and not link.disabled:
                oauth2 = link.config.config
                sign_in = _SignIn(oauth2, at, config, found).build(issuer)
                link = replace(link, config=sign_in)
            chain.append(link)
        listeners.append(replace(listener, http=replace(listener.http, http_filters=tuple(chain))))
    return replace(config, listeners=tuple(listeners)), list(dict.fromkeys(found))


class _SignIn:
    """One filter on its way."""

    def __init__(self, config: OAuth2Config, at: str, whole: Config, found: list[Diagnostic]) -> None:
        self._config = config
        self._at = at
        self._clusters = whole.clusters
        self._cluster = whole.cluster(config.token_endpoint.cluster) if config.token_endpoint is not None else None
        self._found = found

    def _lost(self, field: str, message: str, mend: str = "") -> None:
        self._found.append(lost(f"{self._at}.{field}", message, mend))

    def build(self, issuer: str) -> SignIn:
        config = self._config
        plain = {each.name: each.default for each in msgspec.structs.fields(config)}
        changed = {field for field in _NO_KEY if getattr(config, field) != plain[field]}
        if not config.forward_bearer_token:
            changed.discard("disable_access_token_set_cookie")  # what nothing forwards isn't kept here, either
        for field in sorted(changed):
            self._lost(field.removesuffix("_header"), "there is no key for it")
        external = _REPLACED.match(config.redirect_uri)
        token, hmac = config.credentials.token_secret, config.credentials.hmac_secret
        return SignIn(
            provider=self._provider(issuer, self._secret(token, "token_secret") if token is not None else None),
            session=SessionConfig(
                secrets=(self._secret(hmac, "hmac_secret"),),
                cookie_domain=config.credentials.cookie_domain.lstrip(".").lower(),
                same_site="none" if config.cookie_configs.oauth_hmac.same_site == "NONE" else "lax",
            ),
            rules=self._rules(),
            external_url=external[0] if external is not None and "%" not in config.redirect_uri else "",
            prefix=self._prefix(),
            pass_authorization=config.forward_bearer_token,
            allowed_redirect_hosts=config.allowed_redirect_domains,
        )

    def _prefix(self) -> str:
        """The paths of the sign-in: the callback stays where it is if its name allows that."""
        callback, signout = self._config.redirect_path_matcher, self._config.signout_path
        path = callback.value if callback.kind == "exact" else ""
        prefix = path.removesuffix("/callback")
        if prefix in ("", path) or path_problem(prefix):
            prefix = "/.ostiary"
            text = f"the callback is {prefix}/callback from now on: register that at the provider"
            self._lost("redirect_path_matcher", text)
        if signout != StringMatcher("exact", f"{prefix}/sign_out"):
            self._lost("signout_path", f"people sign out at {prefix}/sign_out from now on")
        return prefix

    def _provider(self, issuer: str, secret: DataSource | None) -> ProviderConfig:
        config = self._config
        preset, known = recognised(config.authorization_endpoint)
        openid = "openid" in config.auth_scopes
        provider = ProviderConfig(
            kind="oidc" if openid else "oauth2",
            preset="" if issuer else preset,
            issuer=issuer or known,
            client_id=config.credentials.client_id,
            client_secret=secret,
            client_auth_method=_METHODS.get(config.auth_type, "auto"),
            scopes=config.auth_scopes or ("user",),
            authorization_params=dict(parse_qsl(urlsplit(config.authorization_endpoint).query)),
        )
        provider = self._reached(provider)
        if config.auth_type not in _METHODS:
            self._lost("auth_type", f"{config.auth_type}: the client proves itself by a secret or a key here")
        if config.token_endpoint is None:
            self._lost("token_endpoint", "missing: nobody could sign in")
        if openid and not provider.issuer:
            parts = urlsplit(config.authorization_endpoint)
            guess = f"{parts.scheme}://{parts.netloc}"
            mend = "look for `issuer` in the provider's /.well-known/openid-configuration, and give it with --issuer"
            self._lost("authorization_endpoint", f"the issuer isn't known: {guess} is a guess", mend)
            return replace(provider, issuer=guess)
        return provider if openid else self._plain_oauth2(provider, preset)

    def _plain_oauth2(self, provider: ProviderConfig, preset: str) -> ProviderConfig:
        endpoint = self._config.token_endpoint
        endpoints = replace(
            provider,
            authorization_endpoint=self._config.authorization_endpoint.partition("?")[0],
            token_endpoint=endpoint.uri if endpoint is not None else "",
        )
        if preset == "github":
            api = "https://api.github.com/user"
            host = urlsplit(endpoints.authorization_endpoint).netloc
            return replace(endpoints, userinfo_endpoint=api if host == "github.com" else f"https://{host}/api/v3/user")
        mend = f"write the provider's userinfo_endpoint where {PLACEHOLDER} stands"
        self._lost("auth_scopes", "without an ID token, who it is comes from the provider's userinfo", mend)
        return replace(endpoints, preset="", userinfo_endpoint=f"https://{PLACEHOLDER}")

    def _reached(self, provider: ProviderConfig) -> ProviderConfig:
        """How the provider is reached: the cluster's CA and DNS servers, and the token endpoint's timeout."""
        cluster, endpoint = self._cluster, self._config.token_endpoint
        if endpoint is not None and endpoint.timeout:
            provider = replace(provider, timeout=endpoint.timeout)
        if cluster is None:
            return provider
        if cluster.dns_lookup_family not in (None, "ALL"):
            text = f"{cluster.dns_lookup_family} of the provider's cluster: both families are raced here"
            self._found.append(lost(f"{CLUSTERS}[{self._clusters.index(cluster)}].dns_lookup_family", text))
        tls = cluster.transport_socket
        ca = tls.validation_context.trusted_ca if tls is not None else None
        own = ca if ca is not None and not _is_system(ca) else None
        return replace(provider, dns_resolvers=cluster.dns_resolvers, ca=own)

    def _secret(self, secret: SdsSecret, field: str) -> DataSource:
        if secret.value is not None:
            return secret.value
        mend = f"write the secret alone into a file, and its name where {PLACEHOLDER} stands"
        self._lost(f"credentials.{field}", f"a secret in a file of Envoy's form ({secret.path})", mend)
        return DataSource(filename=PLACEHOLDER)

    def _rules(self) -> tuple[AccessRule, ...]:
        """`public` for what passes by its path and means the same here; the rest is told."""
        paths: list[str] = []
        for index, matcher in enumerate(self._config.pass_through_matcher):
            path = _prefix_of(matcher)
            if path:
                paths.append(path)
                continue
            mend = "write public: [/path] if everything below that path may be open" if matcher.name == ":path" else ""
            self._lost(f"pass_through_matcher[{index}]", "passed without a sign-in, and now needs one", mend)
        public = (AccessRule(paths=tuple(dict.fromkeys(paths)), public=True),) if paths else ()
        return (*public, AccessRule())


def _prefix_of(matcher: HeaderMatcher) -> str:
    """The path of `:path` matchers that mean this path's whole subtree; empty for every other one."""
    match = matcher.string_match
    if matcher.name != ":path" or match is None or matcher.invert_match or match.ignore_case:
        return ""
    path = match.value.rstrip("/")
    return path if match.kind == "prefix" and match.value.endswith("/") and path and not path_problem(path) else ""


def _is_system(ca: DataSource) -> bool:
    """The system's bundle, where distributions have it: what is used here anyway."""
    return ca.filename in (TRUSTED_CA, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
