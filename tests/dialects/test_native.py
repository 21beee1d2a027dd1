"""The native dialect: what good files mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialects.native_files import MINIMAL, good, load_all, sign_in, told
from ostiary.dialects import native
from ostiary.dialects.native_schema import ENVIRONMENT, FLAGS
from ostiary.model.clusters import Http2
from ostiary.model.config import Address, Config
from ostiary.model.process import Process
from ostiary.model.routes import RedirectAction, RouteAction
from ostiary.model.secret import Secret
from ostiary.model.signin import AccessRule
from ostiary.model.tls import DataSource

# --- what a short file means


def test_the_shortest_file_is_a_whole_doorkeeper() -> None:
    config = good(MINIMAL)
    (listener,) = config.listeners
    assert config.dialect == "native"
    assert listener.address == Address(host="127.0.0.1", port=4180)
    assert listener.http.profile == "ostiary"
    assert listener.http.use_remote_address
    assert listener.http.upgrade_types == {"websocket": True}
    (host,) = listener.http.route_config.virtual_hosts
    action = host.routes[0].action
    assert isinstance(action, RouteAction)
    assert (action.cluster, action.timeout) == ("upstream", 0.0)
    assert config.clusters[0].type == "STATIC"
    assert config.clusters[0].endpoints[0].port == 8080
    assert sign_in(config).rules == (AccessRule(),)
    assert load_all(MINIMAL).diagnostics == ()


def test_flags_alone_are_a_whole_doorkeeper() -> None:
    flags = {"upstream": "http://127.0.0.1:8080", "issuer": "https://login.example.com", "client-id": "app"}
    config = good(flags=flags, env={"OSTIARY_SECRET": "x" * 32, "OSTIARY_CLIENT_SECRET": "hidden"})
    assert sign_in(config).provider.issuer == "https://login.example.com"
    assert sign_in(config).provider.client_secret == DataSource(inline=Secret("hidden"))


def test_a_flag_wins_over_the_environment_and_that_over_the_file() -> None:
    text = MINIMAL + "listen: 127.0.0.1:1\n"
    env = {"OSTIARY_LISTEN": "127.0.0.1:2"}
    assert good(text).listeners[0].address.port == 1
    assert good(text, env=env).listeners[0].address.port == 2
    assert good(text, env=env, flags={"listen": "127.0.0.1:3"}).listeners[0].address.port == 3


def test_later_files_are_laid_over_earlier_ones_key_by_key_but_lists_are_replaced() -> None:
    files = [("a", b"session: {lifetime: 8h, same_site: strict}\npublic: [/a, /b]\n" + MINIMAL.encode())]
    files.append(("b", b"session: {lifetime: 9h}\npublic: [/c]\n"))
    config, diagnostics = native.load(files, flags={}, env={})
    assert diagnostics == []
    assert config is not None
    session = sign_in(config).session
    assert (session.absolute_lifetime, session.same_site) == (9 * 3600, "strict")
    assert sign_in(config).rules[0] == AccessRule(paths=("/c",), public=True)


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_and_its_variable_reach_the_same_key(flag: str) -> None:
    name = "OSTIARY_" + flag.upper().replace("-", "_")
    assert ENVIRONMENT[name] == FLAGS[flag]
    values = {"workers": "3", "log-level": "debug", "log-format": "json", "component-log-level": "dns:trace"}
    values |= {
        "flight-users": "false",
        "drain-timeout": "20s",
        "watch": "false",
        "listen": "127.0.0.1:99",
        "admin": "127.0.0.1:98",
        "upstream": "http://h:1",
        "issuer": "https://i",
    }
    value = values.get(flag, "other")
    text = MINIMAL.replace("secret: 0123456789abcdef0123456789abcdef\n", "") if flag == "secret-file" else MINIMAL
    plain = load_all(text, entropy=bytes)
    by_flag = load_all(text, flags={flag: value}, entropy=bytes)
    by_variable = load_all(text, env={name: value}, entropy=bytes)
    assert by_flag.config is not None
    assert (by_flag.config, by_flag.process) == (by_variable.config, by_variable.process)
    assert (by_flag.config, by_flag.process) != (plain.config, plain.process)


def test_process_options_come_from_every_source() -> None:
    loaded = load_all(
        MINIMAL
        + "workers: auto\nlog: {level: Warning, components: {dns: debug}, format: istio}\ntimeouts: {drain: 5s}\n"
    )
    expected = Process(
        workers=0, log_level="warning", component_log_level={"dns": "debug"}, log_format="istio", drain_timeout=5.0
    )
    assert loaded.process == expected


def test_process_options_of_another_dialect_take_no_native_flags() -> None:
    process, diagnostics = native.load_process(flags={"workers": "2"}, env={"OSTIARY_LOG_LEVEL": "debug"})
    assert (process, diagnostics) == (Process(workers=2, log_level="debug"), [])
    process, diagnostics = native.load_process(flags={"listen": ":1"}, env={})
    assert process is None
    assert "--listen: error: this flag belongs to the native dialect" in str(diagnostics[0])


# --- providers


@pytest.mark.parametrize(
    ("provider", "issuer"),
    [
        ("entra: {tenant: contoso.com}", "https://login.microsoftonline.com/contoso.com/v2.0"),
        ("entra: {tenant: t, cloud: us}", "https://login.microsoftonline.us/t/v2.0"),
        ("google: {hosted_domain: Example.com}", "https://accounts.google.com"),
        ("keycloak: {url: https://sso.example.com/, realm: main}", "https://sso.example.com/realms/main"),
        ("gitlab: {url: https://git.example.com}", "https://git.example.com"),
        ("okta: {domain: e.okta.com}", "https://e.okta.com"),
        ("okta: {domain: e.okta.com, authorization_server: default}", "https://e.okta.com/oauth2/default"),
        ("auth0: {domain: e.eu.auth0.com}", "https://e.eu.auth0.com/"),
        (
            "cognito: {region: eu-central-1, user_pool: eu-central-1_Ab}",
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab",
        ),
        ("issuer: https://a.example/tenant/", "https://a.example/tenant/"),
        ("issuer: http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("{allow_http: true, issuer: http://keycloak:8080, client_id: app}", "http://keycloak:8080"),
    ],
)
def test_a_provider_by_name_has_its_issuer(provider: str, issuer: str) -> None:
    if provider.startswith("{"):
        text = MINIMAL.replace("\n  issuer: https://login.example.com\n  client_id: app", f" {provider}")
    else:
        text = MINIMAL.replace("issuer: https://login.example.com", provider)
    found = sign_in(good(text)).provider
    assert (found.kind, found.issuer, found.client_id) == ("oidc", issuer, "app")


def test_github_is_plain_oauth_with_its_own_endpoints() -> None:
    text = MINIMAL.replace("issuer: https://login.example.com", "github:") + "access: [{emails: [Me@example.com]}]\n"
    provider = sign_in(good(text)).provider
    assert (provider.kind, provider.preset, provider.issuer) == ("oauth2", "github", "")
    assert provider.userinfo_endpoint == "https://api.github.com/user"
    assert sign_in(good(text)).rules[0].emails == ("me@example.com",)


def test_google_names_no_groups_so_a_rule_about_them_is_refused() -> None:
    text = MINIMAL.replace("issuer: https://login.example.com", "google:")
    (line,) = told(text + "access: [{groups: [staff]}]\n")
    assert line.startswith("o.yaml:6:9: error: access: google names no groups")


@pytest.mark.parametrize(
    ("provider", "scopes"),
    [
        ("github:", "read:user user:email read:org"),
        ("entra: {tenant: contoso.com}", "openid profile email offline_access User.Read"),
        ("entra: {tenant: contoso.com, version: 1}", "openid"),
        ("okta: {domain: e.okta.com}", "openid profile email groups"),
        ("okta: {domain: e.okta.com, authorization_server: default}", "openid profile email"),
    ],
)
def test_a_rule_about_groups_asks_for_the_scope_that_shows_them(provider: str, scopes: str) -> None:
    text = MINIMAL.replace("issuer: https://login.example.com", provider)
    assert sign_in(good(text + "access: [{groups: [staff]}]\n")).provider.scopes == tuple(scopes.split())
    assert (
        sign_in(
            good(text + "access: [{groups: [staff]}]\n", flags={"set provider.scopes": f"{scopes} x"})
        ).provider.scopes[-1]
        == "x"
    )
    without = sign_in(good(text + "access: [{emails: [a@b.example]}]\n")).provider.scopes
    assert set(without) <= set(scopes.split()) - {"User.Read", "read:org", "groups"}


def test_scopes_that_hide_githubs_groups_from_a_rule_are_refused() -> None:
    text = MINIMAL.replace("issuer: https://login.example.com", "github:\n  scopes: read:user")
    (line,) = told(text + "access: [{groups: [staff]}]\n")
    assert line.startswith("o.yaml:4:11: error: provider.scopes: read:org is missing, which groups need")


def test_what_proves_the_client_is_one_thing(tmp_path: Path) -> None:
    for name, content in {
        "token": "a.b.c",
        "key": "-----BEGIN PRIVATE KEY-----",
        "cert": "-----BEGIN CERTIFICATE-----",
    }.items():
        (tmp_path / name).write_text(content)
    files = {
        name: f"  client_{key}_file: {tmp_path / name}\n"
        for name, key in (("token", "assertion"), ("key", "secret"), ("cert", "certificate"))
    }
    read = lambda name: Path(name).read_bytes()  # noqa: E731
    head, _, tail = MINIMAL.partition("secret: ")
    found = sign_in(good(head + files["token"] + "secret: " + tail, read=read)).provider
    assert (found.client_auth_method, found.client_secret) == (
        "client_assertion",
        DataSource(filename=str(tmp_path / "token")),
    )
    found = sign_in(good(head + files["key"] + files["cert"] + "secret: " + tail, read=read)).provider
    assert (found.client_auth_method, found.client_certificate) == ("auto", DataSource(filename=str(tmp_path / "cert")))
    (line,) = told(head + files["token"] + files["key"] + "secret: " + tail, read=read)
    assert "provider.client_secret_file: both client_secret_file and client_assertion_file are given" in line
    (line,) = told(head + files["cert"] + "secret: " + tail, read=read)
    assert "provider.client_certificate_file: without its private key" in line
    (tmp_path / "cert").write_text("nothing")
    (line,) = told(head + files["key"] + files["cert"] + "secret: " + tail, read=read)
    assert "provider.client_certificate_file: holds no certificate in PEM form" in line


def test_the_providers_name_can_be_asked_from_servers_of_its_own() -> None:
    config = good(MINIMAL, flags={"set provider.dns_resolvers": "[10.0.0.53, '10.0.0.54:5353', '::1', '[::1]:53']"})
    expected = (("10.0.0.53", 53), ("10.0.0.54", 5353), ("::1", 53), ("::1", 53))
    assert sign_in(config).provider.dns_resolvers == expected
    for bad in ("dns.example", "10.0.0.1:0", "[::1]", "10.0.0.1:99999"):
        (line,) = told(MINIMAL, flags={"set provider.dns_resolvers": f"['{bad}']"})
        assert "is not a server's address" in line


def test_a_hosted_domain_is_proved_by_its_claim_and_not_only_asked_for() -> None:
    text = MINIMAL.replace("issuer: https://login.example.com", "google: {hosted_domain: Example.com}")
    rules = sign_in(good(text + "public: [/health]\naccess: [{emails: [a@b.c]}]\n")).rules
    assert rules[0] == AccessRule(paths=("/health",), public=True)
    assert rules[1] == AccessRule(emails=("a@b.c",), claims={"hd": ("example.com",)})


@pytest.mark.parametrize("provider", ["google:", "github:", "gitlab:", "entra: {tenant: common}"])
@pytest.mark.parametrize("access", ["", "access: [{paths: [/reports]}]\n", "access: [{methods: [GET]}]\n"])
def test_where_the_whole_world_can_sign_in_someone_has_to_say_who_may_enter(provider: str, access: str) -> None:
    text = MINIMAL.replace("issuer: https://login.example.com", provider)
    (line,) = told(text + access)
    assert "error: access" in line and "say who may enter" in line
    assert sign_in(good(text + "access: anyone\n")).rules == (AccessRule(),)
    assert sign_in(good(text + "access: [{domains: [example.com]}]\n")).rules == (AccessRule(domains=("example.com",)),)


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        ("access:\n  - groups:\n    # - admins\n", "access[0].groups", "no value"),
        ("access: [{groups: [null]}]", "access[0].groups[0]", "an empty entry"),
        ("access: [{groups: ['']}]", "access[0].groups[0]", "an empty entry"),
        ("access:\n  - emails:\n      -\n", "access[0].emails[0]", "an empty entry"),
        ("access: [{domains: [~, example.com]}]", "access[0].domains[0]", "an empty entry"),
        ("access: [{hosts: [null], emails: [b@example.org]}]", "access[0].hosts[0]", "an empty entry"),
        ("access: [{paths: [null], emails: [b@example.org]}]", "access[0].paths[0]", "an empty entry"),
        ("access: [{methods: [null], emails: [b@example.org]}]", "access[0].methods[0]", "an empty entry"),
        ("access: [{claims: {}}]", "access[0].claims", "an empty mapping"),
        ("access: [{claims: }]", "access[0].claims", "no value"),
        ("access: [{claims: {role: []}}]", "access[0].claims.role", "a value is needed"),
        ("access: [{claims: {role: [null, admin]}}]", "access[0].claims.role", "a value is needed"),
        ("access:\n  -\n", "access[0]", "an empty rule"),
        ("access: [{}]", "access[0]", "an empty rule"),
        ("access: []", "access", "an empty list"),
        ("access:\n", "access", "no value"),
        ("access: [{paths: [/admin], groups: }, {domains: [example.org]}]", "access[0].groups", "no value"),
        ("public:\n", "public", "no value"),
        ("public: [null]", "public[0]", "an empty entry"),
    ],
)
def test_what_is_written_without_a_value_never_reads_as_no_condition(written: str, place: str, message: str) -> None:
    lines = told(MINIMAL + written)
    assert any(f"error: {place}: {message}" in line for line in lines), lines
    assert all(" error: " in line for line in lines)


@pytest.mark.parametrize("section", ["session", "pass", "timeouts", "limits", "log"])
def test_a_section_may_be_written_without_anything_in_it(section: str) -> None:
    good(f"{MINIMAL}{section}:\n")


def test_plain_oauth_needs_its_endpoints() -> None:
    text = MINIMAL.replace("issuer: https://login.example.com", "oauth2: true")
    assert [line.split(": ")[2] for line in told(text)] == [
        "provider.authorization_endpoint",
        "provider.token_endpoint",
        "provider.userinfo_endpoint",
    ]


# --- upstreams and routes


@pytest.mark.parametrize(
    ("upstream", "kind", "endpoint", "tls"),
    [
        ("http://app", "LOGICAL_DNS", ("app", 80, None), False),
        ("https://app.internal", "LOGICAL_DNS", ("app.internal", 443, None), True),
        ("https://10.0.0.1:8443/", "STATIC", ("10.0.0.1", 8443, None), True),
        ("http://[::1]:8080", "STATIC", ("::1", 8080, None), False),
        ("unix:/run/app.sock", "STATIC", ("", 0, "/run/app.sock"), False),
    ],
)
def test_an_upstream_is_one_cluster(upstream: str, kind: str, endpoint: tuple[str, int, str | None], tls: bool) -> None:
    (cluster,) = good(MINIMAL, flags={"upstream": upstream}).clusters
    (found,) = cluster.endpoints
    assert (cluster.type, cluster.dns_lookup_family) == (kind, "ALL")
    assert (found.address, found.port, found.pipe) == endpoint
    assert (cluster.transport_socket is not None) == tls


@pytest.mark.parametrize(
    ("upstream", "http2", "alpn"),
    [
        ("h2c://app:8080", Http2(scheme_of_client=False), None),
        ("{url: http://app:8080, http2: true}", Http2(scheme_of_client=False), None),
        ("{url: unix:/run/app.sock, http2: true}", Http2(scheme_of_client=False), None),
        ("{url: https://app, http2: true}", Http2(negotiate=True, scheme_of_client=False), ("h2", "http/1.1")),
        ("{url: https://app, http2: false}", None, ()),
        ("{urls: [h2c://a:1, h2c://b:2]}", Http2(scheme_of_client=False), None),
    ],
)
def test_an_upstream_may_speak_http_2(upstream: str, http2: Http2 | None, alpn: tuple[str, ...] | None) -> None:
    (cluster,) = good(MINIMAL, flags={"set upstream": upstream}).clusters
    assert cluster.http2 == http2
    assert (cluster.transport_socket.alpn_protocols if cluster.transport_socket else None) == alpn


@pytest.mark.parametrize(
    ("upstream", "message"),
    [
        ("{url: h2c://app, http2: false}", "upstream.http2: h2c:// is HTTP/2 (write http://, or leave this out)"),
        ("[h2c://a, http://b]", "upstream: h2c:// and http:// addresses behind one route (use one scheme)"),
        ("[https://a, http://b]", "upstream: http:// and https:// addresses behind one route (use one scheme)"),
    ],
)
def test_what_an_upstream_can_not_be(upstream: str, message: str) -> None:
    assert any(message in line for line in told(MINIMAL.replace("http://127.0.0.1:8080", upstream)))


def test_several_upstreams_share_the_load() -> None:
    (cluster,) = good(MINIMAL, flags={"set upstream": "{urls: [http://a:1, http://b:2], balance: RANDOM}"}).clusters
    assert (cluster.type, cluster.lb_policy, len(cluster.endpoints)) == ("STRICT_DNS", "RANDOM", 2)


def test_routes_go_by_host_and_path_in_the_written_order() -> None:
    config = good(
        MINIMAL
        + """\
routes:
  - {path: /api/, upstream: "http://127.0.0.1:1", rewrite: /}
  - {host: A.example.com, upstream: {url: "http://127.0.0.1:2", host_header: upstream}, timeout: 5s}
  - {host: "*.example.com", path: /old, redirect: https://new.example.com/x}
  - {path: /same, upstream: "http://127.0.0.1:8080"}
"""
    )
    hosts = {h.domains: [r.match.path_separated_prefix for r in h.routes] for h in _hosts(config)}
    assert hosts == {
        ("a.example.com",): ["/api", None, "/old", "/same", None],
        ("*.example.com",): ["/api", "/old", "/same", None],
        ("*",): ["/api", "/same", None],
    }
    assert len(config.clusters) == 3
    routes = _hosts(config)[0].routes
    api, by_host, redirect = (route.action for route in routes[:3])
    assert isinstance(api, RouteAction) and isinstance(by_host, RouteAction) and isinstance(redirect, RedirectAction)
    assert api.regex_rewrite is not None
    assert (api.regex_rewrite.pattern, api.regex_rewrite.substitution) == ("^/api/?", "/")
    assert (by_host.auto_host_rewrite, by_host.timeout) == (True, 5.0)
    assert (redirect.host_redirect, redirect.path_redirect, redirect.response_code) == ("new.example.com", "/x", 302)


def _hosts(config: Config):
    return config.listeners[0].http.route_config.virtual_hosts


def test_where_paths_decide_escaped_slashes_are_refused_unless_said_otherwise() -> None:
    def action(more: str) -> str:
        return good(MINIMAL + more).listeners[0].http.path_with_escaped_slashes_action

    assert action("") == "KEEP_UNCHANGED"
    assert action("public: [/health]\n") == "REJECT_REQUEST"
    assert action("routes: [{path: /a, redirect: /b}]\n") == "REJECT_REQUEST"
    assert action("public: [/health]\nescaped_slashes: keep\n") == "KEEP_UNCHANGED"


# --- secrets


def test_only_a_loopback_listener_may_go_without_a_secret() -> None:
    text = MINIMAL.replace("secret: 0123456789abcdef0123456789abcdef\n", "")
    loaded = load_all(text, entropy=lambda n: b"\x07" * n)
    assert loaded.config is not None
    assert sign_in(loaded.config).session.secrets == (DataSource(inline=Secret(b"\x07" * 32)),)
    (line,) = (str(d) for d in loaded.diagnostics)
    assert line.startswith("o.yaml:1:1: warning: secret_file: missing: a random secret is used")
    assert "openssl rand -base64 32" in line
    refused = told(text, flags={"listen": "0.0.0.0:80", "set tls": "{certificate_file: c, key_file: k}"})
    assert [line.split(" (")[0] for line in refused] == [
        "o.yaml:1:1: error: secret_file: missing: sessions are sealed with it"
    ]


def test_no_secret_is_ever_printed() -> None:
    secret = "hunter2-hunter2-hunter2-hunter2-"
    loaded = load_all(MINIMAL.replace("0123456789abcdef0123456789abcdef", secret) + "workers: x\n")
    also = load_all(MINIMAL + "secret_file: f\n", env={"OSTIARY_CLIENT_SECRET": secret})
    shown = repr((loaded, also, load_all(MINIMAL, env={"OSTIARY_CLIENT_SECRET": secret})))
    assert "hunter2" not in shown


def test_files_are_looked_at_only_through_the_reader_it_is_given() -> None:
    text = MINIMAL.replace("secret: 0123456789abcdef0123456789abcdef", "secret_file: [new, old]")
    files = {"new": b"n" * 32, "old": b"short\n"}
    (line,) = told(text, read=files.__getitem__)
    assert line.startswith(
        "o.yaml:5:14: error: secret_file: a session secret has 6 bytes, it needs 32 or more random ones (make"
    )
    assert sign_in(good(text)).session.secrets == (DataSource(filename="new"), DataSource(filename="old"))


def test_a_file_that_cannot_be_read_is_told_with_the_reason() -> None:
    def read(name: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", name)

    (line,) = told(MINIMAL + "tls: {certificate_file: c.pem, key_file: c.pem}\n", read=read)[:1]
    assert line.startswith("o.yaml:6:25: error: tls.certificate_file: can't read 'c.pem': No such file or directory")
