"""The OAuth2 filter's configuration, from the model to Envoy's fields."""

from __future__ import annotations

from typing import Final

import msgspec

from ostiary.dialects.envoy_text_values import (
    Secrets,
    Tree,
    differing,
    duration,
    duration_unless,
    given,
    header_matchers,
    some,
    string_matcher,
    typed,
    unless,
)
from ostiary.model.oauth2 import CookieConfig, CookieNames, OAuth2Config, OAuth2Credentials, PrivateKeyJwtConfig
from ostiary.model.routes import RetryPolicy

OAUTH2: Final = "envoy.extensions.filters.http.oauth2.v3.OAuth2"
_PLAIN: Final = (
    "forward_bearer_token", "preserve_authorization_header", "auth_type", "use_refresh_token", "default_expires_in",
    "default_refresh_token_expires_in", "disable_id_token_set_cookie", "disable_access_token_set_cookie",
    "disable_refresh_token_set_cookie", "stat_prefix", "csrf_token_expires_in", "code_verifier_token_expires_in",
    "disable_token_encryption", "original_request_uri", "use_access_token_expiry_for_id_token_cookie",
)  # fmt: skip
"""Fields that are written as they are in the model, where they differ from the default."""


def oauth2_filter(config: OAuth2Config | None, secrets: Secrets) -> Tree:
    """filters.http.oauth2.v3.OAuth2."""
    return typed(OAUTH2, config=oauth2_config(config, secrets) if config is not None else None)


def oauth2_config(config: OAuth2Config, secrets: Secrets) -> Tree:
    """filters.http.oauth2.v3.OAuth2Config."""
    endpoint = config.token_endpoint
    logout = some(config.post_logout_redirect_uri)
    header = config.forward_id_token_header
    key = config.private_key_jwt_config
    return given(
        token_endpoint={"uri": endpoint.uri, "cluster": endpoint.cluster, "timeout": duration(endpoint.timeout)}
        if endpoint is not None
        else None,
        retry_policy=_retry_policy(config.retry_policy) if config.retry_policy is not None else None,
        authorization_endpoint=config.authorization_endpoint,
        end_session_endpoint=some(config.end_session_endpoint),
        post_logout_redirect_uri={"disabled": True}
        if config.post_logout_redirect_uri_disabled
        else {"uri": logout}
        if logout
        else None,
        credentials=_credentials(config.credentials, secrets),
        redirect_uri=config.redirect_uri,
        redirect_path_matcher={"path": string_matcher(config.redirect_path_matcher)},
        signout_path={"path": string_matcher(config.signout_path)},
        **differing(config, _PLAIN),
        forward_id_token={"header": header} if header else None,
        pass_through_matcher=header_matchers(config.pass_through_matcher),
        allow_failed_matcher=header_matchers(config.allow_failed_matcher),
        deny_redirect_matcher=header_matchers(config.deny_redirect_matcher),
        auth_scopes=some(list(config.auth_scopes)),
        resources=some(list(config.resources)),
        private_key_jwt_config=_private_key_jwt(key),
        cookie_configs=some(
            {
                f"{each.name}_cookie_config": _cookie_config(getattr(config.cookie_configs, each.name))
                for each in msgspec.structs.fields(config.cookie_configs)
                if getattr(config.cookie_configs, each.name) != CookieConfig()
            }
        ),
        allowed_redirect_domains=some(list(config.allowed_redirect_domains)),
    )


def _private_key_jwt(config: PrivateKeyJwtConfig) -> Tree | None:
    if config == PrivateKeyJwtConfig():
        return None
    return given(
        signing_algorithm=unless(config.signing_algorithm, "RS256"),
        assertion_lifetime=duration_unless(config.assertion_lifetime, 60.0),
    )


def _retry_policy(policy: RetryPolicy) -> Tree:
    """core.v3.RetryPolicy."""
    back_off = {"base_interval": duration(policy.base_interval), "max_interval": duration(policy.max_interval)}
    usual = (policy.base_interval, policy.max_interval) == (RetryPolicy().base_interval, RetryPolicy().max_interval)
    return given(
        num_retries=policy.num_retries, retry_on=some(policy.retry_on), retry_back_off=None if usual else back_off
    )


def _credentials(credentials: OAuth2Credentials, secrets: Secrets) -> Tree:
    token = credentials.token_secret
    return given(
        client_id=credentials.client_id,
        token_secret=secrets.generic(token, "the client's secret") if token is not None else None,
        hmac_secret=secrets.generic(credentials.hmac_secret, "the HMAC secret"),
        cookie_names=some(differing(credentials.cookie_names, CookieNames.__struct_fields__)),
        cookie_domain=some(credentials.cookie_domain),
    )


def _cookie_config(config: CookieConfig) -> Tree:
    return differing(config, CookieConfig.__struct_fields__)
