"""The rarer wordings, and that each pattern knows a line."""

# ruff: noqa: E501 - log lines as programs print them

from __future__ import annotations

import pytest

from doctor.logs.reading import captured, told
from doctor.logs.test_healthy import APPLICATION, ORDINARY, STRAY
from doctor.logs.test_oauth2_proxy_starts import STARTS
from doctor.logs.test_programs import LINES
from doctor.test_catalogue import CASES
from ostiary.doctor.logs.formats import parse
from ostiary.doctor.logs.pattern import compiled
from ostiary.doctor.logs.patterns import PATTERNS

STREAM = '[2024-10-04 13:37:05.541][23][{}][{}] [a/b.cc:1] [Tags: "ConnectionId":"8","StreamId":"1"] '
WARNING = STREAM.format("warning", "oauth2") + "Responding with 401 Unauthorized. Cause: "
CAUSES = {
    "Failed to get access token due to HTTP request failure": {"SignInFailed token-exchange 401 envoy"},
    "Failed to decrypt code verifier: Zm9v, error: failed to decrypt data": {"SignInFailed code-verifier 401 envoy"},
    'State query param does not contain url or CSRF token: {"url":"x"}': {"SignInFailed state-invalid 401 envoy"},
    "State query param does not contain url or nonce: x": {"SignInFailed state-invalid 401 envoy"},
    "State url can not be initialized: /relative": {"SignInFailed state-invalid 401 envoy"},
    "State url query params matches the redirect path matcher: /callback": {"SignInFailed state-invalid 401 envoy"},
    "State url host is not in the allowed redirect domains: https://evil.test/": {"SignInFailed redirect-not-allowed 401 envoy"},
    "redirect_uri failed domain allow-list validation: https://evil.test/cb": {"SignInFailed redirect-not-allowed 401 envoy"},
    "Token endpoint cluster not found: oauth": {
        "SignInFailed token-exchange 401 envoy", "ConfigurationProblem cluster-unknown oauth False"},
    "Failed to obtain client credential: Failed to parse private key PEM for JWT signing": {
        "SignInFailed token-exchange 401 envoy", "ConfigurationProblem secret-invalid private key False"},
    "OAuth server returned an error: ?error=invalid_scope&error_description=AADSTS70011%3A+The+scope+is+not+valid": {
        "SignInFailed other 401 envoy", "Answered authorization 0 invalid_scope AADSTS70011 envoy"},
}  # fmt: skip
PROXY = "[2024/10/04 13:37:05] [oauthproxy.go:928] "
NGINX = "2024/10/04 13:37:05 [error] 29#29: *7 "
FOR = ', client: 10.0.0.7, server: app, request: "GET / HTTP/1.1", '
MORE: dict[str, tuple[str, set[str]]] = {
    "envoy, location": (
        "'location', 'https://login.example.com/authorize?client_id=a&redirect_uri=http%3A%2F%2Fapp%2Fcb&response_type=code&scope=user&state=xyz'",
        {"RedirectSent https://login.example.com/authorize http://app/cb user GET False"},
    ),
    "envoy, cookie": (
        "'set-cookie', 'BearerToken=abcdef; path=/; Max-Age=300; secure; HttpOnly; SameSite=Lax'",
        {"CookieSet BearerToken 17 / True Lax"},
    ),
    "envoy, cookie that goes": ("'set-cookie', 'BearerToken=deleted; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT'", set()),
    "envoy, cookies that can't be opened": (
        "".join(f"{STREAM.format('error', 'oauth2')}failed to decrypt token: Zm9v{n}, error: Invalid encrypted data\n" for n in range(9)),
        {"SignInFailed decrypt 0 envoy"},
    ),
    "envoy, no host": (
        STREAM.format("debug", "router").replace('"8"', '"0"') + "cluster 'oauth' match for URL '/token'\n"
        + STREAM.format("debug", "router").replace('"8"', '"0"') + "no healthy host for HTTP connection pool",
        {"NoHealthyHost oauth"},
    ),
    "envoy, race": ("C[985] address=10.1.2.3:443", {"Attempted 10.1.2.3 443 v4 started tcp"}),
    "envoy, DNS in a trace": (
        "[2024-10-04 13:37:05.541][15][debug][dns] dns resolution without records for a.test c-ares status 0x0001\n[2024-10-04 13:37:05.542][15][trace][dns] dns resolution for a.test completed with status 0x0000: cares_success",
        set(),
    ),
    "envoy, upstream's headers": (
        '[2024-10-04T13:37:05.825Z] "GET /x HTTP/1.1" 502 UPE upstream_reset_before_response_started{protocol_error|response_headers_size_exceeds_limit} - "-" 0 28 3 - "10.0.0.7" "-" "edb" "app.example.com" "-" backend - 127.0.0.1:21101 10.0.0.7:0 - default',
        {"HeadersTooLarge envoy response"},
    ),
    "envoy, refused update": (
        "[2024-10-04 13:37:05.541][15][warning][config] [a.cc:1] lds: listener 'ingress' config rejected: goo.gle/debugstr\nconfig {\n}\n: Proto constraint validation failed (OAuth2ConfigValidationError.RedirectUri: value length must be at least 1 characters)\n",
        {"UpdateRejected listener ingress", "ConfigurationProblem invalid redirect_uri True"},
    ),
    "envoy, refused at start": (
        "[2024-10-04 13:37:05.541][15][critical][main] [a.cc:1] error `invalid token secret configuration` initializing config 'x.yaml'",
        {"ConfigurationProblem secret-missing token True"},
    ),
    "envoy, secret of another name": (
        "[2024-10-04 13:37:05.541][15][warning][config] [a.cc:1] Unexpected SDS secret (expecting token_sds): token_other",
        {"Warming secret token_sds", "ConfigurationProblem secret-missing token_sds True"},
    ),
    "envoy, a token, in the end": (
        "[2024-10-04 13:38:09.001][23][debug][jwt] Jwt authentication completed with: Jwt is missing",
        {"JwtRejected missing envoy"},
    ),
    "oauth2-proxy, a client refused": (
        PROXY + 'Error redeeming code during OAuth2 callback: unexpected status "401": {"error":"invalid_client"}',
        {"SignInFailed token-exchange 500 oauth2-proxy", "Answered token 401 invalid_client oauth2-proxy"},
    ),
    "istiod, keys, old": (
        'level=error msg="Failed to fetch jwt public key from \\"https://login.example.com/keys\\": timeout"',
        {"FetchFailed jwks https://login.example.com/keys envoy"},
    ),
    "oauth2-proxy, state": (f"{PROXY}Error while parsing OAuth2 state: invalid length", {"SignInFailed state-invalid 500 oauth2-proxy"}),
    "oauth2-proxy, csrf cookie": (
        f"{PROXY}Invalid authentication via OAuth2. Error while loading CSRF cookie: http: named cookie not present",
        {"SignInFailed csrf-cookie-missing 403 oauth2-proxy"},
    ),
    "nginx, lua's token call": (
        f'{NGINX}[lua] openidc.lua:571: call_token_endpoint(): accessing token endpoint failed: response indicates failure, status=401, body={{"error":"invalid_client"}}',
        {"Answered token 401 invalid_client nginx"},
    ),
    "nginx, certificate": (
        f'{NGINX}SSL_do_handshake() failed (SSL: error:0A000086:SSL routines::certificate verify failed) while SSL handshaking to upstream{FOR}upstream: "https://10.1.2.3:443/"',
        {"HandshakeFailed untrusted-ca nginx"},
    ),
    "nginx, header line": (f"{NGINX}client sent too long header line{FOR}", {"HeadersTooLarge nginx request"}),
    "nginx, silent": (
        f'{NGINX}upstream timed out (110: Connection timed out) while connecting to upstream{FOR}upstream: "https://10.1.2.3:443/token"',
        {"Attempted 10.1.2.3 443 v4 timeout tcp ETIMEDOUT"},
    ),
    "nginx, plain text": ("The plain HTTP request was sent to HTTPS port", {"PlainTextToTls"}),
    "gunicorn, headers": ("Limit request headers fields size", {"HeadersTooLarge application request"}),
    "go, plain text": ("Client sent an HTTP request to an HTTPS server.", {"PlainTextToTls"}),
    "node, self-signed": ("  code: 'SELF_SIGNED_CERT_IN_CHAIN'", {"HandshakeFailed untrusted-ca application"}),
    "node, name": ("  code: 'ERR_TLS_CERT_ALTNAME_INVALID'", {"HandshakeFailed name-mismatch application"}),
    "node, expired": ("  code: 'CERT_HAS_EXPIRED'", {"HandshakeFailed expired application"}),
    "curl, refused": (
        "* connect to 2606:4700::6810:a016 port 443 from 2001:db8::2 port 41000 failed: Connection refused",
        {"Attempted 2606:4700::6810:a016 443 v6 failed tcp ECONNREFUSED"},
    ),
    "entra, groups": ('{"aud":"a","_claim_names":{"groups":"src1"},"_claim_sources":{}}', {"GroupsLeftOut"}),
    "chrome, loop": ("app.example.com redirected you too many times.", {"BrowserBlocked redirect-loop app.example.com"}),
    "firefox, loop": ("The page isn’t redirecting properly", {"BrowserBlocked redirect-loop"}),
    "firefox, loop's code": ("NS_ERROR_REDIRECT_LOOP", {"BrowserBlocked redirect-loop"}),
    "envoy, a file of listeners": (
        ("[2026-11-26 02:40:50.097][17810][warning][config] [x.cc:103] Filesystem config update failure: in /etc/lds.yaml, "
        "Unable to parse JSON as proto (INVALID_ARGUMENT: could not find @type 'type.googleapis.com/a.v3.Wonder'): "
        '{"resources":[]}'),
        {"ConfigurationProblem type-url a.v3.Wonder True"},
    ),
    "envoy, a field that it leaves out": (
        ("[2026-11-26 02:40:50.941][17902][warning][config] [x.cc:64] Unknown field: type "
        "envoy.service.discovery.v3.DiscoveryResponse reason INVALID_ARGUMENT: invalid JSON  in   x.v3.OAuth2Config @ "
        "resources[0].<any>.config: message x.v3.OAuth2Config, near   1:1288 (offset 1287): no  such field: 'client_secret'"),
        {"ConfigurationProblem unknown-field client_secret False"},
    ),
    "envoy, its own format, a large head": (
        '[2026-11-26T02:40:51.352Z] "- - HTTP/1.1" 431 DPE 0 31 0 - "-" "-" "-" "-" "-"',
        {"HeadersTooLarge envoy request"},
    ),
    "firefox, mixed": ("Blocked loading mixed active content “http://app.example.com/x”", {"BrowserBlocked mixed-content"}),
    "chrome, cookie": (
        'This Set-Cookie was blocked because it had the "Secure" attribute but was not received over a secure connection.',
        {"CookieRefused secure"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_of_envoy_s_filter(cause: str) -> None:
    assert told(WARNING + cause) == CAUSES[cause]


@pytest.mark.parametrize("cause", CAUSES)
def test_the_same_cause_in_an_access_log(cause: str) -> None:
    details = "_".join(cause.split(" "))
    line = (
        f'[2024-10-04T13:37:05.825Z] "GET /cb HTTP/1.1" 401 - {details} - "-" 0 18 3 - "10.0.0.7" "-" "edb" '
        '"app.example.com" "-" backend - 127.0.0.1:21101 10.0.0.7:0 - default'
    )
    assert told(line) == CAUSES[cause]


@pytest.mark.parametrize("case", MORE)
def test_a_line_says(case: str) -> None:
    line, expected = MORE[case]
    assert told(line) == expected


def test_every_pattern_knows_a_line() -> None:
    texts = [line for line, _ in (*LINES.values(), *MORE.values())]
    texts += [WARNING + cause for cause in CAUSES]
    texts += [ORDINARY, APPLICATION, *STRAY.values(), *(case.get("log", "") for case in CASES.values())]
    texts += ["\n".join(lines) for case in captured()["cases"].values() for lines in case.values()]
    texts += ["\n".join(lines) for lines in captured()["rejected"].values()]
    texts += [case["log"] for case in STARTS]
    messages = {parse(line).message for text in texts for line in text.split("\n")}
    unknown = [
        pattern.expression
        for pattern in PATTERNS
        if not any(compiled(pattern.expression).search(message) for message in messages)
    ]
    assert unknown == []
