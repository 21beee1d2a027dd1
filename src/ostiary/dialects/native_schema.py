"""The vocabulary of the native dialect: every key of every section, every flag and every environment variable.

One table for the reader (which refuses what is not in it), for the nearest-name hints and for the test that each key is
explained in `docs/configuration.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ENDPOINTS: Final = (
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "end_session_endpoint",
    "revocation_endpoint",
    "jwks_uri",
)

PRESETS: Final = ("entra", "google", "keycloak", "github", "gitlab", "okta", "auth0", "cognito")
"""Providers known by name; each is a key of `provider`, and a section of its own."""

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "": (
        "listen",
        "tls",
        "admin",
        "trusted_hops",
        "upstream",
        "routes",
        "provider",
        "secret",
        "secret_file",
        "session",
        "access",
        "public",
        "external_url",
        "prefix",
        "pass",
        "sign_out_redirect",
        "redirect_hosts",
        "escaped_slashes",
        "access_log",
        "timeouts",
        "limits",
        "log",
        "telemetry",
        "workers",
        "flight_users",
        "watch",
    ),
    "tls": ("certificate_file", "key_file", "key_password_file", "minimum_version"),
    "upstream": (
        "url",
        "urls",
        "http2",
        "balance",
        "ca_file",
        "verify",
        "server_name",
        "host_header",
        "connect_timeout",
        "idle_timeout",
        "dns_lookup_family",
    ),
    "routes": ("host", "path", "upstream", "rewrite", "redirect", "timeout"),
    "provider": (
        *PRESETS,
        "issuer",
        "oauth2",
        "client_id",
        "client_secret",
        "client_secret_file",
        "client_certificate_file",
        "client_assertion_file",
        "client_auth_method",
        "scopes",
        *_ENDPOINTS,
        "authorization_params",
        "token_params",
        "id_token_algorithms",
        "ca_file",
        "timeout",
        "user_claim",
        "email_claim",
        "groups_claim",
        "require_verified_email",
        "dns_resolvers",
        "allow_http",
    ),
    "provider.entra": ("tenant", "cloud", "version"),
    "provider.google": ("hosted_domain",),
    "provider.keycloak": ("url", "realm"),
    "provider.github": ("url",),
    "provider.gitlab": ("url",),
    "provider.okta": ("domain", "authorization_server"),
    "provider.auth0": ("domain",),
    "provider.cognito": ("region", "user_pool"),
    "session": (
        "cookie_name",
        "cookie_domain",
        "same_site",
        "lifetime",
        "idle_lifetime",
        "refresh_margin",
        "keep_access_token",
        "keep_id_token",
    ),
    "access": ("hosts", "paths", "methods", "public", "emails", "domains", "groups", "claims", "deny"),
    "pass": ("groups", "access_token", "authorization", "claims"),
    "access_log": ("to", "format", "json", "omit_empty_values", "status_at_least", "without_health_checks"),
    "timeouts": ("request_headers", "request", "idle", "stream_idle", "route", "drain"),
    "limits": ("request_headers_kb", "headers_count", "requests_per_connection", "upstream_connections"),
    "log": ("level", "components", "format"),
    "telemetry": (
        "endpoint",
        "traces_endpoint",
        "metrics_endpoint",
        "protocol",
        "headers",
        "header_files",
        "timeout",
        "compression",
        "ca_file",
        "service_name",
        "resource",
        "traces",
        "metrics",
        "sampling",
        "parent_based",
        "incoming",
        "upstream_spans",
        "metrics_interval",
        "disabled",
    ),
}
"""Section -> its keys. `provider.oauth2` is `true`, not a section."""

MAY_BE_EMPTY: Final = frozenset((*PRESETS, "session", "pass", "timeouts", "limits", "log", "telemetry"))
"""Sections in which nothing has to be written. Anything else that is written without a value is a mistake: `groups:`
above a list that was commented out must not read as "no condition"."""

FLAGS: Final[Mapping[str, str]] = {
    "listen": "listen",
    "upstream": "upstream",
    "issuer": "provider.issuer",
    "client-id": "provider.client_id",
    "client-secret-file": "provider.client_secret_file",
    "secret-file": "secret_file",
    "admin": "admin",
    "workers": "workers",
    "log-level": "log.level",
    "component-log-level": "log.components",
    "log-format": "log.format",
    "flight-users": "flight_users",
    "drain-timeout": "timeouts.drain",
    "watch": "watch",
}
"""Flag without its dashes -> the key it sets. `--set KEY=VALUE` reaches every other key."""

PROCESS_FLAGS: Final = (
    "workers", "log-level", "component-log-level", "log-format", "flight-users", "drain-timeout", "watch",
)  # fmt: skip
"""Flags that hold for every dialect."""

SECRET_KEYS: Final[Mapping[str, str]] = {
    "secret": "secret_file or the environment variable OSTIARY_SECRET",
    "provider.client_secret": "provider.client_secret_file or the environment variable OSTIARY_CLIENT_SECRET",
    "telemetry.headers": "telemetry.header_files or the environment variable OTEL_EXPORTER_OTLP_HEADERS",
}
"""Keys that no flag may set: other users of the machine can read a command line."""

ENVIRONMENT: Final[Mapping[str, str]] = {
    **{"OSTIARY_" + flag.upper().replace("-", "_"): key for flag, key in FLAGS.items()},
    "OSTIARY_CLIENT_SECRET": "provider.client_secret",
    "OSTIARY_SECRET": "secret",
}
"""Environment variable -> the key it sets."""
