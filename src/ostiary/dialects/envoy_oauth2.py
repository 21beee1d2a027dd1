"""The OAuth2 filter's configuration: fields by the schema, and the rules that Envoy has in C++.

Two things are judged earlier than Envoy does: the format strings `redirect_uri` and `original_request_uri`, which Envoy
parses at the first request, aborting the process if they are wrong.
"""

from __future__ import annotations

import re
from typing import Final, get_args

from ostiary.dialects.envoy_common import Context, header_matchers, path_matcher, template
from ostiary.dialects.envoy_secret import generic_secret
from ostiary.dialects.schema_tree import Message
from ostiary.model.oauth2 import (
    AuthType,
    CookieConfig,
    CookieConfigs,
    CookieNames,
    EnvoyOAuth2,
    HttpUri,
    OAuth2Config,
    OAuth2Credentials,
    PrivateKeyJwtConfig,
    SameSite,
    SdsSecret,
    SigningAlgorithm,
)
from ostiary.model.routes import RetryPolicy

_AUTH_TYPES: Final[tuple[AuthType, ...]] = get_args(AuthType)
_ALGORITHMS: Final[tuple[SigningAlgorithm, ...]] = get_args(SigningAlgorithm)
_SAME_SITE: Final[tuple[SameSite, ...]] = get_args(SameSite)
_ABSOLUTE_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#\s@]*@)?([^/?#\s@]+)(?:[/?#]\S*)?", re.ASCII)
_MAX_PORT: Final = 65535
_EXCLUSIVE: Final = (
    "at most one of forward_bearer_token, preserve_authorization_header and forward_id_token on the Authorization "
    "header may be set: all of them use that header"
)


def oauth2(message: Message, context: Context) -> EnvoyOAuth2:
    """filters.http.oauth2.v3.OAuth2."""
    config = message.message("config")
    return EnvoyOAuth2(
        config=oauth2_config(config, context) if config is not None else None,
        runtime=context.runtime,
    )


def oauth2_config(message: Message, context: Context) -> OAuth2Config:
    """filters.http.oauth2.v3.OAuth2Config."""
    scopes = message.texts("auth_scopes")
    end_session = message.text("end_session_endpoint")
    if end_session and "openid" not in scopes:
        message.problem(
            "end_session_endpoint",
            "end session endpoint is only supported for OpenID Connect",
            "add `openid` to auth_scopes",
        )
    authorization = message.text("authorization_endpoint")
    if authorization and not _is_absolute(authorization):
        message.problem("authorization_endpoint", "invalid authorization endpoint URL", "write https://host/path")
    auth_type = message.choice("auth_type", _AUTH_TYPES)
    logout = message.message("post_logout_redirect_uri")
    logout_uri = logout.text("uri") if logout is not None and logout.has("uri") else None
    if logout is not None and logout_uri and end_session:
        template(logout, "uri", logout_uri)
    key_config = message.optional("private_key_jwt_config")
    retries = message.message("retry_policy")
    return OAuth2Config(
        token_endpoint=_token_endpoint(message, context),
        retry_policy=_retry_policy(retries) if retries is not None else None,
        authorization_endpoint=authorization,
        end_session_endpoint=end_session,
        post_logout_redirect_uri=logout_uri,
        post_logout_redirect_uri_disabled=logout is not None and logout.boolean("disabled"),
        credentials=_credentials(message.required("credentials"), auth_type, context),
        redirect_uri=_template_field(message, "redirect_uri"),
        redirect_path_matcher=path_matcher(message.required("redirect_path_matcher")),
        signout_path=path_matcher(message.required("signout_path")),
        forward_bearer_token=message.boolean("forward_bearer_token"),
        forward_id_token_header=_forward_id_token(message),
        preserve_authorization_header=message.boolean("preserve_authorization_header"),
        pass_through_matcher=header_matchers(message, "pass_through_matcher"),
        allow_failed_matcher=header_matchers(message, "allow_failed_matcher"),
        deny_redirect_matcher=header_matchers(message, "deny_redirect_matcher"),
        auth_scopes=scopes,
        resources=message.texts("resources"),
        auth_type=auth_type,
        private_key_jwt_config=PrivateKeyJwtConfig(
            signing_algorithm=key_config.choice("signing_algorithm", _ALGORITHMS),
            assertion_lifetime=key_config.duration("assertion_lifetime", 60.0),
        ),
        use_refresh_token=message.boolean("use_refresh_token", True),
        default_expires_in=message.duration("default_expires_in"),
        default_refresh_token_expires_in=message.duration("default_refresh_token_expires_in", 604800.0),
        disable_id_token_set_cookie=message.boolean("disable_id_token_set_cookie"),
        disable_access_token_set_cookie=message.boolean("disable_access_token_set_cookie"),
        disable_refresh_token_set_cookie=message.boolean("disable_refresh_token_set_cookie"),
        cookie_configs=_cookie_configs(message.optional("cookie_configs")),
        stat_prefix=message.text("stat_prefix"),
        csrf_token_expires_in=message.duration("csrf_token_expires_in", 600.0),
        code_verifier_token_expires_in=message.duration("code_verifier_token_expires_in", 600.0),
        disable_token_encryption=message.boolean("disable_token_encryption"),
        original_request_uri=_template_field(message, "original_request_uri"),
        allowed_redirect_domains=message.texts("allowed_redirect_domains"),
        use_access_token_expiry_for_id_token_cookie=message.boolean("use_access_token_expiry_for_id_token_cookie"),
    )


def _is_absolute(url: str) -> bool:
    """True for scheme, host and whatever follows; a port, if there is one, must be possible."""
    found = _ABSOLUTE_URL.fullmatch(url)
    if found is None:
        return False
    port = re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{0,5}))?", found[1], re.ASCII)
    return port is not None and int(port[1] or 0) <= _MAX_PORT


def _template_field(message: Message, name: str) -> str:
    text = message.text(name)
    if text:
        template(message, name, text, "Envoy would abort at the first request with this")
    return text


def _token_endpoint(message: Message, context: Context) -> HttpUri | None:
    endpoint = message.message("token_endpoint")
    if endpoint is None:
        message.problem("token_endpoint", "missing: every sign-in will fail", severity="warning")
        return None
    cluster = endpoint.text("cluster")
    if cluster and cluster not in context.clusters:
        endpoint.problem("cluster", f"unknown cluster '{cluster}': every sign-in will fail", severity="warning")
    return HttpUri(uri=endpoint.text("uri"), cluster=cluster, timeout=endpoint.duration("timeout"))


def _retry_policy(message: Message) -> RetryPolicy:
    back_off = message.optional("retry_back_off")
    base = back_off.duration("base_interval", 0.025)
    longest = back_off.duration("max_interval", 10 * base)
    if longest < base:
        back_off.problem("max_interval", "must not be less than base_interval")
    return RetryPolicy(
        num_retries=message.integer("num_retries", 1),
        retry_on=message.text("retry_on"),
        base_interval=base,
        max_interval=longest,
    )


def _credentials(message: Message, auth_type: AuthType, context: Context) -> OAuth2Credentials:
    token: SdsSecret | None = None
    if auth_type == "TLS_CLIENT_AUTH":
        message.ignore("token_secret")
    elif (written := message.message("token_secret")) is not None:
        token = generic_secret(written, context, "token")
    else:
        message.problem("token_secret", "token_secret is required when auth_type is not TLS_CLIENT_AUTH")
    hmac = message.message("hmac_secret")
    names = message.optional("cookie_names")
    defaults = CookieNames()
    return OAuth2Credentials(
        client_id=message.text("client_id"),
        token_secret=token,
        hmac_secret=generic_secret(hmac, context, "HMAC") if hmac is not None else SdsSecret(name=""),
        cookie_names=CookieNames(
            bearer_token=names.text("bearer_token") or defaults.bearer_token,
            oauth_hmac=names.text("oauth_hmac") or defaults.oauth_hmac,
            oauth_expires=names.text("oauth_expires") or defaults.oauth_expires,
            id_token=names.text("id_token") or defaults.id_token,
            refresh_token=names.text("refresh_token") or defaults.refresh_token,
            oauth_nonce=names.text("oauth_nonce") or defaults.oauth_nonce,
            code_verifier=names.text("code_verifier") or defaults.code_verifier,
        ),
        cookie_domain=message.text("cookie_domain"),
    )


def _forward_id_token(message: Message) -> str:
    forward = message.message("forward_id_token")
    header = forward.text("header").lower() if forward is not None else ""
    if forward is not None and (header.startswith(":") or header == "host"):
        forward.problem("header", "pseudo-headers and the Host header can't carry the ID token")
    users = (
        message.boolean("forward_bearer_token"),
        message.boolean("preserve_authorization_header"),
        header == "authorization",
    )
    if sum(users) > 1:
        message.problem(None, _EXCLUSIVE)
    return header


def _cookie_configs(message: Message) -> CookieConfigs:
    def config(name: str) -> CookieConfig:
        written = message.optional(f"{name}_cookie_config")
        return CookieConfig(
            same_site=written.choice("same_site", _SAME_SITE),
            path=written.text("path"),
            partitioned=written.boolean("partitioned"),
        )

    return CookieConfigs(
        bearer_token=config("bearer_token"),
        oauth_hmac=config("oauth_hmac"),
        oauth_expires=config("oauth_expires"),
        id_token=config("id_token"),
        refresh_token=config("refresh_token"),
        oauth_nonce=config("oauth_nonce"),
        code_verifier=config("code_verifier"),
    )
