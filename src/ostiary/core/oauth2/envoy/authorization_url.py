"""The provider's authorization endpoint with a sign-in's parameters (RFC 6749 section 4.1.1, RFC 7636, RFC 8707).

Envoy keeps parameters in a sorted map: by name, those of the endpoint's own query in between, `resource` at the end.
"""

from __future__ import annotations

from ostiary.core.oauth2.envoy.urls import host_of, query_encode, url_encode
from ostiary.core.regex import wire_text
from ostiary.model.oauth2 import OAuth2Config

_OURS = frozenset(
    ("client_id", "code_challenge", "code_challenge_method", "redirect_uri", "response_type", "scope", "state")
)


class AuthorizationUrl:
    """Renders the Location of a redirect to the provider. Raises ValueError for an endpoint that can't be one."""

    def __init__(self, config: OAuth2Config) -> None:
        url = wire_text(config.authorization_endpoint)
        if host_of(url) is None or "#" in url:
            raise ValueError(
                f"OAuth2 filter: invalid authorization endpoint URL '{config.authorization_endpoint}' in config."
            )
        base, _, query = url.partition("?")
        own = [name_value.partition("=")[::2] for name_value in query.split("&") if name_value]
        self._base = base if "/" in base.partition("://")[2] else base + "/"
        self._fixed = [(name, value) for name, value in own if name not in _OURS]
        self._fixed += [
            ("client_id", query_encode(wire_text(config.credentials.client_id))),
            ("code_challenge_method", "S256"),
            ("response_type", "code"),
            ("scope", url_encode(wire_text(" ".join(config.auth_scopes or ("user",))))),
        ]
        self._resources = "".join(f"&resource={url_encode(wire_text(resource))}" for resource in config.resources)

    def __call__(self, *, redirect_uri: str, code_challenge: str, state: str) -> str:
        """The URL. `redirect_uri` in plain text; `code_challenge` and `state` are base64url."""
        params = [
            *self._fixed,
            ("redirect_uri", url_encode(redirect_uri)),
            ("code_challenge", code_challenge),
            ("state", state),
        ]
        params.sort(key=lambda pair: pair[0])
        return f"{self._base}?{'&'.join(f'{name}={value}' for name, value in params)}{self._resources}"
