"""What is written of a native configuration reads as the same configuration."""

from __future__ import annotations

import pytest

from ostiary.dialects import native
from ostiary.dialects.envoy_text_values import Secrets
from ostiary.dialects.native_text import NativeText
from ostiary.dialects.yaml_text import dump
from ostiary.model.config import Config
from ostiary.model.process import Process
from test_docs import EXAMPLES

FULL = """\
listen: [127.0.0.1:4180, unix:/run/ostiary.sock]
tls: {certificate_file: /tls/cert.pem, key_file: /tls/key.pem, minimum_version: '1.3'}
admin: 127.0.0.1:9901
trusted_hops: 2
external_url: https://app.example.com
prefix: /auth
upstream: {urls: [https://a.internal, https://b.internal:8443], balance: LEAST_REQUEST, ca_file: /ca.pem, http2: true}
routes:
- {path: /ws, upstream: {url: h2c://ws.internal:9000, connect_timeout: 2s, idle_timeout: off, host_header: upstream}}
- {path: /v1, upstream: {url: unix:/run/v1.sock, host_header: v1.internal}, rewrite: /, timeout: 30s}
- {path: /old, redirect: /new}
- {path: /away, redirect: 'https://other.example.com:8443/there'}
provider:
  entra: {tenant: contoso.example, cloud: us}
  client_id: app
  client_secret_file: /run/client
  client_auth_method: client_secret_post
  scopes: [openid, groups]
  authorization_params: {prompt: login}
  token_params: {audience: 'on'}
  ca_file: /ca.pem
  timeout: 3s
  groups_claim: roles
  require_verified_email: true
  dns_resolvers: ['10.0.0.53', '[::1]:5353']
secret_file: [/run/new, /run/old]
session: {cookie_name: mine, cookie_domain: example.com, same_site: strict, lifetime: 8h, idle_lifetime: 30m}
public: [/healthz, /assets]
access:
- {paths: [/admin], groups: [admins], methods: [GET]}
- {hosts: ['*.example.com'], claims: {dept: [a, b]}, domains: [example.com]}
- {paths: [/never], deny: true}
- {emails: [ada@example.com]}
pass: {groups: false, access_token: true, authorization: true, claims: {X-Dept: dept}}
sign_out_redirect: /bye
redirect_hosts: [other.example.com]
escaped_slashes: decode
access_log: {to: /var/log/access.log, json: {path: '%REQ(:PATH)%', more: {code: '%BYTES_SENT%'}}, status_at_least: 400}
workers: auto
flight_users: false
watch: false
log: {level: debug, components: {dns: trace}, format: json}
timeouts: {drain: 5s, request: 60s, request_headers: 5s, idle: 2m, stream_idle: off}
telemetry:
  traces_endpoint: https://otel.example.com/v1/traces
  metrics_endpoint: http://otel.example.com:4318/v1/metrics?tenant=a
  headers: {x-tenant: shop}
  header_files: {authorization: /run/otel}
  timeout: 3s
  compression: gzip
  ca_file: /ca.pem
  service_name: shop
  resource: {deployment.environment: test}
  sampling: 10%
  parent_based: false
  incoming: restart
  upstream_spans: false
  metrics_interval: 30s
limits: {request_headers_kb: 16, headers_count: 50, requests_per_connection: 1000, upstream_connections: 64}
"""


def read(text: str) -> tuple[Config, Process]:
    loaded = native.load_all([("x.yaml", text.encode())], flags={}, env={}, entropy=lambda n: b"k" * n)
    assert loaded.config is not None and loaded.process is not None, [str(each) for each in loaded.diagnostics]
    return loaded.config, loaded.process


def written(config: Config, process: Process) -> str:
    writer = NativeText(config, Secrets(show=True), process=process)
    text = dump([writer.document()])
    assert writer.lost == []
    return text


FEW = "upstream: http://127.0.0.1:8080\nprovider: {issuer: https://id.example, client_id: app}\nsecret_file: /run/a\n"
LONG = "timeouts: {drain: 365d, request: 1234567s, stream_idle: 3.889123s}\n"  # %g would round them, or write 3e+07


@pytest.mark.parametrize(
    "text",
    [
        *EXAMPLES,
        pytest.param(FULL, id="full"),
        pytest.param(FEW + LONG, id="durations"),
        pytest.param(FEW + "escaped_slashes: keep\npublic: [/healthz]\n", id="slashes kept where paths decide"),
        pytest.param(FEW + "escaped_slashes: reject\n", id="slashes refused where none decides"),
    ],
)
def test_what_is_written_reads_as_the_same(text: str) -> None:
    config = read(text)
    again = read(written(*config))
    assert written(*again) == written(*config)
    if "host:" not in text:  # routes of named hosts are told apart in another way
        assert again == config


def test_secrets_are_not_printed_unless_that_is_asked_for() -> None:
    text = "upstream: http://127.0.0.1:1\nsecret: 0123456789abcdef0123456789abcdef\n"
    config, process = read(text + "provider: {issuer: 'https://id.example', client_id: a, client_secret: s3cr3t}\n")
    secrets = Secrets()
    document = dump([NativeText(config, secrets).document()])
    assert ("s3cr3t" in document, "0123456789abcdef" in document) == (False, False)
    assert list(secrets.hidden) == ["the client's secret", "the session secret"]
    assert "s3cr3t" in written(config, process)
