"""oauth2-proxy's options: one row each for the flag, the key of its file, the variable, the type and the default.

Of version 7.15 (`pkg/apis/options`). A key is the flag with `_`, a list's key has an `s` (`--upstream`, `upstreams`), a
variable is `OAUTH2_PROXY_` and the key in capitals. With `--alpha-config` the second half of the options is gone: the
structured configuration says those things, and oauth2-proxy refuses to start with one of them as a flag or in its file
(and passes over their variables without a word).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind = Literal["text", "list", "bool", "duration", "integer"]
Value: TypeAlias = "str | tuple[str, ...] | bool | float | int"
"""A duration is a number of seconds."""

PREFIX: Final = "OAUTH2_PROXY_"
COMMAND: Final = ("config", "alpha-config", "convert-config-to-alpha", "config-test", "version", "help")
"""Flags that are no options: they say what to read and what to do."""

_CORE: Final = """
text: auth-logging-format authenticated-emails-file banner cookie-csrf-samesite cookie-name=_oauth2_proxy
    cookie-path=/ cookie-samesite cookie-secret cookie-secret-file custom-sign-in-logo custom-templates-dir
    footer htpasswd-file logging-filename ping-path=/ping ping-user-agent proxy-prefix=/oauth2 ready-path=/ready
    real-client-ip-header=X-Real-IP redirect-url redis-ca-path redis-connection-url redis-password
    redis-sentinel-master-name redis-sentinel-password redis-username request-id-header=X-Request-Id
    request-logging-format session-store-type=cookie signature-key standard-logging-format
list: api-route cookie-domain email-domain exclude-logging-path extra-jwt-issuers htpasswd-user-group
    redis-cluster-connection-urls redis-sentinel-connection-urls skip-auth-regex skip-auth-route trusted-ip
    trusted-proxy-ip whitelist-domain
bool: allow-query-semicolons auth-logging=true bearer-token-login-fallback=true cookie-csrf-per-request
    cookie-httponly=true cookie-secure=true display-htpasswd-form=true encode-state errors-to-info-log
    force-https force-json-errors gcp-healthchecks logging-compress logging-local-time=true
    redis-insecure-skip-tls-verify redis-use-cluster redis-use-sentinel relative-redirect-url
    request-logging=true reverse-proxy session-cookie-minimal show-debug-on-error silence-ping-logging
    skip-auth-preflight skip-jwt-bearer-tokens skip-provider-button ssl-insecure-skip-verify
    standard-logging=true
duration: cookie-csrf-expire=900 cookie-expire=604800 cookie-refresh
integer: cookie-csrf-per-request-limit logging-max-age=7 logging-max-backups logging-max-size=100
    redis-connection-idle-timeout
"""
_STRUCTURED: Final = """
text: acr-values approval-prompt=force auth-request-response-mode azure-graph-group-field azure-tenant=common
    backend-logout-url basic-auth-password bitbucket-repository bitbucket-team client-id client-secret
    client-secret-file code-challenge-method force-code-challenge-method github-org github-repo github-team
    github-token google-admin-api-user-scope google-admin-email google-service-account-json
    google-target-principal http-address=127.0.0.1:4180 https-address=:443 jwt-key jwt-key-file login-url
    metrics-address metrics-secure-address metrics-tls-cert-file metrics-tls-key-file oidc-email-claim=email
    oidc-groups-claim=groups oidc-issuer-url oidc-jwks-url profile-url prompt provider=google
    provider-display-name pubjwk-url redeem-url resource scope tls-cert-file tls-key-file tls-min-version
    user-id-claim=email validate-url
list: allowed-group allowed-role entra-id-allowed-tenant github-user gitlab-group gitlab-project google-group
    keycloak-group oidc-audience-claim=aud oidc-enabled-signing-alg oidc-extra-audience oidc-public-key-file
    provider-ca-file tls-cipher-suite upstream
bool: disable-keep-alives entra-id-federated-token-auth google-use-application-default-credentials
    google-use-organization-id insecure-oidc-allow-unverified-email insecure-oidc-skip-issuer-verification
    insecure-oidc-skip-nonce=true pass-access-token pass-authorization-header pass-basic-auth=true
    pass-host-header=true pass-user-headers=true prefer-email-to-user proxy-websockets=true
    set-authorization-header set-basic-auth set-xauthrequest skip-auth-strip-headers=true
    skip-claims-from-profile-url skip-oidc-discovery ssl-upstream-insecure-skip-verify use-system-trust-store
duration: flush-interval=1 upstream-timeout=30
"""
_ONE_KEY: Final = frozenset(
    {"extra-jwt-issuers", "redis-cluster-connection-urls", "redis-sentinel-connection-urls", "skip-auth-regex"}
)
"""Lists whose key is the flag as it is."""
_TEXT_FLAGS: Final = frozenset({"google-use-application-default-credentials", "google-use-organization-id"})
"""True or false, and all the same declared as text: as flags they need a value."""
_SECRETS: Final = frozenset(
    {"basic-auth-password", "client-secret", "cookie-secret", "github-token", "jwt-key", "redis-connection-url",
     "redis-cluster-connection-urls", "redis-password", "redis-sentinel-connection-urls", "redis-sentinel-password",
     "signature-key"}
)  # fmt: skip
"""Their values may be, or hold, a credential."""
DEPRECATED: Final = {
    "skip_auth_regex": "skip_auth_routes",
    "force_code_challenge_method": "code_challenge_method",
    "user_id_claim": "oidc_email_claim",
    "google_group": "google_groups",
    "gcp_healthchecks": "ping_path and ready_path",
    "signature_key": "",
}
"""Keys that still work, and what to use instead; empty: nothing."""
_RENAMED: Final = {
    "cookie_domain": "cookie_domains", "whitelist_domain": "whitelist_domains", "email_domain": "email_domains",
    "keycloak_group": "keycloak_groups", "tls_cert": "tls_cert_file", "tls_key": "tls_key_file",
    "exclude_logging_path": "exclude_logging_paths", "redis_sentinel_urls": "redis_sentinel_connection_urls",
    "oidc_issuer": "oidc_issuer_url", "issuer_url": "oidc_issuer_url", "cookie_same_site": "cookie_samesite",
}  # fmt: skip
"""Names of older versions, or written so often that guessing by likeness would be worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option."""

    flag: str
    """Without its dashes."""
    key: str
    """In the file."""
    kind: Kind
    default: Value
    core: bool
    """Also there with `--alpha-config`."""

    @property
    def variable(self) -> str:
        """In the environment."""
        return PREFIX + self.key.upper()

    @property
    def secret(self) -> bool:
        """Whether its value may hold a credential."""
        return self.flag in _SECRETS

    @property
    def stands_alone(self) -> bool:
        """Whether the flag means true where it has no value, so that the next word is not its value."""
        return self.kind == "bool" and self.flag not in _TEXT_FLAGS


def _default(kind: Kind, text: str) -> Value:
    if kind == "list":
        return (text,) if text else ()
    if kind == "bool":
        return text == "true"
    return text if kind == "text" else float(text or 0) if kind == "duration" else int(text or 0)


def _rows(table: str, core: bool) -> Iterator[Option]:
    kind: Kind = "text"
    for word in table.split():
        if word.endswith(":"):
            kind = word[:-1]  # type: ignore[assignment] # the table has no other words with a colon
            continue
        flag, _, default = word.partition("=")
        key = flag.replace("-", "_") + ("s" if kind == "list" and flag not in _ONE_KEY else "")
        yield Option(flag=flag, key=key, kind=kind, default=_default(kind, default), core=core)


OPTIONS: Final[tuple[Option, ...]] = (*_rows(_CORE, True), *_rows(_STRUCTURED, False))
BY_FLAG: Final = {option.flag: option for option in OPTIONS}
BY_KEY: Final = {option.key: option for option in OPTIONS} | {"google_group": BY_FLAG["google-group"]}
BY_VARIABLE: Final = {PREFIX + key.upper(): option for key, option in BY_KEY.items()}


def nearest_key(name: str) -> str:
    """The key that a wrong one was meant to be, or ""; a flag's name in a file is told as well."""
    plain = name.lower().replace("-", "_").strip("_")
    if plain in _RENAMED:
        return _RENAMED[plain]
    if plain in BY_KEY:
        return plain
    by_flag = BY_FLAG.get(plain.replace("_", "-"))
    if by_flag is not None:
        return by_flag.key
    return next(iter(difflib.get_close_matches(plain[:64], BY_KEY, 1, 0.8)), "")


def nearest_flag(name: str) -> str:
    """The flag that a wrong one was meant to be, or ""."""
    key = nearest_key(name)
    if key:
        return BY_KEY[key].flag
    return next(iter(difflib.get_close_matches(name.lower()[:64], COMMAND, 1, 0.8)), "")
