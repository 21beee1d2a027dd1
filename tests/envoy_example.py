"""A good bootstrap, and ways to spoil it."""

from __future__ import annotations

from msgspec.structs import replace

from ostiary.dialects.envoy import load
from ostiary.dialects.envoy_text import bootstrap
from ostiary.dialects.envoy_text_values import Secrets
from ostiary.dialects.yaml_text import dump
from ostiary.model.config import Config, HttpConnectionManager
from ostiary.model.errors import Diagnostic

# As it was published with the incident; tests add the line with the family.
INCIDENT_CLUSTER = """\
  - name: oauth
    connect_timeout: 10s
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: oauth
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: login.microsoftonline.com, port_value: 443}}}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: login.microsoftonline.com
    type: LOGICAL_DNS
"""

# One listener and the router; @ADMIN@, @PORT@ and @ROUTES@ are the test's.
PLAIN = """\
node: {id: test, cluster: test}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: @ADMIN@}}}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: 127.0.0.1, port_value: @PORT@}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
@ROUTES@
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"""

BOOTSTRAP = """\
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 21091}}
static_resources:
  listeners:
  - name: ingress
    address: {socket_address: {address: 127.0.0.1, port_value: 21080}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          access_log:
          - name: envoy.access_loggers.stdout
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
          http_filters:
          - name: envoy.filters.http.oauth2
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2
              config:
                token_endpoint: {cluster: idp, uri: 'https://idp.test/token', timeout: 3s}
                authorization_endpoint: https://idp.test/authorize
                redirect_uri: '%REQ(x-forwarded-proto)%://%REQ(:authority)%/oauth2/callback'
                redirect_path_matcher: {path: {exact: /oauth2/callback}}
                signout_path: {path: {exact: /signout}}
                forward_bearer_token: true
                use_refresh_token: false
                auth_scopes: [openid, profile]
                credentials:
                  client_id: client
                  token_secret: {name: token}
                  hmac_secret: {name: hmac}
          - name: envoy.filters.http.router
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            name: local
            virtual_hosts:
            - name: vh
              domains: ['*']
              routes:
              - name: default
                match: {prefix: /}
                route: {cluster: backend}
  clusters:
  - name: backend
    type: STATIC
    connect_timeout: 2s
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 21081}}}
  - name: idp
    type: LOGICAL_DNS
    connect_timeout: 2s
    lb_policy: ROUND_ROBIN
    dns_lookup_family: V4_ONLY
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.cares
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        resolvers: [{socket_address: {address: 127.0.0.1, port_value: 21053}}]
        dns_resolver_options: {no_default_search_domain: true, use_tcp_for_dns_lookups: false}
    load_assignment:
      cluster_name: idp
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: idp.test, port_value: 21443}}}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: idp.test
  secrets:
  - name: token
    generic_secret: {secret: {inline_string: s3cret}}
  - name: hmac
    generic_secret: {secret: {inline_string: 0123456789abcdef}}
"""

ROUTE = "route: {cluster: backend}"
HTTP_FILTERS = "          http_filters:\n"
OAUTH2 = "                forward_bearer_token: true\n"
IDP = "    lb_policy: ROUND_ROBIN\n"
SNI = "        sni: idp.test\n"


def spoilt(*replacements: tuple[str, str]) -> str:
    """The bootstrap with each first text replaced by the second, once."""
    text = BOOTSTRAP
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def loaded(*replacements: tuple[str, str], **options: bool) -> tuple[Config | None, list[Diagnostic]]:
    """The spoilt bootstrap, loaded; if it is accepted, what is written of the model reads as the same model."""
    config, found = load([("envoy.yaml", spoilt(*replacements).encode())], **options)
    if config is not None:
        assert read_again(config) == replace(config, differences=())
    return config, found


def read_again(config: Config) -> Config:
    """A configuration after it was written and read."""
    text = dump([bootstrap(config, Secrets(show=True))])
    again, found = load([("again.yaml", text.encode())])
    assert again is not None, "\n".join([*map(str, found), text])
    return replace(again, differences=())


def good(*replacements: tuple[str, str]) -> Config:
    """The configuration of a bootstrap that must be accepted without an error."""
    config, found = loaded(*replacements)
    assert config is not None, "\n".join(map(str, found))
    return config


def manager(*replacements: tuple[str, str]) -> HttpConnectionManager:
    """The connection manager of a bootstrap that must be accepted."""
    return good(*replacements).listeners[0].http


def errors(*replacements: tuple[str, str]) -> list[str]:
    """The errors of a bootstrap that must be refused, without file name."""
    config, found = loaded(*replacements)
    assert config is None
    return [str(item).removeprefix("envoy.yaml:") for item in found if item.severity == "error"]


def error(*replacements: tuple[str, str]) -> str:
    """The only error."""
    found = errors(*replacements)
    assert len(found) == 1, found
    return found[0]


def warnings(*replacements: tuple[str, str]) -> list[str]:
    """The warnings of a bootstrap that must be accepted."""
    config, found = loaded(*replacements)
    assert config is not None, "\n".join(map(str, found))
    return [str(item).removeprefix("envoy.yaml:") for item in found]
