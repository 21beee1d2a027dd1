"""Logs of systems where nothing is wrong with signing in say of no failure: what programs print all day, and prose."""

# ruff: noqa: E501 - log lines as programs print them

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from doctor.logs.reading import facts, short, told
from doctor.rules.facts import find
from envoy_real import FLOW_COOKIES, SETTINGS, SIGNED_IN, callback, cbc, session, token_members
from ostiary.doctor.facts.connection import Attempted, ConnectFailed
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.signin import CookieSet, RedirectSent, SignedIn
from peers.proxies import Proxy, envoy_arguments
from peers.rawhttp import exchange, request
from peers.recorders import Application, Provider
from peers.same_yaml import HOST, bootstrap, cluster, fill, oauth2_config
from ports import free_port
from waiting import PATIENCE

ISTIO_FORMAT = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"
PROSE = """\
we saw a 503 yesterday, and then it went away
The users say that they get "connection refused" now and then when they sign in.
I think the network is unreachable from the pod, or DNS is slow? curl works though.
According to the docs CSRF token validation failed means that cookies were lost.
Did you check whether OAuth2 secrets are not ready?
Somebody changed the certificate; maybe the certificate verify failed.
My guess: upstream connect error. Has anyone looked at the TLS error?
It says invalid_client and AADSTS something, I will paste it tomorrow.
Set dns_lookup_family to V4_ONLY if IPv6 is not routed (ENETUNREACH).
The session cookie has been rejected, I believe.
Jwt is missing in some requests, is that bad?
"""
ORDINARY = """\
2024-10-04T13:37:01.541213Z\tinfo\tFLAG: --concurrency="0"
2024-10-04T13:37:01.641213Z\tinfo\tProxy role: ips=[10.244.1.7] type=sidecar id=httpbin-86869b794c-5h7xv.default domain=default.svc.cluster.local
2024-10-04T13:37:02.541213Z\twarn\tca\tca request failed, starting attempt 1 in 90.275446ms
2024-10-04T13:37:03.541213Z\twarn\tEnvoy proxy is NOT ready: config not received from XDS server (is Istiod running?): cds updates: 0 successful, 0 rejected; lds updates: 0 successful, 0 rejected
2024-10-04T13:37:04.541213Z\tinfo\tReadiness succeeded in 3.071918514s
2024-10-04T13:37:04.551213Z\tinfo\tEnvoy proxy is ready
2024-10-04T14:07:04.551213Z\twarning\tenvoy config external/envoy/source/extensions/config_subscription/grpc/grpc_stream.h:188\tStreamAggregatedResources gRPC config stream to xds-grpc closed: 0, \tthread=15
2024-10-04T14:07:05.551213Z\tinfo\txdsproxy\tconnected to delta upstream XDS server: istiod.istio-system.svc:15012\tid=3
[2024-10-04T13:38:00.001Z] "GET /favicon.ico HTTP/1.1" 404 - via_upstream - "-" 0 18 3 2 "10.0.0.7" "Mozilla/5.0" "edb551b3" "app.example.com" "10.244.1.7:8080" inbound|8080|| 127.0.0.6:53381 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:01.001Z] "GET /get HTTP/1.1" 302 - oauth.missing_credentials - "-" 0 0 0 - "10.0.0.7" "Mozilla/5.0" "edb551b4" "app.example.com" "-" inbound|8080|| - 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:02.001Z] "GET /api/x HTTP/1.1" 401 - Unauthorized,_and_redirecting_to_OAuth_server_is_not_allowed:_/api/x - "-" 0 18 0 - "10.0.0.7" "program/1" "edb551b5" "app.example.com" "-" inbound|8080|| - 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:03.001Z] "GET /slow HTTP/1.1" 0 DC downstream_remote_disconnect - "-" 0 0 1200 - "10.0.0.7" "Mozilla/5.0" "edb551b6" "app.example.com" "10.244.1.7:8080" inbound|8080|| 127.0.0.6:53381 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:04.001Z] "POST /x HTTP/1.1" 429 RL request_rate_limited - "-" 0 18 0 - "10.0.0.7" "-" "edb551b7" "app.example.com" "-" inbound|8080|| - 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:05.001Z] "GET /admin HTTP/1.1" 403 UAEX ext_authz_denied - "-" 0 0 2 - "10.0.0.7" "Mozilla/5.0" "edb551b8" "app.example.com" "-" inbound|8080|| - 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:06.001Z] "- - -" 0 - - - "-" 1200 900 30 - "-" "-" "-" "-" "10.244.2.9:5432" outbound|5432||db.default.svc.cluster.local 10.244.1.7:41000 10.0.0.9:5432 10.244.1.7:40998 - -
[2024-10-04 13:38:07.001][23][debug][hc] [source/extensions/health_checkers/http/health_checker_impl.cc:330] [Tags: "ConnectionId":"77"] hc response_code=503 health_flags=/failed_active_hc
[2024-10-04 13:38:07.101][23][info][health_checker] health check failed cluster=other address=10.1.2.3:80
[2024-10-04 13:38:08.001][23][debug][connection] [source/common/network/connection_impl.cc:700] [Tags: "ConnectionId":"78"] remote close
[2024-10-04 13:38:08.002][23][debug][pool] [source/common/conn_pool/conn_pool_base.cc:578] [Tags: "ConnectionId":"78"] client disconnected, failure reason:
[2024-10-04 13:38:08.003][23][debug][connection] [Tags: "ConnectionId":"79"] remote address:10.0.0.7:51342,TLS_error:|268435612:SSL routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end
[2024-10-04 13:38:09.001][23][debug][jwt] origins-0: JWT authentication starts (allow_failed=true), tokens size=1
[2024-10-04 13:38:09.002][23][debug][jwt] origins-0: JWT verification completed with: OK
[2024-10-04 13:38:09.003][23][debug][misc] oauth2: legacy AES-256-CBC cookie decrypt fallback used; this path is gated by envoy.reloadable_features.oauth2_legacy_cbc_decrypt_compat
[2024-10-04 13:38:09.004][15][debug][dns] dns resolution for db.local failed with c-ares status 0x0010: "DNS server query cancelled"
[2024-10-04 13:38:09.004][15][error][oauth2] [Tags: "ConnectionId":"79","StreamId":"9"] failed to decrypt token: Zm9v, error: Invalid encrypted data
[2024-10-04 13:38:09.005][15][warning][misc] Deprecated field: type envoy.config.cluster.v3.Cluster Using deprecated option 'envoy.config.cluster.v3.Cluster.http2_protocol_options' from file cluster.proto.
[2024/10/04 13:37:05] [provider.go:55] Performing OIDC Discovery...
[2024/10/04 13:37:05] [oauthproxy.go:172] OAuthProxy configured for OpenID Connect Client ID: httpbin
[2024/10/04 13:37:05] [oauthproxy.go:178] Cookie settings: name:_oauth2_proxy secure(https):true httponly:true expiry:168h0m0s domains: path:/ samesite: refresh:disabled
10.0.0.7:51342 - 7a1 - - [2024/10/04 13:37:06] app.example.com GET - "/" HTTP/1.1 "Mozilla/5.0" 403 8035 0.001
10.0.0.7:51342 - 7a1 - ada@example.com [2024/10/04 13:37:07] app.example.com GET / "/static/x.js" HTTP/1.1 "Mozilla/5.0" 304 0 0.002
10.0.0.7:51342 - 7a1 - ada@example.com [2024/10/04 13:37:07] [AuthFailure] Invalid authentication via session: removing session ada@example.com
10.0.0.7 - - [04/Oct/2024:13:37:05 +0000] "GET /oauth2/auth HTTP/1.1" 401 13 "-" "Mozilla/5.0"
2024/10/04 13:37:05 [notice] 1#1: start worker processes
2024/10/04 13:37:05 [info] 29#29: *7 client closed connection while waiting for request, client: 10.0.0.7, server: 0.0.0.0:443
2024/10/04 13:37:05 [error] 29#29: *9 open() "/usr/share/nginx/html/favicon.ico" failed (2: No such file or directory), client: 10.0.0.7
time="2024-10-04T13:37:05Z" level=info msg="refresh token rotated" user=ada
{"level":"info","ts":1728049025.1,"msg":"request completed","status":401,"path":"/api/x"}
INFO:     10.0.0.7:51342 - "GET /healthz HTTP/1.1" 200 OK
"""
BUSY = """\
2024/10/04 13:37:05 [warn] 29#29: *7 an upstream response is buffered to a temporary file /var/cache/nginx/proxy_temp/1/00/0000000001 while reading upstream, client: 10.0.0.7
2024/10/04 13:37:05 [error] 29#29: *9 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.7, server: app, request: "GET /x HTTP/1.1", upstream: "http://10.1.2.3:8080/x", host: "app"
2024/10/04 13:37:05 [error] 29#29: *9 upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.7, server: app, request: "GET /x HTTP/1.1", upstream: "http://10.1.2.3:8080/x", host: "app"
[2024/10/04 13:37:05] [oauthproxy.go:1005] No valid authentication in request. Initiating login.
[2024/10/04 13:37:05] [stored_session.go:98] Error loading cookied session: cookie "_oauth2_proxy" not present, removing session
[2024/10/04 13:37:05] [stored_session.go:98] Error loading cookied session: error decoding ticket to clear session: http: named cookie not present, removing session
[2024/10/04 13:37:05] [stored_session.go:192] Refreshing session - User: ada; SessionAge: 1h0m0s
[2024/10/04 13:37:05] [stored_session.go:208] Unable to refresh session: error refreshing tokens: oauth2: "invalid_grant" "Token is not active"
10.0.0.7:51342 - 7a1 - - [2024/10/04 13:37:05] [AuthFailure] Invalid authentication via OAuth2: unauthorized
10.0.0.7:51342 - 7a1 - ada@example.com [2024/10/04 13:37:07] [AuthSuccess] Authenticated via OAuth2: Session{email:ada@example.com}
2024-10-04T13:37:05.541213Z\tinfo\tads\tXDS: Pushing Services:12 ConnectedEndpoints:3 Version:2024-10-04T13:37:05Z/5
2024-10-04T13:37:05.541213Z\twarn\tdelta\tADS:LDS: ACK ERROR httpbin-1 Internal:stream closed
2024-10-04T13:37:05.541213Z\tinfo\tdelta\tLDS: PUSH for node:httpbin resources:5 size:20kB
2024-10-04T13:37:05.541213Z\tinfo\tads\tADS: "10.244.1.7:40612" httpbin-86869b794c-5h7xv.default-12 terminated
2024-10-04T13:37:05.541213Z\twarning\tenvoy main\texternal/envoy/source/server/server.cc:910\tthere is no configured limit to the number of allowed active downstream connections.\tthread=14
2024-10-04T13:37:05.541213Z\twarn\tcaught SIGTERM
2024-10-04T13:37:05.541213Z\tinfo\tAgent draining Proxy for termination
2024-10-04T13:37:05.541213Z\twarn\tEnvoy proxy is NOT ready: server is not live, current state is: DRAINING
2024-10-04T13:37:06.541213Z\tinfo\tEnvoy exited normally
[2024-10-04T13:38:00.001Z] "GET /x HTTP/1.1" 503 UC upstream_reset_before_response_started{connection_termination} - "-" 0 95 3 - "10.0.0.7" "-" "edb" "app.example.com" "10.244.1.7:8080" inbound|8080|| 127.0.0.6:1 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:00.001Z] "GET /x HTTP/1.1" 504 UT response_timeout - "-" 0 24 15000 - "10.0.0.7" "-" "edb" "app.example.com" "10.244.1.7:8080" inbound|8080|| 127.0.0.6:1 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:00.001Z] "GET /ws HTTP/1.1" 101 - via_upstream - "-" 120 95 30000 - "10.0.0.7" "-" "edb" "app.example.com" "10.244.1.7:8080" inbound|8080|| 127.0.0.6:1 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:00.001Z] "POST /track HTTP/1.1" 502 - direct_response - "-" 0 0 0 - "-" "-" "edb" "telemetry.example.org" "-" - - 10.9.9.9:80 10.244.1.7:41000 - block_all
[2024-10-04T13:38:00.001Z] "GET /api HTTP/1.1" 401 - jwt_authn_access_denied{Jwt_is_missing} - "-" 0 14 0 - "10.0.0.7" "curl/8" "edb" "app.example.com" "-" inbound|8080|| - 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:00.001Z] "GET /api HTTP/1.1" 401 - jwt_authn_access_denied{Jwt_is_expired} - "-" 0 14 0 - "10.0.0.7" "curl/8" "edb" "app.example.com" "-" inbound|8080|| - 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:00.001Z] "GET /callback HTTP/1.1" 401 - Code_or_state_query_param_does_not_exist - "-" 0 14 0 - "10.0.0.7" "bot" "edb" "app.example.com" "-" inbound|8080|| - 10.244.1.7:8080 10.0.0.7:0 - default
[2024-10-04T13:38:00.001Z] "- - HTTP/1.1" 431 DPE http1.headers_too_large - "-" 0 0 0 - "-" "-" "-" "-" "-" - - 10.244.1.7:8080 10.0.0.7:0 - -
[2024-10-04T13:38:00.001Z] "- - -" 400 DPE http1.codec_error - "-" 0 0 0 - "-" "-" "-" "-" "-" - - 10.244.1.7:8080 10.0.0.7:0 - -
[2024-10-04T13:38:00.001Z] "GET /callback?code=1&state=2 HTTP/1.1" 302 - oauth.logged_in - "-" 0 0 3 - "-" "-" "e" "app" "-" inbound|8080|| - 10.244.1.7:8080 10.0.0.7:0 - default
2024/10/04 13:37:05 http: TLS handshake error from 10.0.0.7:51342: remote error: tls: unknown certificate
2024/10/04 13:37:05 http: TLS handshake error from 10.0.0.7:51342: EOF
2024/10/04 13:37:05 http: TLS handshake error from 10.0.0.7:51342: tls: first record does not look like a TLS handshake
2024/10/04 13:37:05 http: Accept error: accept tcp [::]:8443: too many open files; retrying in 5ms
2024/10/04 13:37:05 Get "http://config.internal/healthz": context deadline exceeded
WARNING:urllib3.connectionpool:Retrying (Retry(total=2, connect=None)) after connection broken by 'RemoteDisconnected('Remote end closed connection without response')': /metrics
ConnectionResetError: [Errno 104] Connection reset by peer
asyncio.exceptions.CancelledError
Error: read ECONNRESET
Error: write EPIPE
OPTIONS /api/x 204
"""
"""Somebody signs in, and everything else happens once: restarts, bots, programs with old tokens, clients that leave."""
APPLICATION = """\
psycopg.OperationalError: connection failed: connection to server at "10.1.2.3", port 5432 failed: Connection refused
2024/10/04 13:37:05 dial tcp 10.1.2.3:6379: connect: connection refused
Error: connect ECONNREFUSED 127.0.0.1:6379
[2024-10-04T13:38:00.001Z] "GET /x HTTP/1.1" 503 UF upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused} - "delayed_connect_error:_Connection_refused" 0 91 0 - "10.0.0.7" "-" "edb551b3" "app.example.com" "10.244.1.7:8080" inbound|8080|| - 10.244.1.7:8080 10.0.0.7:0 - default
2024-10-04T13:37:05.541213Z\tdebug\tenvoy router\t[Tags: "ConnectionId":"9","StreamId":"77"] cluster 'backend' match for URL '/x'\tthread=23
2024-10-04T13:37:05.541313Z\tdebug\tenvoy connection\t[Tags: "ConnectionId":"10"] connecting to 127.0.0.1:8080\tthread=23
2024-10-04T13:37:05.541413Z\tdebug\tenvoy connection\t[Tags: "ConnectionId":"10"] delayed connect error: Connection refused\tthread=23
2024-10-04T13:37:05.541513Z\tdebug\tenvoy pool\t[Tags: "ConnectionId":"10"] client disconnected, failure reason: delayed connect error: Connection refused\tthread=23
2024-10-04T13:37:05.541613Z\tdebug\tenvoy router\t[Tags: "ConnectionId":"9","StreamId":"77"] upstream reset: reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused\tthread=23
2024-10-04T13:37:06.541613Z\tdebug\tenvoy connection\t[Tags: "ConnectionId":"11"] connecting to 10.1.2.3:80\tthread=15
2024-10-04T13:37:06.541713Z\tdebug\tenvoy connection\t[Tags: "ConnectionId":"11"] delayed connect error: Connection refused\tthread=15
"""


STRAY = {
    "one of two providers knows the token": """\
[2024-10-04 13:38:09.001][23][debug][jwt] origins-0: JWT verification completed with: Jwt issuer is not configured
[2024-10-04 13:38:09.001][23][debug][jwt] origins-1: JWT verification completed with: OK
[2024-10-04 13:38:09.001][23][debug][jwt] Jwt authentication completed with: OK""",
    "so says an older one": """\
[2024-10-04 13:38:09.001][23][debug][jwt] origins-0: JWT token verification completed with: Jwt issuer is not configured
[2024-10-04 13:38:09.001][23][debug][jwt] origins-1: JWT token verification completed with: OK""",
    "an old token": "[2024-10-04 13:38:09.001][23][debug][jwt] origins-0: JWT verification completed with: Jwt is expired",
    "somebody looks at the callback": '[2024-10-04T13:38:00.001Z] "GET /callback HTTP/1.1" 401 - Code_or_state_query_param_does_not_exist - "-" 0 14 0 - "10.0.0.7" "bot" "edb" "app.example.com" "-" b - - - - d',
    "a page asks whether its user is still there": '[2024-10-04T13:38:00.001Z] "GET /silent?error=login_required&state=x HTTP/1.1" 200 - via_upstream - "-" 0 14 0 - "10.0.0.7" "-" "edb" "app.example.com" "10.2.3.4:80" b - - - - d',
    "a scanner from a low port": """\
[2024-10-04 13:38:09.001][23][debug][conn_handler] [Tags: "ConnectionId":"81"] new connection from 203.0.113.9:2011
[2024-10-04 13:38:09.002][23][debug][connection] [Tags: "ConnectionId":"81"] remote address:203.0.113.9:2011,TLS_error:|268435696:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL:TLS_error_end""",
    "keys come": "[2024-10-04 13:38:09.001][23][debug][filter] fetch pubkey [uri = https://login.example.com/keys]: response status code 200",
    "istiod starts": "2024-10-04T13:37:05.541213Z\tinfo\tmodel\tThe JWKS key is not yet fetched for issuer https://login.example.com (), using a fake JWKS for now",
    "another object's field": 'error: error validating data: ValidationError(Deployment.spec): unknown field "replcas" in io.k8s.api.apps.v1.DeploymentSpec',
    "a shutdown": '[2024-10-04 13:38:09.004][15][debug][dns] dns resolution for db.local failed with c-ares status 0x0010: "Channel is being destroyed"',
}
REFUSED = "[2024-10-04 13:0{}:05.541][15][warning][oauth2] Responding with 401 Unauthorized. Cause: Failed to get access token: response code: 503, response body: upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused\n"
WELL = '[2024-10-04T13:0{}:06.001Z] "GET /callback?code=1&state=2 HTTP/1.1" 302 - oauth.logged_in - "-" 0 0 3 - "-" "-" "e" "{}" "-" b - - - - d\n'
LOST = '[2024-10-04T13:0{}:06.001Z] "GET /callback?code=1&state=2 HTTP/1.1" 401 - Failed_to_get_access_token:_response_code:_503,_response_body:_upstream_connect_error_or_disconnect/reset_before_headers._reset_reason:_remote_connection_failure,_transport_failure_reason:_delayed_connect_error:_Connection_refused - "-" 0 0 3 - "-" "-" "e" "{}" "-" b - - - - d\n'


@pytest.mark.parametrize("case", STRAY)
def test_what_happens_now_and_then_is_nothing_worse_than_a_hint(case: str) -> None:
    assert [(each.title, each.severity) for each in find(*facts(STRAY[case])) if each.severity != "info"] == []


@pytest.mark.parametrize(("log", "severities"), [
    (REFUSED.format(1) + REFUSED.format(2) + WELL.format(3, "a"), ["info"]),
    (REFUSED.format(1) + WELL.format(2, "a") + REFUSED.format(3) + WELL.format(4, "a"), ["warning"]),
    (WELL.format(1, "a") + REFUSED.format(2), ["warning"]),
    (REFUSED.format(1), ["error"]),
    (LOST.format(1, "a") + WELL.format(2, "b"), ["warning"]),
    (LOST.format(1, "a") + WELL.format(2, "a"), ["info"]),
], ids=["mended", "now and then", "broken later", "broken", "another host's sign-in", "the same host's"])  # fmt: skip
def test_what_was_over_before_anybody_signed_in_is_told_as_that(log: str, severities: list[str]) -> None:
    found = find(*facts(log))
    assert [each.severity for each in found] == severities
    assert {each.rule for each in found} == {"tcp-refused"}


def test_a_sign_in_with_one_provider_says_nothing_about_another_s() -> None:
    def call(cluster: str, minute: int, thread: int) -> str:
        at = f"[2024-10-04 13:0{minute}:05.541][{thread}][debug]"
        return (
            f"{at}[oauth2] Dispatching OAuth request for access token.\n"
            f'{at}[router] [Tags: "ConnectionId":"0","StreamId":"{thread}"] cluster \'{cluster}\' match for URL \'/token\'\n'
        )

    log = call("one", 1, 21) + REFUSED.format(1).replace("[15]", "[21]") + call("two", 2, 22) + WELL.format(2, "a")
    assert [(each.severity, each.subject) for each in find(*facts(log))] == [("warning", "one")]


def test_prose_says_nothing() -> None:
    assert told(PROSE) == set()


@pytest.mark.parametrize("line", ORDINARY.splitlines(), ids=lambda line: re.sub(r"\W+", " ", line)[-60:])
def test_an_ordinary_line_says_of_no_failure(line: str) -> None:
    if "NOT ready" in line:
        line += "\n2024-10-04T13:37:04.551213Z\tinfo\tEnvoy proxy is ready"
    assert told(line) == set()


def test_ordinary_lines_together_say_of_no_failure() -> None:
    assert told(ORDINARY) == set()
    assert told(ORDINARY * 4 + PROSE) == set()
    assert find(*facts(ORDINARY * 4 + PROSE)) == []


def test_an_application_that_closes_idle_connections_is_no_finding() -> None:
    said = "upstream reset: reset reason: connection termination, transport failure reason: "
    line = f'[2024-10-04 13:38:07.001][23][debug][router] [Tags: "ConnectionId":"9","StreamId":"77"] {said}\n'
    assert find(*facts(line)) == []


def test_a_busy_day_has_nothing_worse_than_a_hint() -> None:
    assert [(each.title, each.severity) for each in find(*facts(BUSY)) if each.severity != "info"] == []


def test_many_cookies_that_can_not_be_opened_are_no_stray_client_s() -> None:
    line = (
        "[2024-10-04 13:38:09.004][15][error][oauth2] failed to decrypt token: Zm9v{}, error: Invalid encrypted data\n"
    )
    assert told("".join(line.format(number) for number in range(20))) == {"SignInFailed decrypt 0 envoy"}


def test_failures_of_the_application_are_not_the_provider_s() -> None:
    found = facts(APPLICATION)
    assert {type(fact) for fact in found} == {ConnectFailed}
    assert not any(fact.for_provider for fact in found if isinstance(fact, ConnectFailed))


# --- a real Envoy's day at debug level


@pytest.fixture(scope="module", params=["envoy", "istio"])
def ordinary_day(request: pytest.FixtureRequest, envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The log of an Envoy whose provider is well: sign-ins, redirects, programs, clients that leave, a dead cluster."""
    folder = tmp_path_factory.mktemp("day")
    sick = {
        "health_checks": [
            {"timeout": "1s", "interval": "0.1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
             "tcp_health_check": {}}
        ]
    }  # fmt: skip
    dead = free_port()
    tree = bootstrap(oauth2=oauth2_config(**SETTINGS), clusters=[cluster("other", dead, **sick)])
    with Application() as application, Provider() as provider:
        port, admin = free_port(), free_port()
        values = {"PORT": port, "ADMIN": admin, "APP": application.port, "IDP": provider.port}
        path = folder / "envoy.json"
        path.write_text(json.dumps(fill(tree, {**values, "LOG": str(folder / "access.log")})))
        argv = envoy_arguments(path)
        argv[argv.index("--log-level") + 1] = "debug"
        if request.param == "istio":
            argv += ["--log-format", ISTIO_FORMAT]
        proxy = Proxy("envoy", argv, (port,), admin, folder / "log").start()
        try:
            _live(port, provider, proxy)
        finally:
            proxy.stop()
    return proxy.output()


def _live(port: int, provider: Provider, proxy: Proxy) -> None:
    def ask(target: str, cookie: str = "") -> int:
        fields = [("x-forwarded-proto", "https"), *([("cookie", cookie)] if cookie else [])]
        return int(exchange(port, request("GET", target, tuple(fields), host=HOST)).status)

    signed_in = session(seal=cbc)
    for _ in range(3):
        provider.script.append(token_members())
        assert ask("/page?a=1") == 302
        assert ask(callback(), FLOW_COOKIES) == 302
        assert ask("/page?a=1", signed_in) == 200
        assert ask("/deny/x") == 401
        assert ask("/signout", signed_in) == 302
    with socket.create_connection(("127.0.0.1", port)) as leaving:
        leaving.sendall(b"GET /page HTTP/1.1\r\nHost: app\r\n")
    deadline = time.monotonic() + PATIENCE
    while "health" not in proxy.output() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.peer
def test_a_real_envoy_s_ordinary_day_says_of_no_failure(ordinary_day: str) -> None:
    found: list[Fact] = facts(ordinary_day)
    assert any(isinstance(fact, SignedIn) for fact in found)
    harmless: tuple[Any, ...] = (SignedIn, CookieSet, RedirectSent)
    others = [fact for fact in found if not isinstance(fact, harmless)]
    assert {
        short(fact) for fact in others if not (isinstance(fact, Attempted) and fact.outcome == "connected")
    } == set()
    assert {fact.target for fact in found if isinstance(fact, Attempted)} == {"idp"}
    assert [finding.title for finding in find(*found) if finding.severity != "info"] == []


@pytest.mark.peer
def test_no_secret_of_a_real_envoy_s_day_is_in_a_fact(ordinary_day: str) -> None:
    said = repr(facts(ordinary_day))
    for secret in (*SIGNED_IN.values(), "client-secret-1", session(seal=cbc).split("BearerToken=")[1][:40]):
        assert secret not in said
