"""Secrets in configurations and logs never reach what the doctor prints: text, JSON, page, patch.

Each secret is a word of its own, so that one that slips through names the place it slipped through.
"""

# ruff: noqa: E501 - configurations and log lines as people and programs write them

from __future__ import annotations

import asyncio
import io
import json
from contextlib import redirect_stdout
from itertools import count

import pytest

from ostiary.cli.doctor_text import show
from ostiary.cli.terminal import screen
from ostiary.doctor.examine import Question, examine
from ostiary.doctor.page import page

_number = count(1)


def secret() -> str:
    """A word that looks like nothing in particular."""
    return f"hush{next(_number)}quiet"


def outputs(configuration: str = "", log: str = "", name: str = "f.yaml") -> str:
    """Everything that can be printed of a report, in one text."""
    question = Question(
        configurations=((name, configuration.encode()),) if configuration else (),
        logs=(("x.log", lambda: io.BytesIO(log.encode())),) if log else (),
        probes=False,
    )
    report = asyncio.run(examine(question))
    assert report.findings, "nothing was found: nothing is proved"
    text = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(text):
        show(report, screen())
        text.flush()
    shown = text.buffer.getvalue().decode()  # type: ignore[attr-defined] # a BytesIO
    return "\n".join((shown, json.dumps(report.as_dict(), ensure_ascii=False), page(report).decode(), report.patch))


FILTER = """\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: sign-in, namespace: a, annotations: {{note: x}}}}
spec:
  configPatches:
  - applyTo: CLUSTER
    patch:
      operation: ADD
      value:
        name: oauth
        type: LOGICAL_DNS
        typo: {{inline_string: {0}}}
        load_assignment: {{cluster_name: oauth, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: login.example, port_value: 443}}}}}}}}]}}]}}
        transport_socket:
          name: envoy.transport_sockets.tls
          typed_config:
            '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
            common_tls_context:
              tls_certificates: [{{private_key: {{inline_string: "{1}"}}, password: {{inline_string: {2}}}}}]
  - applyTo: HTTP_FILTER
    match: {{context: SIDECAR_INBOUND, listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager}}}}}}}}
    patch:
      operation: INSERT_FIRST
      value:
        name: envoy.filters.http.oauth2
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2
          config:
            token_endpoint: {{cluster: oauth, uri: 'https://user:{3}@login.example/token?client_secret={4}', timeout: 5s}}
            authorization_endpoint: https://login.example/authorize?client_secret={5}
            redirect_uri: http://app:{6}@app.example/callback
            redirect_path_matcher: {{path: {{exact: /callback}}}}
            signout_path: {{path: {{exact: /signout}}}}
            credentials:
              client_id: app
              client_secret: {7}
              token_secret: {8}
              hmac_secret: {{name: hmac, inline_string: {9}}}
"""
NATIVE = """\
upstream: http://app:{0}@127.0.0.1:8080
provider: {{issuer: 'https://user:{1}@login.example', client_id: app, client_secret: {2}, token: {3}}}
secret: {4}
cookie_secret: {5}
sessions: {{redis: 'redis://:{6}@redis:6379'}}
listen: not an address
"""
BOOTSTRAP = """\
static_resources:
  secrets:
  - name: token
    generic_secret: {{secret: {{inline_string: {0}, unknown: {1}}}}}
  - {{name: hmac, generic_secret: {{secret: {2}}}}}
  - name: key
    tls_certificate: {{private_key: {{inline_string: "-----BEGIN PRIVATE KEY-----{3}"}}, password: {{inline_bytes: {4}}}}}
  clusters:
  - name: oauth
    type: LOGICAL_DNS
    load_assignment: {{cluster_name: oauth, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: login.example, port_value: 443}}}}}}}}]}}]}}
"""
BROKEN = "client_secret: {0}\nsecret: '{1}\n  [{2}\n"
OAUTH2_PROXY = (
    'provider = "oidc"\nclient_secret = "{0}"\ncookie_secret = "{1}"\nno_such_key = "{2}"\nclient_secret = {3}\n'
)
OAUTH2_PROXY_POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  containers:
  - name: p
    image: quay.io/oauth2-proxy/oauth2-proxy
    args: [--client-secret={0}, --cookie-secure=no, "--redis-connection-url=http://u:{1}@r"]
    env:
    - name: OAUTH2_PROXY_COOKIE_SECRET
      value: {2}
    - {{name: OAUTH2_PROXY_BASIC_AUTH_PASSWORD, value: {3}}}
    - name: OAUTH2_PROXY_SESSION_STORE_TYPE
      value: redis
    - {{name: OAUTH2_PROXY_REDIS_PASSWORD, valueFrom: {{secretKeyRef: {{name: s, key: p}}}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, stringData: {{p: "{4}"}}}}
"""
OAUTH2_PROXY_VALUES = """\
config:
  clientID: a
  clientSecret: {0}
  cookieSecret: {1}
  configFile: |-
    client_secret = "{2}"
    cookie_secur = false
    jwt_key = \"\"\"
    -----BEGIN PRIVATE KEY-----
    {3}
    -----END PRIVATE KEY-----\"\"\"
extraArgs: {{github-token: {4}, signature-key: "{5}"}}
"""
OAUTH2_PROXY_STRUCTURED = """\
providers:
- id: x
  clientID: a
  clientSecret: {0}
  githubConfig: {{token: [{1}]}}
injectRequestHeader: [{{name: X, values: [{{secretSource: {{value: {2}}}}}]}}]
"""
OAUTH2_PROXY_UNIT = """\
[Service]
Environment="OAUTH2_PROXY_CLIENT_SECRET={0}" OAUTH2_PROXY_REDIS_CONNECTION_URL=http://u:{1}@r
ExecStart=/usr/bin/oauth2-proxy --cookie-secret {2} --upstreams=a \\
  --signature-key={3} \\
  --session-store-type=redis
"""


@pytest.mark.parametrize(
    ("template", "name"),
    [(FILTER, "f.yaml"), (NATIVE, "ostiary.yaml"), (BOOTSTRAP, "envoy.yaml"), (BROKEN, "broken.yaml"),
     (OAUTH2_PROXY, "proxy.cfg"), (OAUTH2_PROXY_POD, "pod.yaml"), (OAUTH2_PROXY_VALUES, "values.yaml"),
     (OAUTH2_PROXY_STRUCTURED, "alpha.yaml"), (OAUTH2_PROXY_UNIT, "oauth2-proxy.service")],
)  # fmt: skip
def test_no_secret_of_a_configuration_is_printed(template: str, name: str) -> None:
    secrets = [secret() for _ in range(10)]
    said = outputs(template.format(*secrets), name=name)
    assert [template.splitlines()[_line(template, number)] for number, word in enumerate(secrets) if word in said] == []


def _line(template: str, number: int) -> int:
    return next(index for index, line in enumerate(template.splitlines()) if f"{{{number}}}" in line)


LINES = (
    (
        'time="x" level=error msg="failed to query provider \\"https://u:{0}@idp.example/dex?code={1}\\": 502 Bad Gateway: "\n'
        "failed to fetch public key from https://u:{2}@h.example/jwks.json context deadline exceeded\n"
    ),
    (
        '[2026-11-26T10:11:12.131Z] "GET /callback?error=invalid_scope&error_description=bad&id_token={0}&code={1}&state={2} HTTP/1.1" 401 - - - "-" 0 18 3 - "10.0.0.7" "-" "e" "app" "-" b - - - - d\n'
    ),
    (
        'error redeeming code got 400 from "https://idp.example/token?client_secret={0}" {{\n "error": "invalid_client",\n "refresh_token": "{1}", "id_token": "{2}"}}\n'
    ),
    (
        "[2026-11-26 02:14:00.1][15][debug][oauth2] Oauth response code: 400\n"
        '[2026-11-26 02:14:00.1][15][debug][oauth2] Oauth response body: {{"error":"invalid_client","access_token":"{0}","error_description":"secret=x client_secret={1}"}}'
    ),
    '[2026-11-26T02:14:00.1Z] "GET /callback?code={0}&state={1} HTTP/1.1" 401 - CSRF_token_validation_failed - "-" 0 18 0 - "-" "-" "e" "app" "-" b - - - - d',
    "[2026-11-26 02:14:00.1][15][error][oauth2] State query param is not a valid JSON: {0}",
    "[2024-11-26 02:14:00.1][15][error][oauth2] State query param does not contain url or nonce: {0} {1}",
    (
        "[2026-11-26 02:14:00.1][15][error][oauth2] OAuth server returned an error: "
        "?error=invalid_client&error_description=bad%20client_secret%3D{0}%20for%20code_verifier%3d{1}"
    ),
    "[2026-11-26 02:14:00.1][15][error][oauth2] CSRF token validation failed, Cookie: OauthNonce={0}; BearerToken={1}",
    "[2026-11-26 02:14:00.1][15][error][oauth2] Failed to decrypt code verifier: {0}, error: failed to decrypt data",
    "[2026-11-26 02:14:00.1][15][error][oauth2] OAuth server returned an error: ?error=access_denied&code={0}&state={1}",
    '[2024/10/04 13:37:05] [oauthproxy.go:928] Error redeeming code during OAuth2 callback: token exchange failed: Post "https://user:{0}@login.example.com/token?client_secret={1}": dial tcp 10.1.2.3:443: i/o timeout',
    (
        "[2024/10/04 13:37:05] [oauthproxy.go:928] Error redeeming code during OAuth2 callback: token exchange failed: "
        'Post "https://login.example.com/token?code={0}": EOF'
    ),
    '2024/10/04 13:37:05 [error] 29#29: *7 upstream sent too big header while reading response header from upstream, client: 10.0.0.7, server: app, request: "GET /oauth2/callback?code={0}&state={1} HTTP/1.1", upstream: "http://user:{2}@10.1.2.3:4180/oauth2/callback?code={0}"',
    (
        "2018/04/24 10:10:10 [error] 7#7: *12 [lua] openidc.lua:449: call_token_endpoint(): accessing token endpoint "
        '(https://login.example.com/token?client_secret={0}) failed: network is unreachable, request: "GET /cb?code={1}"'
    ),
    (
        "Access to fetch at 'https://login.example.com/authorize?client_id=app&state={0}&code={1}' from origin "
        "'https://app.example.com' has been blocked by CORS policy: No 'Access-Control-Allow-Origin' header is present."
    ),
    (
        "Set-Cookie header is ignored in response from url: https://app.example.com/callback?code={0}. Cookie length should "
        "be less than or equal to 4096 characters."
    ),
    (
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='login.example.com', port=443): Max retries exceeded "
        "with url: /token?client_secret={0} (Caused by NewConnectionError('x: [Errno 101] Network is unreachable'))"
    ),
    (
        "[2026-11-26 02:14:00.1][1][critical][main] error initializing configuration 'e.yaml': Unable to parse JSON as proto "
        '(INVALID_ARGUMENT: invalid JSON in OAuth2 @ config: no such field: \'x\'): {{"inline_string":"{0}"}}'
    ),
    "[2026-11-26 02:14:00.1][15][debug][jwt] origins-0: JWT verification completed with: Jwt is expired: Bearer {0}",
    (
        '[2026-11-26 02:14:00.1][15][debug][http] [Tags: "ConnectionId":"1"] encoding headers:\n'
        "'location', 'https://login.example.com/authorize?client_id=a&response_type=code&redirect_uri=-%3A%2F%2Fapp%2Fcb&state={0}&nonce={1}'\n"
        "'set-cookie', 'BearerToken={2}; Domain=other.example'"
    ),
)


@pytest.mark.parametrize("template", LINES)
def test_no_secret_of_a_log_is_printed(template: str) -> None:
    secrets = [secret() for _ in range(3)]
    said = outputs(log=template.format(*secrets))
    assert [number for number, word in enumerate(secrets) if word in said] == []
