"""`ostiary envoyfilter` at the command line: what it prints, and what it says when it can't."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.test_cli import ostiary
from ostiary.testing.provider import DemoProvider

WRITTEN = ("--authorization-endpoint", "https://id.example/authorize", "--token-endpoint", "https://id.example/token")
ISSUED = ("--issuer", "https://id.example", "--jwks-uri", "https://id.example/jwks", *WRITTEN)
WHERE = ("--client-id", "httpbin", "-n", "shop", "-l", "app=httpbin", "-l", "tier=web")
URL = ("--external-url", "https://shop.example")


def printed(*arguments: str) -> dict[str, Any]:
    """The objects by their kinds; nothing may be said on stderr."""
    done = ostiary("envoyfilter", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}


def config_of(objects: dict[str, Any]) -> dict[str, Any]:
    """The OAuth2 filter's configuration."""
    patch = objects["EnvoyFilter"]["spec"]["configPatches"][-1]
    config: dict[str, Any] = patch["patch"]["value"]["typed_config"]["config"]
    return config


def test_the_filter_is_first_and_the_cluster_is_verified() -> None:
    objects = printed(*ISSUED, *WHERE, *URL)
    assert set(objects) == {"Secret", "EnvoyFilter"}
    for each in objects.values():
        assert each["metadata"] == {"name": "sign-in", "namespace": "shop"}
    spec = objects["EnvoyFilter"]["spec"]
    assert spec["workloadSelector"]["labels"] == {"app": "httpbin", "tier": "web"}
    cluster, chain = spec["configPatches"]
    assert (cluster["applyTo"], cluster["match"], cluster["patch"]["operation"]) == (
        "CLUSTER",
        {"context": "SIDECAR_OUTBOUND"},
        "ADD",
    )
    value = cluster["patch"]["value"]
    assert (value["type"], value["dns_lookup_family"]) == ("LOGICAL_DNS", "ALL")
    tls = value["transport_socket"]["typed_config"]
    assert tls["sni"] == "id.example"
    assert tls["common_tls_context"]["validation_context"] == {
        "trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "id.example"}}],
    }
    assert (chain["applyTo"], chain["patch"]["operation"]) == ("HTTP_FILTER", "INSERT_FIRST")
    assert chain["match"]["context"] == "SIDECAR_INBOUND"
    config = config_of(objects)
    assert config["redirect_uri"] == "https://shop.example/oauth2/callback"
    assert config["auth_scopes"] == ["openid", "profile", "email"]


def test_a_gateway_has_its_own_context_and_mounts_the_secret_itself() -> None:
    done = ostiary(
        "envoyfilter", *ISSUED, *WHERE, *URL, "--context", "gateway", "--port", "8443", "--deployment", "edge"
    )
    spec = next(yaml.safe_load_all(done.stdout.partition("---\n")[2]))["spec"]
    assert [each["match"]["context"] for each in spec["configPatches"]] == ["GATEWAY", "GATEWAY"]
    assert spec["configPatches"][1]["match"]["listener"]["portNumber"] == 8443
    command = done.stdout.splitlines()[-1]
    assert command.startswith("# kubectl -n shop patch deployment edge --patch '")
    patch = json.loads(command.partition("'")[2].rpartition("'")[0])["spec"]["template"]["spec"]
    assert patch["containers"][0]["volumeMounts"][0]["mountPath"] == "/etc/istio/sign-in"
    assert patch["volumes"] == [{"name": "sign-in", "secret": {"secretName": "sign-in"}}]


def test_the_secret_has_placeholders_or_what_was_given(tmp_path: Path) -> None:
    secret = printed(*ISSUED, *WHERE, *URL)["Secret"]["stringData"]
    values = {name: yaml.safe_load(text)["resources"][0]["generic_secret"] for name, text in secret.items()}
    assert values["token-secret.yaml"] == {"secret": {"inline_string": "REPLACE_ME"}}
    assert values["hmac-secret.yaml"] == {"secret": {"inline_string": ""}}, "a secret that everybody knows"
    (tmp_path / "client").write_text("s3cret\n")
    given = ("--client-secret-file", str(tmp_path / "client"), "--generate-hmac")
    first, second = (printed(*ISSUED, *WHERE, *URL, *given)["Secret"]["stringData"] for _ in range(2))
    assert "inline_string: s3cret\n" in first["token-secret.yaml"]
    assert first["hmac-secret.yaml"] != second["hmac-secret.yaml"]
    assert "REPLACE_ME" not in json.dumps(first)


def test_what_verifies_the_token_fits_what_the_filter_hands_on() -> None:
    more = ("--request-authentication", "--pass-through", "/healthz", "--pass-through-preflight", "--port", "8080")
    objects = printed(*ISSUED, *WHERE, *URL, *more)
    [rule] = objects["RequestAuthentication"]["spec"]["jwtRules"]
    assert rule == {
        "issuer": "https://id.example",
        "jwksUri": "https://id.example/jwks",
        "audiences": ["httpbin"],
        "fromCookies": ["IdToken"],
        "forwardOriginalToken": True,
    }
    policy = objects["AuthorizationPolicy"]["spec"]
    assert policy["action"] == "DENY"
    assert policy["rules"] == [
        {
            "from": [{"source": {"notRequestPrincipals": ["*"]}}],
            "to": [{"operation": {"notPaths": ["/healthz"], "notMethods": ["OPTIONS"], "ports": ["8080"]}}],
        }
    ]
    objects = printed(
        *ISSUED, *WHERE, *URL, "--request-authentication", "--verify", "access-token", "--audience", "api"
    )
    [rule] = objects["RequestAuthentication"]["spec"]["jwtRules"]
    assert (rule["audiences"], "fromCookies" in rule) == (["api"], False)


def test_json_is_one_list() -> None:
    done = ostiary("envoyfilter", *ISSUED, *WHERE, *URL, "--json")
    document = json.loads(done.stdout)
    assert (document["kind"], [each["kind"] for each in document["items"]]) == ("List", ["Secret", "EnvoyFilter"])
    assert "kubectl -n shop patch deployment" in done.stderr


def test_a_provider_by_name_brings_its_scopes_and_parameters() -> None:
    done = ostiary("envoyfilter", "--provider", "github", *WHERE, *URL)
    assert "everyone with a GitHub account can sign in" in done.stderr
    config = config_of({each["kind"]: each for each in yaml.safe_load_all(done.stdout)})
    assert config["auth_scopes"] == ["read:user", "user:email"]
    assert config["token_endpoint"]["uri"] == "https://github.com/login/oauth/access_token"


def test_endpoints_are_discovered() -> None:
    async def scenario() -> dict[str, Any]:
        async with DemoProvider() as provider:
            done = await asyncio.to_thread(ostiary, "envoyfilter", "--issuer", provider.issuer, *WHERE, *URL)
            assert done.returncode == 0, done.stderr
            config = config_of({each["kind"]: each for each in yaml.safe_load_all(done.stdout)})
            assert config["token_endpoint"]["uri"] == f"{provider.issuer}/token"
            assert config["authorization_endpoint"] == f"{provider.issuer}/authorize"
            other = await asyncio.to_thread(ostiary, "envoyfilter", "--issuer", f"{provider.issuer}/", *WHERE, *URL)
            assert (other.returncode, other.stdout) == (1, "")
            assert f"its `issuer` is '{provider.issuer}', the configured one is '{provider.issuer}/'" in other.stderr
            return config

    assert asyncio.run(scenario())["end_session_endpoint"]


def test_discovery_that_fails_says_why() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        issuer = f"https://127.0.0.1:{closed.getsockname()[1]}"
        done = ostiary("envoyfilter", "--issuer", issuer, *WHERE, *URL)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ostiary: error: discovery: Can't connect to 127.0.0.1")
    assert "nothing listens on that port, ECONNREFUSED" in done.stderr
    assert f"(`ostiary doctor {issuer}` says why; --authorization-endpoint and" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (WHERE, "name the provider"),
        ((*ISSUED, "--client-id", "a b", *WHERE[2:]), "unencoded"),
        ((*ISSUED, *WHERE[:4], "-l", "app"), "NAME=VALUE"),
        ((*ISSUED, *WHERE, "--pass-through", "/*"), "everything would be open"),
        ((*ISSUED, *WHERE, "--pass-through", "/a/../b"), "not normalised"),
        ((*ISSUED, *WHERE, "--external-url", "http://shop.example"), "https://app.example.com"),
        ((*ISSUED, *WHERE, "--external-url", "https://shop.example/x"), "without a path"),
        ((*ISSUED, *WHERE, "--scope", "email"), "openid is missing"),
        ((*WRITTEN, *WHERE, "--request-authentication"), "needs a provider with keys"),
        ((*ISSUED, *WHERE, "--redirect-uri", "https://%NOPE%/cb"), "redirect_uri"),
        (("--issuer", "http://id.example", *WHERE), "plain http://"),
        (("--provider", "entra", *WHERE), "entra:TENANT"),
        (("--provider", "acme:x", *WHERE), "cognito, any other by --issuer URL"),
        ((*WRITTEN[:3], "http://id.example/token", *WHERE), "--token-endpoint: plain http://"),
        ((*WRITTEN, *WHERE, "--name", "a b'"), "a name has small letters, digits and -"),
        ((*WRITTEN, *WHERE, "--namespace", "a;b"), "a name has small letters, digits and -"),
        ((*WRITTEN, *WHERE, "--deployment", "x;y"), "no name of a Deployment"),
        ((*WRITTEN, *WHERE, "--selector", "app=*"), "write NAME=VALUE"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    done = ostiary("envoyfilter", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
