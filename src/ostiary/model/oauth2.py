"""Envoy's OAuth2 filter configuration: every field of `extensions.filters.http.oauth2.v3` in Envoy 1.39."""

from __future__ import annotations

from typing import Literal

import msgspec

from ostiary.model.matchers import HeaderMatcher, StringMatcher
from ostiary.model.routes import RetryPolicy
from ostiary.model.tls import DataSource

AuthType = Literal["URL_ENCODED_BODY", "BASIC_AUTH", "TLS_CLIENT_AUTH", "PRIVATE_KEY_JWT"]
SigningAlgorithm = Literal["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]
SameSite = Literal["DISABLED", "STRICT", "LAX", "NONE"]


class HttpUri(msgspec.Struct, frozen=True, kw_only=True):
    """config.core.v3.HttpUri."""

    uri: str
    cluster: str
    timeout: float


class SdsSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A generic secret: static (from `static_resources.secrets`), or a file in SDS form, read again on change."""

    name: str
    value: DataSource | None = None
    """The static secret's source."""
    path: str | None = None
    """path_config_source.path: a file of SDS resources (or a DiscoveryResponse)."""
    watched_directory: str | None = None


class CookieNames(msgspec.Struct, frozen=True, kw_only=True):
    """OAuth2Credentials.cookie_names."""

    bearer_token: str = "BearerToken"
    oauth_hmac: str = "OauthHMAC"
    oauth_expires: str = "OauthExpires"
    id_token: str = "IdToken"
    refresh_token: str = "RefreshToken"
    oauth_nonce: str = "OauthNonce"
    code_verifier: str = "CodeVerifier"


class CookieConfig(msgspec.Struct, frozen=True, kw_only=True):
    """CookieConfig: the attributes of one cookie."""

    same_site: SameSite = "DISABLED"
    path: str = ""
    partitioned: bool = False


class CookieConfigs(msgspec.Struct, frozen=True, kw_only=True):
    """CookieConfigs, by the names of CookieNames."""

    bearer_token: CookieConfig = CookieConfig()
    oauth_hmac: CookieConfig = CookieConfig()
    oauth_expires: CookieConfig = CookieConfig()
    id_token: CookieConfig = CookieConfig()
    refresh_token: CookieConfig = CookieConfig()
    oauth_nonce: CookieConfig = CookieConfig()
    code_verifier: CookieConfig = CookieConfig()


class OAuth2Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """OAuth2Credentials."""

    client_id: str
    token_secret: SdsSecret | None = None
    hmac_secret: SdsSecret
    cookie_names: CookieNames = CookieNames()
    cookie_domain: str = ""


class PrivateKeyJwtConfig(msgspec.Struct, frozen=True, kw_only=True):
    """PrivateKeyJwtConfig; `assertion_lifetime` in seconds."""

    signing_algorithm: SigningAlgorithm = "RS256"
    assertion_lifetime: float = 60.0


class OAuth2Config(msgspec.Struct, frozen=True, kw_only=True):
    """OAuth2Config. Durations in seconds."""

    token_endpoint: HttpUri | None = None
    retry_policy: RetryPolicy | None = None
    authorization_endpoint: str
    end_session_endpoint: str = ""
    post_logout_redirect_uri: str | None = None
    """PostLogoutRedirectUri.uri, a format string."""
    post_logout_redirect_uri_disabled: bool = False
    credentials: OAuth2Credentials
    redirect_uri: str
    redirect_path_matcher: StringMatcher
    signout_path: StringMatcher
    forward_bearer_token: bool = False
    forward_id_token_header: str = ""
    """forward_id_token.header; empty = off."""
    preserve_authorization_header: bool = False
    pass_through_matcher: tuple[HeaderMatcher, ...] = ()
    allow_failed_matcher: tuple[HeaderMatcher, ...] = ()
    deny_redirect_matcher: tuple[HeaderMatcher, ...] = ()
    auth_scopes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    auth_type: AuthType = "URL_ENCODED_BODY"
    private_key_jwt_config: PrivateKeyJwtConfig = PrivateKeyJwtConfig()
    use_refresh_token: bool = True
    default_expires_in: float = 0.0
    default_refresh_token_expires_in: float = 604800.0
    disable_id_token_set_cookie: bool = False
    disable_access_token_set_cookie: bool = False
    disable_refresh_token_set_cookie: bool = False
    cookie_configs: CookieConfigs = CookieConfigs()
    stat_prefix: str = ""
    csrf_token_expires_in: float = 600.0
    code_verifier_token_expires_in: float = 600.0
    disable_token_encryption: bool = False
    original_request_uri: str = ""
    allowed_redirect_domains: tuple[str, ...] = ()
    use_access_token_expiry_for_id_token_cookie: bool = False


class RuntimeFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of `layered_runtime` that the filter reads."""

    oauth2_use_gcm_encryption: bool = False
    oauth2_legacy_cbc_decrypt_compat: bool = True
    oauth2_cleanup_cookies: bool = True


class EnvoyOAuth2(msgspec.Struct, frozen=True, kw_only=True):
    """The filter in a chain: its optional configuration (absent = a no-op unless a route has one)."""

    config: OAuth2Config | None = None
    runtime: RuntimeFlags = msgspec.field(default_factory=RuntimeFlags)
