from __future__ import annotations

import pytest

from envoy_example import OAUTH2, error, manager, spoilt, warnings
from ostiary.dialects.envoy import load
from ostiary.model.matchers import HeaderMatcher, StringMatcher
from ostiary.model.oauth2 import CookieConfig, CookieNames, EnvoyOAuth2, HttpUri, OAuth2Config, SdsSecret
from ostiary.model.routes import RetryPolicy
from ostiary.model.secret import Secret
from ostiary.model.tls import DataSource

SCOPES = "auth_scopes: [openid, profile]"


def oauth2(*replacements: tuple[str, str]) -> OAuth2Config:
    config = manager(*replacements).http_filters[0].config
    assert isinstance(config, EnvoyOAuth2)
    assert config.config is not None
    return config.config


def fields(*lines: str) -> tuple[str, str]:
    return OAUTH2, "".join(f"                {line}\n" for line in lines)


def test_the_fields_and_envoys_defaults() -> None:
    config = oauth2()
    assert config.token_endpoint == HttpUri(uri="https://idp.test/token", cluster="idp", timeout=3.0)
    assert config.redirect_path_matcher == StringMatcher("exact", "/oauth2/callback")
    assert config.auth_scopes == ("openid", "profile")
    assert config.forward_bearer_token is True
    assert config.use_refresh_token is False
    assert config.csrf_token_expires_in == 600.0
    assert config.default_refresh_token_expires_in == 604800.0
    assert config.credentials.cookie_names == CookieNames()
    assert config.retry_policy is None


def test_an_absent_use_refresh_token_is_true() -> None:
    assert oauth2(("                use_refresh_token: false\n", "")).use_refresh_token is True


def test_static_secrets_are_resolved() -> None:
    credentials = oauth2().credentials
    assert credentials.token_secret == SdsSecret(name="token", value=DataSource(inline=Secret("s3cret")))


def test_secrets_in_files_stay_files() -> None:
    source = "{path_config_source: {path: /etc/hmac.yaml, watched_directory: {path: /etc}}, resource_api_version: V3}"
    credentials = oauth2(
        ("hmac_secret: {name: hmac}", f"hmac_secret: {{name: hmac, sds_config: {source}}}")
    ).credentials
    assert credentials.hmac_secret == SdsSecret(name="hmac", path="/etc/hmac.yaml", watched_directory="/etc")


def test_a_secret_s_file_is_looked_at_where_files_are_read() -> None:
    source = "{path_config_source: {path: /hmac.yaml}, resource_api_version: V3}"
    text = spoilt(("hmac_secret: {name: hmac}", f"hmac_secret: {{name: hmac, sds_config: {source}}}")).encode()
    files = {"/hmac.yaml": b"name: hmac\ngeneric_secret: {secret: {inline_string: value}}\n"}

    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[path]

    assert load([("f", text)], read=read)[0] is not None
    files["/hmac.yaml"] = b"name: other\ngeneric_secret: {secret: {inline_string: value}}\n"
    config, found = load([("f", text)], read=read)
    assert config is None and [(item.file, item.line) for item in found] == [("/hmac.yaml", 1)]
    assert "no secret called 'hmac' (it has: other)" in found[0].message
    del files["/hmac.yaml"]
    config, found = load([("f", text)], read=read)
    assert config is None and len(found) == 1
    assert found[0].path.endswith("hmac_secret.sds_config.path_config_source.path") and found[0].line > 1
    assert found[0].message == "can't read /hmac.yaml: No such file or directory" and found[0].mend


def test_secrets_from_a_control_plane_are_refused() -> None:
    message = error(("hmac_secret: {name: hmac}", "hmac_secret: {name: hmac, sds_config: {ads: {}}}"))
    assert "sds_config.ads: valid in Envoy, not implemented" in message
    assert "path_config_source" in message


def test_every_other_field() -> None:
    config = oauth2(
        fields(
            "forward_id_token: {header: X-Id}",
            "pass_through_matcher: [{name: ':Path', string_match: {prefix: /pub}, invert_match: true}]",
            "deny_redirect_matcher: [{name: accept, exact_match: a}, {name: x, range_match: {start: 1, end: 5}}]",
            "resources: [r]",
            "auth_type: PRIVATE_KEY_JWT",
            "private_key_jwt_config: {signing_algorithm: ES256, assertion_lifetime: 30s}",
            "retry_policy: {num_retries: 3, retry_on: 5xx, retry_back_off: {base_interval: 0.1s}}",
            "cookie_configs: {oauth_nonce_cookie_config: {same_site: NONE, path: /a, partitioned: true}}",
            "original_request_uri: 'https://%REQ(:authority)%'",
            "stat_prefix: s",
        )
    )
    assert config.forward_id_token_header == "x-id"
    assert config.pass_through_matcher == (
        HeaderMatcher(name=":path", string_match=StringMatcher("prefix", "/pub"), invert_match=True),
    )
    assert config.deny_redirect_matcher[1].range_match == (1, 5)
    assert config.deny_redirect_matcher[0].string_match == StringMatcher("exact", "a")
    assert config.private_key_jwt_config.signing_algorithm == "ES256"
    assert config.private_key_jwt_config.assertion_lifetime == 30.0
    assert config.retry_policy == RetryPolicy(num_retries=3, retry_on="5xx", base_interval=0.1, max_interval=1.0)
    assert config.cookie_configs.oauth_nonce == CookieConfig(same_site="NONE", path="/a", partitioned=True)
    assert (config.original_request_uri, config.stat_prefix, config.resources) == (
        "https://%REQ(:authority)%",
        "s",
        ("r",),
    )


def test_sign_out_at_the_provider() -> None:
    config = oauth2(fields("end_session_endpoint: https://x", "post_logout_redirect_uri: {uri: 'https://a/'}"))
    assert (config.end_session_endpoint, config.post_logout_redirect_uri) == ("https://x", "https://a/")
    assert oauth2(fields("post_logout_redirect_uri: {disabled: true}")).post_logout_redirect_uri_disabled is True


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ((SCOPES, "end_session_endpoint: https://x"), "only supported for OpenID Connect"),
        (("https://idp.test/authorize", "/authorize"), "invalid authorization endpoint URL"),
        (("%REQ(:authority)%", "%NOPE(x)%"), "redirect_uri: "),
        (fields("forward_bearer_token: true", "preserve_authorization_header: true"), "at most one of"),
        (fields("forward_id_token: {header: Host}"), "can't carry the ID token"),
        (("                  token_secret: {name: token}\n", ""), "token_secret is required"),
        (("token_secret: {name: token}", "token_secret: {name: tokn}"), "static_resources.secrets has hmac, token"),
    ],
)
def test_the_rules_that_envoy_has_in_code(replacement: tuple[str, str], message: str) -> None:
    assert message in error(replacement)


def test_sign_ins_that_can_only_fail_are_warned_about() -> None:
    assert "unknown cluster 'nope'" in warnings(("{cluster: idp, uri", "{cluster: nope, uri"))[0]
    line = "                token_endpoint: {cluster: idp, uri: 'https://idp.test/token', timeout: 3s}\n"
    assert "token_endpoint: missing" in warnings((line, ""))[0]
