"""Configuration files: only diagnostics come out, in bounded time, and what is accepted can be started.

The input is a file of any dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from envoy_example import BOOTSTRAP
from ostiary.app.routes import RouteTable
from ostiary.app.runtime import server_settings
from ostiary.core.access_log import access_log_line
from ostiary.core.cors import CorsFilter
from ostiary.core.decision import Counter, Filter
from ostiary.core.health_check import HealthCheckFilter
from ostiary.core.oauth2.envoy import EnvoyOAuth2Filter
from ostiary.core.oauth2.filter import SignInFilter
from ostiary.core.oauth2.session import KeyRing
from ostiary.core.routing import MatchedRoute
from ostiary.dialects import envoy, native
from ostiary.dialects.detect import detect
from ostiary.dialects.envoy_secret import parse_sds
from ostiary.model.config import Config, Cors, HealthCheck, HttpFilter
from ostiary.model.errors import ConfigError, Diagnostic
from ostiary.model.oauth2 import EnvoyOAuth2, OAuth2Config
from ostiary.model.routes import CorsPolicy
from ostiary.model.secret import Secret
from ostiary.model.signin import SignIn
from ostiary.pages import render

MINIMAL = b"""\
upstream: http://127.0.0.1:8080
provider: {issuer: https://login.example.com, client_id: app}
secret: 0123456789abcdef0123456789abcdef
"""
FULL = b"""\
listen: 0.0.0.0:4180
external_url: https://app.example.com
upstream: https://[::1]:8443
provider:
  entra: {tenant: contoso.onmicrosoft.com}
  client_id: app
  client_secret_file: /run/secrets/client
secret_file: [/run/secrets/new, /run/secrets/old]
session: {lifetime: 8h, idle_lifetime: 30m}
access:
- {paths: [/public], public: true}
- {domains: [contoso.com], groups: [admins], methods: [GET]}
access_log: {to: /dev/stdout, format: "%REQ(:METHOD)%"}
"""
SDS = b"resources:\n- {'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: hmac, \
generic_secret: {secret: {inline_bytes: YQ==}}}\n"
ROUTES = b"""\
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 0.0.0.0, port_value: 1}}
    filter_chains:
    - filters:
      - name: h
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          http_filters:
          - {name: r, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: v
              domains: ['*.example.com', 'a:80']
              response_headers_to_add: [{header: {key: a, value: '%START_TIME(%s)%'}, append_action: ADD_IF_ABSENT}]
              routes:
              - match:
                  safe_regex: {regex: '/a/(.*)'}
                  headers: [{name: b, string_match: {prefix: c}, invert_match: true}]
                route: {cluster: c, regex_rewrite: {pattern: {regex: '(a)'}, substitution: '\\1'}, timeout: 1.5s}
              - match: {prefix: /, query_parameters: [{name: q, present_match: true}]}
                redirect: {https_redirect: true, path_redirect: /b, response_code: FOUND}
              - match: {path: /c}
                direct_response: {status: 404, body: {inline_string: none}}
  clusters: [{name: c, type: STATIC}]
"""
CLUSTERS = b"""\
static_resources:
  clusters:
  - name: c
    type: STRICT_DNS
    connect_timeout: 0.25s
    lb_policy: ROUND_ROBIN
    dns_lookup_family: V4_PREFERRED
    circuit_breakers: {thresholds: [{max_connections: 1}]}
    load_assignment:
      cluster_name: c
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: a.example, port_value: 80}}}}]}]
"""
SEEDS = (
    MINIMAL,
    FULL,
    BOOTSTRAP.encode(),
    ROUTES,
    CLUSTERS,
    SDS,
    b'{"static_resources": {"clusters": [{"name": "a", "type": "STATIC"}]}, "node": {"id": "\\u00e9"}}',
    b"upstream: &a [*a, {<<: *a}]\n",
    b"? [a]\n: !!binary YQ==\n--- |\n  text\n...\n",
    b'\xef\xbb\xbf{"upstream": "\\ud800", "listen": 1e999}',
    b'client_id = "a"\ncookie_secret = "b"\n',
    b"apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n",
    b"a: " + b"[" * 140,
    b"listen: 1\nlisten: 2\nsession: {lifetime: 1y}\n",
)
WORDS = (
    b"listen: ", b"upstream: ", b"provider: ", b"issuer: ", b"client_id: ", b"secret: ", b"session: ", b"access: ",
    b"paths: ", b"entra: ", b"google: {}", b"github: {}", b"external_url: ", b"tls: ", b"log: ", b"timeouts: ",
    b"headers: ", b"routes: ", b"'@type': ", b"typed_config: ", b"static_resources: ", b"listeners: ",
    b"filter_chains: ", b"http_filters: ", b"route_config: ", b"virtual_hosts: ", b"match: ", b"safe_regex: ",
    b"regex: ", b"prefix: ", b"clusters: ", b"type.googleapis.com/envoy.", b"load_assignment: ", b"!!str ", b"&a ",
    b"*a", b"<<: ", b"---\n", b"...\n", b"|\n", b">-\n", b"\t", b"# ", b"%YAML 1.1\n", b"{", b"}", b"[", b"]", b": ",
    b"\n- ", b"\n  ", b"1s", b"true", b"null", b"0x1", b"1e999",
)  # fmt: skip
FILE = "file.yaml"
_COMMENT = b"# a comment\n"


def one(data: bytes) -> None:
    _read(lambda: parse_sds(data, FILE, "hmac", _file), data)
    dialect = _read(lambda: detect(data, FILE), data)
    if dialect != "envoy":
        _agree(_native(data), _native(_COMMENT + data), data)
    if dialect != "native":
        _agree(_envoy(data, False), _envoy(_COMMENT + data, False), data)
        config, found = _envoy(data, True)
        assert (config is None) == any(item.severity == "error" for item in found)


Loaded = tuple[Config | None, list[Diagnostic]]


def _native(data: bytes) -> Loaded:
    return native.load([(FILE, data)], flags={}, env={}, read=_file, entropy=lambda count: b"x" * count)


def _envoy(data: bytes, ignore: bool) -> Loaded:
    return envoy.load([(FILE, data)], ignore_unsupported=ignore, read=_file)


def _file(name: str) -> bytes:
    if name.startswith("/run/secrets/"):
        return b"0123456789abcdef" * 2
    raise FileNotFoundError(2, "No such file or directory", name)


def _read(read: Callable[[], object], data: bytes) -> object:
    try:
        return read()
    except ConfigError as error:
        assert error.diagnostics
        _have_places(error.diagnostics, data)
        return None


def _have_places(found: Iterable[Diagnostic], data: bytes) -> None:
    lines = data.count(b"\n") + data.count(b"\r") + data.count(b"\xc2\x85") + data.count(b"\xe2\x80") + 1
    for item in found:
        assert item.file == FILE and item.message and item.column >= 1
        assert 1 <= item.line <= lines + 1
        assert "\n" not in str(item)


def _agree(loaded: Loaded, below_a_comment: Loaded, data: bytes) -> None:
    """A comment above changes nothing but the lines that are told."""
    config, found = loaded
    assert (config is None) == any(item.severity == "error" for item in found)
    _have_places(found, data)
    if config is not None:
        _can_start(config)
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"%")):
        return  # a byte order mark or a directive has to come first
    other, moved = below_a_comment
    assert (other is None) == (config is None)
    assert sorted((item.path, item.severity) for item in found) == sorted((item.path, item.severity) for item in moved)


def _can_start(config: Config) -> None:
    """Everything that is made of a configuration before the first request, but for sockets and files."""
    for listener in config.listeners:
        server_settings(listener, suppress_envoy_headers=False)
        for log in listener.http.access_log:
            access_log_line(log)
        RouteTable(listener.http, _filter, lambda _name: None, suppress_envoy_headers=False)


class _Secrets:
    def token_secret(self) -> bytes:
        return b"token"

    def hmac_secret(self) -> bytes:
        return b"hmac"


def _filter(link: HttpFilter, route: MatchedRoute) -> Filter | None:
    own, config = route.filter_config(link.name), link.config
    if isinstance(config, Cors):
        return CorsFilter([each for each in route.filter_configs(link.name) if isinstance(each, CorsPolicy)])
    if isinstance(config, HealthCheck):
        return HealthCheckFilter(config)
    if isinstance(config, SignIn):
        inline = [source.inline for source in config.session.secrets if source.inline is not None]
        ring = KeyRing(inline or [Secret(b"x" * 32)])
        return SignInFilter(
            config,
            client_secret=lambda: None,
            keys=lambda: ring,
            entropy=bytes,
            counter=Counter,
            render=render,
        )
    if isinstance(config, EnvoyOAuth2):
        oauth2 = own if isinstance(own, OAuth2Config) else config.config
        if oauth2 is not None:
            return EnvoyOAuth2Filter(
                oauth2, runtime=config.runtime, secrets=_Secrets(), entropy=bytes, counter=Counter,
                known_cluster=lambda _name: True,
            )  # fmt: skip
    return None
