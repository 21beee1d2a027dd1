"""`ostiary convert` at the command line: one dialect to another, and what can't be carried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cli.test_cli import ostiary
from envoy_example import BOOTSTRAP, HTTP_FILTERS, IDP, OAUTH2, ROUTE, spoilt
from ostiary.dialects import envoy, native

NATIVE = """\
listen: 127.0.0.1:4180
upstream: http://127.0.0.1:8080
external_url: https://app.example.com
provider:
  oauth2: true
  authorization_endpoint: https://id.example/authorize
  token_endpoint: https://id.example/token
  userinfo_endpoint: https://id.example/me
  client_id: my-app
  client_secret_file: /run/secrets/client
secret_file: /run/secrets/ostiary
public: [/healthz]
access: anyone
"""
ENTRA = (
    ("https://idp.test/authorize", "https://login.microsoftonline.com/contoso/oauth2/v2.0/authorize"),
    ("{inline_string: s3cret}", "{filename: /run/client}"),
    ("{inline_string: 0123456789abcdef}", "{filename: /run/hmac}"),
    ("/signout", "/oauth2/sign_out"),
    ("                use_refresh_token: false\n", ""),
    ("    dns_lookup_family: V4_ONLY\n", ""),
)
"""Of the example, so that a native configuration can say all of it."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source.yaml"


def test_an_envoy_configuration_becomes_native(source: Path) -> None:
    source.write_text(spoilt(*ENTRA))
    done = ostiary("convert", str(source), "--to", "native")
    assert (done.returncode, done.stderr) == (0, "")
    document = yaml.safe_load(done.stdout)
    assert document["provider"]["entra"] == {"tenant": "contoso"}
    assert document["provider"]["client_secret_file"] == "/run/client"
    assert (document["secret_file"], document["prefix"], document["access"]) == ("/run/hmac", "/oauth2", "anyone")
    assert document["pass"] == {"authorization": True}
    config, found = native.load([("again.yaml", done.stdout.encode())], flags={}, env={})
    assert (config is not None, [str(each) for each in found if each.severity == "error"]) == (True, [])


@pytest.mark.parametrize(
    ("change", "at", "said"),
    [
        ((OAUTH2, OAUTH2 + "                resources: [api]\n"), " resources:", "resources: there is no key for it"),
        (
            (OAUTH2, OAUTH2 + "                pass_through_matcher: [{name: ':path', string_match: {exact: /up}}]\n"),
            "pass_through_matcher:",
            "passed without a sign-in, and now needs one (write public: [/path]",
        ),
        ((ROUTE, "direct_response: {status: 200}"), "direct_response:", "an answer without an upstream"),
        ((ROUTE, "route: {cluster: backend, prefix_rewrite: '/a b'}"), "prefix_rewrite", "'/a b' is no plain path"),
        (("match: {prefix: /}", "match: {prefix: /api}"), "match:", "this becomes /api and everything below it"),
        (("domains: ['*']", "domains: ['app.*']"), "domains:", "'app.*': hosts are names or *.names"),
        ((HTTP_FILTERS, "          via: x\n" + HTTP_FILTERS), "via:", "via: there is no key for it"),
        (("  - name: idp\n", "    outlier_detection: {}\n  - name: idp\n"), "outlier_detection:", "no key for it"),
        ((IDP, "    dns_lookup_family: V6_ONLY\n" + IDP), "dns_lookup_family:", "V6_ONLY of the provider's cluster"),
        (
            ("https://login.microsoftonline.com/contoso/oauth2/v2.0/authorize", "https://id.test/a"),
            "authorization_endpoint:",
            "give it with --issuer",
        ),
    ],
)
def test_what_a_native_configuration_can_t_say_is_told_with_its_line(
    change: tuple[str, str], at: str, said: str, source: Path
) -> None:
    text = spoilt(*ENTRA)
    assert change[0] in text
    text = text.replace(*change, 1)
    source.write_text(text)
    done = ostiary("convert", str(source), "--to", "native")
    assert done.returncode == 1
    told, *more = done.stderr.splitlines()
    assert all("it can't be run as it stands" in each for each in more)
    line = text[: text.index(at)].count("\n") + 1
    assert told.startswith(f"{source}:{line}:")
    assert said in told
    assert done.stdout.startswith(f"# Not carried over from {source}:\n# - line {line}, ")
    assert yaml.safe_load(done.stdout)["provider"]


def test_fields_that_ostiary_has_not_are_lost_and_not_silently(source: Path) -> None:
    source.write_text(spoilt((HTTP_FILTERS, "          local_reply_config: {}\n" + HTTP_FILTERS)))
    done = ostiary("convert", str(source), "--to", "envoy", "--show-secrets")
    assert done.returncode == 1
    assert f"{source}:17:11: warning: " in done.stderr
    assert "local_reply_config" in done.stderr


def test_what_changes_nothing_here_is_lost_for_envoy_and_told(source: Path) -> None:
    source.write_text(spoilt((HTTP_FILTERS, f"          drain_timeout: 20s\n{HTTP_FILTERS}")))
    done = ostiary("convert", str(source), "--to", "envoy", "--show-secrets")
    assert done.returncode == 1
    assert "drain_timeout is not used" in done.stderr
    assert "(write it again if Envoy is to heed it)" in done.stderr


def test_an_envoy_configuration_is_written_as_it_was_meant(source: Path) -> None:
    source.write_text(BOOTSTRAP)
    done = ostiary("convert", str(source), "--to", "envoy", "--show-secrets")
    assert (done.returncode, done.stderr) == (0, "")
    first, _ = envoy.load([("a.yaml", BOOTSTRAP.encode())])
    again, _ = envoy.load([("b.yaml", done.stdout.encode())])
    assert again == first
    as_json = ostiary("convert", str(source), "--to", "envoy", "--show-secrets", "--json")
    assert json.loads(as_json.stdout) == yaml.safe_load(done.stdout)


@pytest.mark.parametrize("target", ["native", "envoy", "istio"])
def test_secrets_in_the_file_itself_are_not_printed(target: str, source: Path) -> None:
    source.write_text(BOOTSTRAP)
    where = ("--namespace", "shop", "--selector", "app=web") if target == "istio" else ()
    done = ostiary("convert", str(source), "--to", target, *where)
    assert done.returncode == 1
    assert "the client's secret is not printed" in done.stderr
    assert "REPLACE_ME" in done.stdout
    for secret in ("s3cret", "0123456789abcdef"):
        assert secret not in done.stdout + done.stderr
    shown = ostiary("convert", str(source), "--to", target, "--show-secrets", *where)
    assert "s3cret" in shown.stdout


def test_a_native_configuration_becomes_envoys(source: Path) -> None:
    source.write_text(NATIVE)
    done = ostiary("convert", str(source), "--to", "envoy")
    assert done.returncode == 1  # Envoy sets no identity headers
    [told] = done.stderr.splitlines()
    assert "no identity headers" in told
    config, _ = envoy.load([("again.yaml", done.stdout.encode())])
    assert config is not None
    document = yaml.safe_load(done.stdout)
    [listener] = document["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    oauth2 = manager["http_filters"][0]["typed_config"]["config"]
    assert oauth2["redirect_uri"] == "https://app.example.com/.ostiary/callback"
    assert [each["name"] for each in oauth2["pass_through_matcher"]] == [":path", ":path"]
    assert "x-forwarded-user" in manager["route_config"]["request_headers_to_remove"]
    assert manager["common_http_protocol_options"]["headers_with_underscores_action"] == "DROP_HEADER"
    tls = document["static_resources"]["clusters"][1]["transport_socket"]["typed_config"]["common_tls_context"]
    assert tls["validation_context"]["trusted_ca"] == {"filename": "/etc/ssl/certs/ca-certificates.crt"}


@pytest.mark.parametrize(("protocol", "path"), [("http/protobuf", "/v1/{}"), ("grpc", "")])
def test_telemetry_goes_along(protocol: str, path: str, source: Path) -> None:
    telemetry = f"{{endpoint: 'https://otel.example:4318', sampling: 10%, service_name: shop, protocol: {protocol}}}"
    source.write_text(f"{NATIVE}telemetry: {telemetry}\n")
    done = ostiary("convert", str(source), "--to", "envoy")
    assert len(done.stderr.splitlines()) == 1  # the identity headers
    document = yaml.safe_load(done.stdout)
    names = [each["name"] for each in document["static_resources"]["clusters"]]
    assert names[-2:] == ["telemetry_traces", "telemetry_metrics"]
    made = source.with_name("envoy.yaml")
    made.write_text(done.stdout)
    back = yaml.safe_load(ostiary("convert", str(made), "--to", "native").stdout)["telemetry"]
    assert back["traces_endpoint"] == f"https://otel.example:4318{path.format('traces')}"
    assert back["metrics_endpoint"] == f"https://otel.example:4318{path.format('metrics')}"
    assert (back["service_name"], back["sampling"]) == ("shop", "0.1")
    assert back.get("protocol", "http/protobuf") == protocol


@pytest.mark.parametrize("rule", ["emails: [ada@example.com]", "deny: true, paths: [/admin]", "hosts: [a.example]"])
@pytest.mark.parametrize("target", [("envoy",), ("istio", "-n", "shop", "-l", "app=web")])
def test_access_rules_are_not_lost_unless_that_is_asked_for(rule: str, target: tuple[str, ...], source: Path) -> None:
    source.write_text(NATIVE.replace("access: anyone", f"access: [{{{rule}}}]"))
    refused = ostiary("convert", str(source), "--to", *target)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{source}:13:1: error: access: Envoy's filter has no access rules" in refused.stderr
    done = ostiary("convert", str(source), "--without-access-rules", "--to", *target)
    assert done.returncode == 1
    assert f"{source}:13:1: warning: access: no access rules: whoever can sign in" in done.stderr
    assert "# - line 13, access: no access rules: whoever can sign in" in done.stdout


def test_the_sign_in_alone_goes_to_istio(source: Path) -> None:
    source.write_text(spoilt(*ENTRA))
    done = ostiary("convert", str(source), "--to", "istio", "-n", "shop", "-l", "app=web")
    assert done.returncode == 1
    assert "the client's secret is in /run/client (put it into the Secret)" in done.stderr
    secret, objects = yaml.safe_load_all(done.stdout)
    assert (secret["kind"], objects["kind"]) == ("Secret", "EnvoyFilter")
    cluster, chain = objects["spec"]["configPatches"]
    assert cluster["patch"]["value"]["name"] == "idp"
    oauth2 = chain["patch"]["value"]["typed_config"]["config"]
    assert oauth2["credentials"]["hmac_secret"]["sds_config"]["path_config_source"]["path"].startswith("/etc/istio/")
    assert oauth2["auth_scopes"] == ["openid", "profile"]


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (NATIVE, ("--to", "oauth2-proxy"), "can't write that dialect yet"),
        ('provider = "oidc"\nclient_id = "x"\n', ("--to", "native"), "oauth2-proxy, which this version can't read yet"),
        (NATIVE, ("--to", "istio"), "--namespace and --selector"),
        (NATIVE + "nonsense: 1\n", ("--to", "envoy"), ":14:1: error: nonsense: unknown key"),
        (NATIVE, (), "--to"),
    ],
)
def test_wrong_usage(text: str, arguments: tuple[str, ...], said: str, source: Path) -> None:
    source.write_text(text)
    done = ostiary("convert", str(source), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_standard_input() -> None:
    done = ostiary("convert", "-", "--to", "native", stdin=spoilt(*ENTRA))
    assert (done.returncode, done.stderr) == (0, "")


def test_what_envoyfilter_prints_becomes_a_bootstrap_to_try_it_with() -> None:
    endpoints = ("--authorization-endpoint", "https://id.example/a", "--token-endpoint", "https://id.example/t")
    where = ("--client-id", "shop", "-n", "shop", "-l", "app=web", "--external-url", "https://shop.example")
    made = ostiary("envoyfilter", *endpoints, *where)
    done = ostiary("convert", "-", "--to", "envoy", "--upstream", "http://127.0.0.1:8080", stdin=made.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    config, found = envoy.load([("again.yaml", done.stdout.encode())])
    assert (config is not None, [each for each in found if each.severity == "error"]) == (True, [])
    for upstream in ("http://127.0.0.1:8080", "http://app.internal"):
        done = ostiary("convert", "-", "--to", "native", "--upstream", upstream, stdin=made.stdout)
        told = [each.removeprefix("# - ").split(":")[0] for each in done.stdout.splitlines() if each.startswith("# - ")]
        keys = {name: number for number, line in enumerate(made.stdout.splitlines(), 1) for name in [line.strip(" :")]}
        lost = ["retry_policy", "token_secret", "auth_scopes", "hmac_secret"]  # nothing of the sidecar's own
        assert told == [f"line {keys.get(name, keys['config'])}, {name}" for name in lost]
    missing = ostiary("convert", "-", "--to", "envoy", stdin=made.stdout)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "--upstream http://127.0.0.1:8080" in missing.stderr


def test_what_an_envoyfilter_says_is_lost_at_its_line_and_by_its_path(source: Path) -> None:
    endpoints = ("--authorization-endpoint", "https://id.example/a", "--token-endpoint", "https://id.example/t")
    made = ostiary("envoyfilter", *endpoints, "--client-id", "shop", "-n", "shop", "-l", "app=web")
    source.write_text(made.stdout)
    where = ("--upstream", "http://127.0.0.1:8080", "-n", "shop", "-l", "app=web")
    to_native, to_istio = (ostiary("convert", str(source), "--to", to, *where).stderr for to in ("native", "istio"))
    line = next(number for number, text in enumerate(made.stdout.splitlines(), 1) if text.endswith(" hmac_secret:"))
    config = "spec.configPatches[1].patch.value.typed_config.config"
    assert f"{source}:{line}:15: warning: {config}.credentials.hmac_secret: a secret in a file of Envoy's" in to_native
    assert f"{source}:{line}:15: warning: {config}.credentials.hmac_secret: the HMAC secret is in" in to_istio
    assert "Cors" not in to_istio  # which Istio's own chain has
    again = ostiary("convert", str(source), "--to", "istio", "-n", "shop", "-l", "app=web")
    assert (again.returncode, again.stderr) == (1, to_istio)


def test_a_secret_of_one_start_is_nobodys(source: Path) -> None:
    source.write_text(NATIVE.replace("secret_file: /run/secrets/ostiary\n", ""))
    for more in ((), ("--show-secrets",)):
        done = ostiary("convert", str(source), "--to", "native", *more)
        assert (done.returncode, yaml.safe_load(done.stdout)) == (0, yaml.safe_load(source.read_text()))
        done = ostiary("convert", str(source), "--to", "envoy", *more)
        assert "secret_file: nobody wrote one" in done.stderr
        [_, hmac] = yaml.safe_load(done.stdout)["static_resources"]["secrets"]
        assert hmac["generic_secret"]["secret"] == {"filename": "REPLACE_ME"}
        done = ostiary("convert", str(source), "--to", "istio", "-n", "shop", "-l", "app=web", *more)
        assert f"{source}:10:3: warning: provider.client_secret_file: the client's secret is in /run" in done.stderr
        secret, _ = yaml.safe_load_all(done.stdout)
        assert "inline_string: ''" in secret["stringData"]["hmac-secret.yaml"]


@pytest.mark.parametrize(
    "upstream",
    [
        {"url": "unix:/run/app.sock", "http2": True},
        {"urls": ["unix:/run/a.sock", "unix:/run/b.sock"], "http2": True},
        {"url": "https://app.internal", "http2": True},
        "unix:/run/app.sock",
        "h2c://app.internal:8080",
        {"urls": ["http://a:1", "http://b:2"], "host_header": "upstream", "balance": "LEAST_REQUEST"},
    ],
)
def test_an_upstream_stays_what_it_is(upstream: object, source: Path) -> None:
    source.write_text(yaml.safe_dump({**yaml.safe_load(NATIVE), "upstream": upstream}))
    done = ostiary("convert", str(source), "--to", "native")
    assert (done.returncode, yaml.safe_load(done.stdout)["upstream"]) == (0, upstream), done.stderr
    to_envoy = ostiary("convert", str(source), "--to", "envoy")
    source.write_text(to_envoy.stdout)
    back = ostiary("convert", str(source), "--to", "native")
    found = yaml.safe_load(back.stdout)["upstream"]
    if isinstance(found, dict):
        found.pop("ca_file", None)  # the system's, written out for Envoy
    assert found == upstream, back.stderr


def test_discovery_that_fails_says_why(source: Path) -> None:
    source.write_text("upstream: http://127.0.0.1:1\nprovider: {issuer: 'https://127.0.0.1:1', client_id: a}\n")
    done = ostiary("convert", str(source), "--to", "envoy")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Can't connect to 127.0.0.1:1" in done.stderr
