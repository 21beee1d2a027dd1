"""What other programs than Envoy say of the same faults, as they print it."""

# ruff: noqa: E501 - log lines as programs print them

from __future__ import annotations

import pytest

from doctor.logs.reading import facts, told

PROXY = "[2024/10/04 13:37:05] [oauthproxy.go:928] "
REDEEM = f"{PROXY}Error redeeming code during OAuth2 callback: token exchange failed: "
POST = 'Post "https://login.example.com/token": '
FAILED = "SignInFailed token-exchange 500 oauth2-proxy"
LINES: dict[str, tuple[str, set[str]]] = {
    # --- oauth2-proxy
    "no such host": (
        f"{REDEEM}{POST}dial tcp: lookup login.example.com on 10.96.0.10:53: no such host",
        {FAILED, "ResolutionFailed login.example.com not-found oauth2-proxy"},
    ),
    "resolver refuses": (
        f"{REDEEM}{POST}dial tcp: lookup login.example.com on [::1]:53: read udp [::1]:48161->[::1]:53: read: connection refused",
        {FAILED, "ResolutionFailed login.example.com no-answer oauth2-proxy"},
    ),
    "resolver fails": (
        f"{REDEEM}{POST}dial tcp: lookup login.example.com on 10.96.0.10:53: server misbehaving",
        {FAILED, "ResolutionFailed login.example.com server-failure oauth2-proxy"},
    ),
    "resolver is silent": (
        f"{REDEEM}{POST}dial tcp: lookup login.example.com: i/o timeout",
        {FAILED, "ResolutionFailed login.example.com no-answer oauth2-proxy"},
    ),
    "no route": (
        f"{REDEEM}{POST}dial tcp [2606:4700::6810:a016]:443: connect: network is unreachable",
        {FAILED, "Attempted 2606:4700::6810:a016 443 v6 failed route ENETUNREACH login.example.com:443"},
    ),
    "refused": (
        f"{REDEEM}{POST}dial tcp 10.1.2.3:443: connect: connection refused",
        {FAILED, "Attempted 10.1.2.3 443 v4 failed tcp ECONNREFUSED login.example.com:443"},
    ),
    "timeout": (
        f"{REDEEM}{POST}dial tcp 10.1.2.3:443: i/o timeout",
        {FAILED, "Attempted 10.1.2.3 443 v4 timeout tcp ETIMEDOUT login.example.com:443"},
    ),
    "authority unknown": (
        f"{REDEEM}{POST}tls: failed to verify certificate: x509: certificate signed by unknown authority",
        {FAILED, "HandshakeFailed login.example.com:443 untrusted-ca oauth2-proxy"},
    ),
    "other name": (
        f"{REDEEM}{POST}x509: certificate is valid for idp.internal, not login.example.com",
        {FAILED, "HandshakeFailed login.example.com:443 name-mismatch oauth2-proxy"},
    ),
    "expired": (
        f"{REDEEM}{POST}tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2024-10-04T13:37:05Z is after 2024-10-01T00:00:00Z",
        {FAILED, "HandshakeFailed login.example.com:443 expired oauth2-proxy"},
    ),
    "clock behind": (
        f"{REDEEM}{POST}tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2014-10-04T13:37:05Z is before 2024-10-01T00:00:00Z",
        {FAILED, "HandshakeFailed login.example.com:443 not-yet-valid oauth2-proxy"},
    ),
    "plain text there": (
        f"{REDEEM}{POST}http: server gave HTTP response to HTTPS client",
        {FAILED, "HandshakeFailed login.example.com:443 not-tls oauth2-proxy"},
    ),
    "handshake is silent": (
        f"{REDEEM}{POST}net/http: TLS handshake timeout",
        {FAILED, "HandshakeFailed login.example.com:443 silent oauth2-proxy"},
    ),
    "client certificate": (
        f"{REDEEM}{POST}remote error: tls: certificate required",
        {FAILED, "HandshakeFailed login.example.com:443 client-certificate oauth2-proxy"},
    ),
    "answer is late": (
        f"{REDEEM}{POST}context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        {FAILED, "NotAnswered token https://login.example.com/token"},
    ),
    "wrong secret, Entra": (
        f"{REDEEM}oauth2: \"invalid_client\" \"AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value.\"",
        {FAILED, "Answered token 400 invalid_client AADSTS7000215 oauth2-proxy"},
    ),
    "wrong secret, old": (
        f'{REDEEM}oauth2: cannot fetch token: 401 Unauthorized\nResponse: {{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}}',
        {FAILED, "Answered token 401 unauthorized_client oauth2-proxy"},
    ),
    "code used": (
        f'{REDEEM}oauth2: "invalid_grant" "Code not valid"',
        {FAILED, "Answered token 400 invalid_grant oauth2-proxy"},
    ),
    "no csrf cookie": (
        "10.0.0.7:51342 - 7a1 - - [2024/10/04 13:37:05] [AuthFailure] Invalid authentication via OAuth2: unable to obtain CSRF cookie",
        {"SignInFailed csrf-cookie-missing 403 oauth2-proxy"},
    ),
    "other csrf cookie": (
        "10.0.0.7:51342 - 7a1 - ada@example.com [2024/10/04 13:37:05] [AuthFailure] Invalid authentication via OAuth2: CSRF token mismatch, potential attack",
        {"SignInFailed csrf-mismatch 403 oauth2-proxy"},
    ),
    "signed in": (
        "10.0.0.7:51342 - 7a1 - ada@example.com [2024/10/04 13:37:05] [AuthSuccess] Authenticated via OAuth2: Session{email:ada@example.com user:ada token:true id_token:true}",
        {"SignedIn oauth2-proxy"},
    ),
    "provider says no": (
        f"{PROXY}Error while parsing OAuth2 callback: access_denied",
        {"SignInFailed other 403 oauth2-proxy", "Answered authorization 0 access_denied oauth2-proxy"},
    ),
    "cookie secret": (
        "[2024/10/04 13:37:05] [main.go:50] ERROR: invalid configuration:\n  cookie_secret must be 16, 24, or 32 bytes to create an AES cipher, but is 33 bytes",
        {"ConfigurationProblem secret-invalid cookie_secret True"},
    ),
    "cookie too large": (
        "[2024/10/04 13:37:05] [session_store.go:161] WARNING: Multiple cookies are required for this session as it exceeds the 4kb cookie limit. Please use server side session storage (eg. Redis) instead.",
        {"CookieSet _oauth2_proxy 4097 False"},
    ),
    "issuer": (
        f'{REDEEM}could not verify id_token: failed to verify token: oidc: id token issued by a different provider, expected "https://login.microsoftonline.com/t/v2.0" got "https://sts.windows.net/t/"',
        {FAILED, "JwtRejected issuer oauth2-proxy"},
    ),
    "audience": (
        f"{REDEEM}could not verify id_token: audience from claim aud with value [spn:abc] does not match with any of allowed audiences map[abc:{{}}]",
        {FAILED, "JwtRejected audience oauth2-proxy"},
    ),
    "expired token": (
        f"{REDEEM}oidc: token is expired (Token Expiry: 2024-10-04 13:00:00 +0000 UTC)",
        {FAILED, "JwtRejected expired oauth2-proxy"},
    ),
    "signature": (
        f"{REDEEM}failed to verify signature: failed to verify id token signature",
        {FAILED, "JwtRejected key oauth2-proxy"},
    ),
    "discovery at start": (
        "[2024/10/04 13:37:05] [main.go:59] ERROR: Failed to initialise OAuth2 Proxy: error initialising provider: could not create provider data: error building OIDC ProviderVerifier: could not get verifier builder: error while discovery OIDC configuration: failed to discover OIDC configuration: error performing request: Get \"https://login.example.com/.well-known/openid-configuration\": dial tcp 10.1.2.3:443: connect: connection refused",
        {
            "FetchFailed discovery https://login.example.com/.well-known/openid-configuration oauth2-proxy",
            "Attempted 10.1.2.3 443 v4 failed tcp ECONNREFUSED login.example.com:443",
        },
    ),
    "discovery is none": (
        '[2024/10/04 13:37:05] [main.go:59] ERROR: Failed to initialise OAuth2 Proxy: error while discovery OIDC configuration: failed to discover OIDC configuration: unexpected status "404": <html>nope</html>',
        {"FetchFailed discovery oauth2-proxy"},
    ),
    "keys": (
        f'{PROXY}Error redeeming code during OAuth2 callback: could not verify id_token: failed to verify signature: fetching keys oidc: get keys failed Get "https://login.example.com/keys": dial tcp: lookup login.example.com: no such host',
        {FAILED, "FetchFailed jwks https://login.example.com/keys oauth2-proxy", "ResolutionFailed login.example.com not-found oauth2-proxy"},
    ),
    # --- istiod, pilot-agent
    "istiod, keys": (
        '2024-10-04T13:37:05.541213Z\terror\tmodel\tFailed to fetch public key from "https://login.example.com/keys": Get "https://login.example.com/keys": dial tcp: lookup login.example.com on 10.96.0.10:53: no such host',
        {"FetchFailed jwks https://login.example.com/keys istiod", "ResolutionFailed login.example.com not-found istiod"},
    ),
    "istiod, placeholder": (
        "2024-10-04T13:37:05.541213Z\tinfo\tauthn\tThe JWKS key is not yet fetched for issuer https://login.example.com (https://login.example.com/keys), using a fake JWKS for now",
        {"PlaceholderKeys https://login.example.com"},
    ),
    "istiod, crash": (
        "2024-10-04T13:37:05.541213Z\terror\tenvoyfilter\tlisteners patch caused panic, so the patches did not take effect",
        {"ConfigurationProblem patch-crash listeners True"},
    ),
    "istiod, type": (
        'Error from server: error when creating "f.yaml": admission webhook "validation.istio.io" denied the request: configuration is invalid: could not resolve Any message type: type.googleapis.com/envoy.config.filter.http.oauth.v2alpha.OAuth2',
        {"ConfigurationProblem type-url envoy.config.filter.http.oauth.v2alpha.OAuth2 False"},
    ),
    "pilot-agent, not ready": (
        "2024-10-04T13:37:05.541213Z\twarn\tEnvoy proxy is NOT ready: config received from XDS server, but was rejected: cds updates: 1 successful, 0 rejected; lds updates: 0 successful, 1 rejected",
        {"NotReady INITIALIZING config received from XDS server, but was rejected: cds updates: 1 successful, 0 rejected; lds updates: 0 successful, 1 rejected"},
    ),
    "pilot-agent, ready in the end": (
        "2024-10-04T13:37:05.5Z\twarn\tEnvoy proxy is NOT ready: config not received from XDS server\n2024-10-04T13:37:07.5Z\tinfo\tEnvoy proxy is ready",
        set(),
    ),
    "envoy gateway, discovery": (
        '2024-10-04T13:37:05.541Z\tERROR\tgateway-api\tOIDC: failed fetching openid-configuration from issuer URL: https://login.example.com/.well-known/openid-configuration: Get "https://login.example.com/.well-known/openid-configuration": tls: failed to verify certificate: x509: certificate signed by unknown authority',
        {
            "FetchFailed discovery https://login.example.com/.well-known/openid-configuration envoy",
            "HandshakeFailed login.example.com:443 untrusted-ca application",
        },
    ),
    # --- Envoy beside its sign-in
    "envoy, keys": (
        "[2024-10-04 13:37:05.541][15][warning][jwt] [a.cc:1] Jwks async fetching url=https://login.example.com/keys: failed",
        {"FetchFailed jwks https://login.example.com/keys envoy"},
    ),
    "envoy, keys at a request": (
        '[2024-10-04T13:37:05.825Z] "GET /x HTTP/1.1" 401 - jwt_authn_access_denied{Jwks_remote_fetch_is_failed} - "-" 0 28 3 - "10.0.0.7" "-" "edb" "app.example.com" "-" backend - 127.0.0.1:21101 10.0.0.7:0 - default',
        {"FetchFailed jwks envoy"},
    ),
    "envoy, placeholder keys": (
        '[2024-10-04T13:37:05.825Z] "GET /x HTTP/1.1" 401 - jwt_authn_access_denied{Jwt_verification_fails} - "-" 0 28 3 - "10.0.0.7" "-" "edb" "app.example.com" "-" backend - 127.0.0.1:21101 10.0.0.7:0 - default',
        {"JwtRejected key envoy"},
    ),
    "envoy, issuer": (
        '[2024-10-04T13:37:05.825Z] "GET /x HTTP/1.1" 401 - jwt_authn_access_denied{Jwt_issuer_is_not_configured} - "-" 0 28 3 - "10.0.0.7" "-" "edb" "app.example.com" "-" backend - 127.0.0.1:21101 10.0.0.7:0 - default',
        {"JwtRejected issuer envoy"},
    ),
    "envoy, clock": (
        "[2024-10-04 13:37:05.541][15][debug][jwt] [a.cc:1] p: JWT verification completed with: Jwt not yet valid",
        {"JwtRejected not-yet-valid envoy"},
    ),
    "envoy, policy": (
        '[2024-10-04T13:37:05.825Z] "GET /token HTTP/1.1" 502 - direct_response - "-" 0 0 0 - "-" "-" "edb" "login.example.com" "-" - - 10.1.2.3:80 10.244.1.7:41000 - block_all',
        {"EgressRefused login.example.com black-hole"},
    ),
    "envoy, policy for TLS": (
        '[2024-10-04T13:37:05.825Z] "- - -" 0 UH - - "-" 0 0 0 - "-" "-" "-" "-" "-" BlackHoleCluster - 10.1.2.3:443 10.244.1.7:41000 login.example.com -',
        {"EgressRefused login.example.com black-hole"},
    ),
    "envoy, ext_authz": (
        '[2024-10-04T13:37:05.825Z] "GET /x HTTP/1.1" 403 UAEX ext_authz_error - "-" 0 0 3 - "10.0.0.7" "-" "edb" "app.example.com" "-" backend - 127.0.0.1:21101 10.0.0.7:0 - default',
        {"ExtAuthzFailed unreachable"},
    ),
    "envoy, TLS secret": (
        "[2024-10-04 13:37:05.541][15][debug][connection] [a.cc:1] [C8] TLS error: Secret is not supplied by SDS",
        {"Warming secret"},
    ),
    "envoy, extension": (
        "[2024-10-04 13:37:05.541][15][warning][config] [a.cc:1] gRPC config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: Error adding/updating listener(s) ingress: Didn't find a registered implementation for 'envoy.filters.http.oauth2' with type URL: 'envoy.extensions.filters.http.oauth2.v3.OAuth2'",
        {"UpdateRejected listener ingress", "ConfigurationProblem extension-missing envoy.filters.http.oauth2 True"},
    ),
    "envoy, secrets' time": (
        "[2024-10-04 13:37:05.541][15][warning][config] [a.cc:1] gRPC config: initial fetch timed out for type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        {"Warming secret"},
    ),
    "envoy, crash": (
        "[2026-11-26 02:14:00.140][9561][critical][main] [source/exe/terminate_handler.cc:34] std::terminate called! Uncaught EnvoyException 'Incorrect configuration: https://%REQ(:authority%/callback. Couldn't find valid command at position 8', see trace.",
        {"ConfigurationProblem redirect-uri-template https://%REQ(:authority%/callback True"},
    ),
    "envoy, overflow": (
        "Oauth response code: 503\nOauth response body: upstream connect error or disconnect/reset before headers. reset reason: overflow",
        {"Overflowed"},
    ),
    "envoy, HTTP version": (
        "Oauth response code: 502\nOauth response body: upstream connect error or disconnect/reset before headers. reset reason: protocol error",
        {"ProtocolMismatch"},
    ),
    # --- nginx
    "nginx, lua": (
        '2024/10/04 13:37:05 [error] 29#29: *7 [lua] openidc.lua:494: openidc_discover(): accessing discovery url (https://login.example.com/.well-known/openid-configuration) failed: network is unreachable, client: 10.0.0.7',
        {"FetchFailed discovery https://login.example.com/.well-known/openid-configuration nginx",
         "ConnectFailed login.example.com:443 ENETUNREACH True"},
    ),
    "nginx, no host": (
        '2024/10/04 13:37:05 [emerg] 1#1: host not found in upstream "login.example.com" in /etc/nginx/conf.d/default.conf:12',
        {"ResolutionFailed login.example.com not-found nginx"},
    ),
    "nginx, resolver": (
        '2024/10/04 13:37:05 [error] 29#29: *7 login.example.com could not be resolved (110: Operation timed out), client: 10.0.0.7, server: app, request: "GET / HTTP/1.1"',
        {"ResolutionFailed login.example.com no-answer nginx"},
    ),
    "nginx, no route": (
        '2024/10/04 13:37:05 [error] 29#29: *7 connect() to [2606:4700::6810:a016]:443 failed (101: Network is unreachable) while connecting to upstream, client: 10.0.0.7, server: app, request: "GET / HTTP/1.1", upstream: "https://[2606:4700::6810:a016]:443/token", host: "app"',
        {"Attempted 2606:4700::6810:a016 443 v6 failed route ENETUNREACH"},
    ),
    "nginx, its application": (
        '2024/10/04 13:37:05 [error] 29#29: *7 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.7, server: app, request: "GET / HTTP/1.1", upstream: "http://10.1.2.3:8080/x", host: "app"',
        {"ConnectFailed 10.1.2.3:8080 ECONNREFUSED False"},
    ),
    "nginx, headers": (
        '2024/10/04 13:37:05 [error] 29#29: *7 upstream sent too big header while reading response header from upstream, client: 10.0.0.7, server: app, request: "GET /oauth2/callback?code=abc HTTP/1.1", upstream: "http://10.1.2.3:4180/oauth2/callback"',
        {"HeadersTooLarge nginx response"},
    ),
    # --- Ostiary itself
    "ostiary, no name": (
        "[2026-11-26 02:00:08.802][26533][warning][oauth2] [ostiary/app/replies.py:37] code 1cf14949: GET answered with 503: discovery-failed: discovery: Can't connect to nosuch.invalid:443: nosuch.invalid. does not exist, says 10.255.255.53:53.",
        {
            "SignInFailed other 503 ostiary",
            "FetchFailed discovery nosuch.invalid:443 ostiary",
            "ResolutionFailed nosuch.invalid not-found ostiary",
        },
    ),
    "ostiary, no route": (
        "2026-11-26T02:00:33.099348Z\twarning\tenvoy oauth2 ostiary/app/replies.py:37\tcode j6e3g994: GET answered with 503: idp-unreachable: token: Can't connect to login.example.com:443: IPv6 failed: this host has no route for it, ENETUNREACH ([2606:4700::6810:a016]:443, [2606:4700::6810:a116]:443); IPv4 did not answer within 5000 ms (10.1.2.3:443).\tthread=27209",
        {
            "SignInFailed other 503 ostiary",
            "Attempted 2606:4700::6810:a016 443 v6 failed route ENETUNREACH login.example.com:443",
            "Attempted 2606:4700::6810:a116 443 v6 failed route ENETUNREACH login.example.com:443",
            "Attempted 10.1.2.3 443 v4 timeout tcp login.example.com:443",
        },
    ),
    "ostiary, certificate": (
        "[2026-11-26 02:00:08.802][26533][warning][oauth2] [ostiary/app/replies.py:37] code 1cf14949: GET answered with 503: idp-unreachable: token: Can't connect to login.example.com:443: IPv4 failed in the TLS handshake: its certificate is not trusted: certificate verify failed: unable to get local issuer certificate (10.1.2.3:443).",
        {"SignInFailed other 503 ostiary", "HandshakeFailed login.example.com:443 untrusted-ca ostiary"},
    ),
    "ostiary, its application": (
        "[2026-11-26 02:00:08.802][26533][warning][upstream] [ostiary/net/pool_log.py:43] upstream 127.0.0.1:9: Can't connect to 127.0.0.1:9: IPv4 failed: nothing listens on that port, ECONNREFUSED (127.0.0.1:9).",
        {"ConnectFailed 127.0.0.1:9 ECONNREFUSED False"},
    ),
    "ostiary, wrong secret": (
        '{"time": "2026-11-26T02:00:20.834248Z", "level": "warning", "scope": "envoy oauth2", "msg": "code ppm51xbs: GET answered with 500: client-rejected: token: invalid_client: AADSTS7000215: Invalid client secret provided", "caller": "ostiary/app/replies.py:37", "thread": "26795"}',
        {"SignInFailed other 500 ostiary", "Answered token 400 invalid_client AADSTS7000215 ostiary"},
    ),
    "ostiary, csrf": (
        "[2026-11-26 02:00:08.802][26533][warning][oauth2] [ostiary/app/replies.py:37] code 1cf14949: GET answered with 403: csrf-cookie-missing: no flow cookie came with the callback",
        {"SignInFailed csrf-cookie-missing 403 ostiary"},
    ),
    # --- languages
    "python, no route": (
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='login.example.com', port=443): Max retries exceeded with url: /keys (Caused by NewConnectionError('<urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno 101] Network is unreachable'))",
        {"ConnectFailed login.example.com:443 ENETUNREACH True"},
    ),
    "python, name": (
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='login.example.com', port=443): Max retries exceeded with url: /keys (Caused by NameResolutionError(\"<urllib3.connection.HTTPSConnection object at 0x7f>: Failed to resolve 'login.example.com' ([Errno -2] Name or service not known)\"))",
        {"ResolutionFailed login.example.com not-found application"},
    ),
    "python, certificate": (
        "requests.exceptions.SSLError: HTTPSConnectionPool(host='login.example.com', port=443): Max retries exceeded with url: /keys (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:1006)')))",
        {"HandshakeFailed login.example.com:443 untrusted-ca application"},
    ),
    "python, plain text": (
        "ssl.SSLError: [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)",
        {"HandshakeFailed not-tls application"},
    ),
    "aiohttp": (
        "aiohttp.client_exceptions.ClientConnectorError: Cannot connect to host login.example.com:443 ssl:default [Network is unreachable]",
        {"ConnectFailed login.example.com:443 ENETUNREACH True"},
    ),
    "node, no route": (
        "Error: connect ENETUNREACH 2603:1026:3000:c8::4:443 - Local (:::0)",
        {"Attempted 2603:1026:3000:c8::4 443 v6 failed route ENETUNREACH"},
    ),
    "node, name": ("Error: getaddrinfo ENOTFOUND login.example.com", {"ResolutionFailed login.example.com not-found application"}),
    "node, resolver": ("Error: getaddrinfo EAI_AGAIN login.example.com", {"ResolutionFailed login.example.com no-answer application"}),
    "node, fetch": (
        "TypeError: fetch failed\n    at node:internal/deps/undici/undici:12618:11\n  [cause]: Error: connect ENETUNREACH 2603:1026:3000:c8::4:443 - Local (:::0)",
        {"Attempted 2603:1026:3000:c8::4 443 v6 failed route ENETUNREACH"},
    ),
    "node, certificate": (
        "Error: unable to verify the first certificate; if the root CA is installed locally, try running Node.js with --use-system-ca\n  code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'",
        {"HandshakeFailed untrusted-ca application"},
    ),
    "node, headers": ("Error: Parse Error: Header overflow\n  code: 'HPE_HEADER_OVERFLOW'", {"HeadersTooLarge application request"}),
    "tomcat, headers": ("java.lang.IllegalArgumentException: Request header is too large", {"HeadersTooLarge application request"}),
    "java, name": (
        "java.net.UnknownHostException: login.example.com: Name or service not known",
        {"ResolutionFailed login.example.com not-found application"},
    ),
    "java, authority": (
        "javax.net.ssl.SSLHandshakeException: PKIX path building failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find valid certification path to requested target",
        {"HandshakeFailed untrusted-ca application"},
    ),
    "dotnet, no route": (
        "System.Net.Http.HttpRequestException: Network is unreachable (login.microsoftonline.com:443)",
        {"ConnectFailed login.microsoftonline.com:443 ENETUNREACH True"},
    ),
    "dotnet, name": (
        "System.Net.Http.HttpRequestException: Name or service not known (login.example.com:443)",
        {"ResolutionFailed login.example.com not-found application"},
    ),
    # --- the provider
    "keycloak, secret": (
        "2024-10-04 13:37:05,123 WARN  [org.keycloak.events] (executor-thread-1) type=CODE_TO_TOKEN_ERROR, realmId=x, clientId=httpbin, userId=null, ipAddress=10.0.0.7, error=invalid_client_credentials, grant_type=authorization_code",
        {"Answered token 400 invalid_client keycloak"},
    ),
    "keycloak, redirect URI": (
        '2024-10-04 13:37:05,123 WARN  [org.keycloak.events] (executor-thread-1) type="LOGIN_ERROR", realmId="x", clientId="httpbin", userId="null", ipAddress="10.0.0.7", error="invalid_redirect_uri", redirect_uri="http://app.example.com/cb"',
        {"RedirectUriAnswer httpbin http://app.example.com/cb False"},
    ),
    "keycloak, password": (
        '2024-10-04 13:37:05,123 WARN  [org.keycloak.events] (executor-thread-1) type="LOGIN_ERROR", realmId="x", clientId="httpbin", userId="null", ipAddress="10.0.0.7", error="invalid_user_credentials"',
        set(),
    ),
    "entra, redirect URI": (
        "AADSTS50011: The redirect URI 'http://app.example.com/callback' specified in the request does not match the redirect URIs configured for the application.",
        {"Answered authorization 0 AADSTS50011"},
    ),
    # --- by hand
    "curl, an old Envoy's answer": (
        "upstream connect error or disconnect/reset before headers. reset reason: connection failure, transport failure reason: immediate connect error: Network is unreachable",
        {"ConnectFailed ENETUNREACH True"},
    ),
    "curl, expired": ("* SSL certificate problem: certificate has expired", {"HandshakeFailed expired curl"}),
    "curl's nslookup": ("** server can't find login.example.com: NXDOMAIN", {"ResolutionFailed login.example.com not-found curl"}),
    "curl's wget": ("wget: unable to resolve host address ‘login.example.com’", {"ResolutionFailed login.example.com not-found curl"}),
    "curl's dig": (";; connection timed out; no servers could be reached", {"ResolutionFailed no-answer curl"}),
    "curl, no route": (
        "* Immediate connect fail for 2606:4700::6810:a016: Network is unreachable\n* Connected to login.example.com (10.1.2.3) port 443 (#0)",
        {
            "Attempted 2606:4700::6810:a016 443 v6 failed route ENETUNREACH",
            "Attempted 10.1.2.3 443 v4 connected tcp login.example.com:443",
        },
    ),
    "curl, refused": (
        "curl: (7) Failed to connect to login.example.com port 443 after 3 ms: Connection refused",
        {"ConnectFailed login.example.com:443 ECONNREFUSED True"},
    ),
    "curl, name": ("curl: (6) Could not resolve host: login.example.com", {"ResolutionFailed login.example.com not-found curl"}),
    "curl, certificate": (
        "curl: (60) SSL certificate problem: unable to get local issuer certificate",
        {"HandshakeFailed untrusted-ca curl"},
    ),
    "openssl, authority": (
        "depth=0 CN = login.example.com\nverify error:num=20:unable to get local issuer certificate",
        {"HandshakeFailed untrusted-ca curl"},
    ),
    "openssl, plain text": (
        "4037A5F0E77F0000:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl/record/ssl3_record.c:354:",
        {"HandshakeFailed not-tls curl"},
    ),
    # --- browsers
    "chrome, preflight": (
        "Access to fetch at 'https://login.example.com/authorize?client_id=a&state=xyz' (redirected from 'https://app.example.com/api/x') from origin 'https://app.example.com' has been blocked by CORS policy: Response to preflight request doesn't pass access control check: Redirect is not allowed for a preflight request.",
        {"BrowserBlocked preflight https://login.example.com/authorize?client_id=a&state=[secret]"},
    ),
    "chrome, cors": (
        "Access to XMLHttpRequest at 'https://login.example.com/authorize' (redirected from 'https://app.example.com/api/x') from origin 'https://app.example.com' has been blocked by CORS policy: No 'Access-Control-Allow-Origin' header is present on the requested resource.",
        {"BrowserBlocked cors https://login.example.com/authorize"},
    ),
    "chrome, loop": ("GET https://app.example.com/ net::ERR_TOO_MANY_REDIRECTS", {"BrowserBlocked redirect-loop https://app.example.com/"}),
    "chrome, mixed": (
        "Mixed Content: The page at 'https://app.example.com/' was loaded over HTTPS, but requested an insecure resource 'http://app.example.com/oauth2/callback'. This request has been blocked; the content must be served over HTTPS.",
        {"BrowserBlocked mixed-content http://app.example.com/oauth2/callback"},
    ),
    "firefox, cors": (
        "Cross-Origin Request Blocked: The Same Origin Policy disallows reading the remote resource at https://login.example.com/authorize. (Reason: CORS preflight response did not succeed). Status code: 302.",
        {"BrowserBlocked preflight https://login.example.com/authorize"},
    ),
    "firefox, SameSite": (
        "Cookie “OauthNonce” has been rejected because it is in a cross-site context and its “SameSite” is “Lax” or “Strict”.",
        {"CookieRefused OauthNonce same-site"},
    ),
    "firefox, domain": ("Cookie “_oauth2_proxy” has been rejected for invalid domain.", {"CookieRefused _oauth2_proxy domain"}),
    "firefox, secure": (
        "Cookie “_oauth2_proxy” has been rejected because a non-HTTPS cookie can’t be set as “secure”.",
        {"CookieRefused _oauth2_proxy secure"},
    ),
    "firefox, size": (
        "Cookie “BearerToken” has been rejected because it is too large (5120 B). Max size is 4096 B.",
        {"CookieRefused BearerToken too-large"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_a_line_says(case: str) -> None:
    line, expected = LINES[case]
    assert told(line) == expected


@pytest.mark.parametrize(
    "case", [case for case in LINES if not case.startswith(("curl", "openssl", "chrome", "firefox"))]
)
def test_a_line_says_it_behind_the_prefix_of_a_container(case: str) -> None:
    line, expected = LINES[case]
    behind = "\n".join(f"[pod/auth-0/main] {each}" for each in line.split("\n"))
    assert told(behind) == expected


def test_an_old_envoy_without_addresses() -> None:
    log = """\
2023-10-18T08:10:01.100000Z\tdebug\tenvoy multi_connection\t[C985] connections=2\tthread=23
2023-10-18T08:10:01.100100Z\tdebug\tenvoy happy_eyeballs\tC[985] address=[2606:4700::6810:a116]:443\tthread=23
2023-10-18T08:10:01.100200Z\tdebug\tenvoy connection\t[C986] connecting to [2606:4700::6810:a116]:443\tthread=23
2023-10-18T08:10:01.100300Z\tdebug\tenvoy connection\t[C986] immediate connect error: Network is unreachable\tthread=23
2023-10-18T08:10:01.100400Z\tdebug\tenvoy happy_eyeballs\tC[985] address=[2606:4700::6810:a016]:443\tthread=23
2023-10-18T08:10:01.100500Z\tdebug\tenvoy connection\t[C987] connecting to [2606:4700::6810:a016]:443\tthread=23
2023-10-18T08:10:01.100600Z\tdebug\tenvoy connection\t[C987] immediate connect error: 101\tthread=23
"""
    assert told(log) == {
        "Attempted 2606:4700::6810:a116 443 v6 failed route ENETUNREACH",
        "Attempted 2606:4700::6810:a016 443 v6 failed route ENETUNREACH",
    }


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ("failed with c-ares status 4", "not-found"),
        ("failed with c-ares status 11", "no-answer"),
        ("failed with c-ares status 12", "no-answer"),
        ('failed with c-ares status 0x0003: "DNS server returned general failure"', "server-failure"),
        ('failed with c-ares status 0x000b: "Could not contact DNS servers"', "no-answer"),
        ('failed with c-ares status 0x000c: "Timeout while contacting DNS servers"', "no-answer"),
    ],
)
def test_names_that_do_not_resolve_by_every_version_s_words(status: str, fault: str) -> None:
    line = f"2024-10-04T13:37:05.541213Z\tdebug\tenvoy dns\tdns resolution for idp.test {status}\tthread=15"
    assert told(line) == {f"ResolutionFailed idp.test {fault} envoy"}


def test_a_name_that_resolved_later_failed_for_a_moment() -> None:
    log = """\
2024-10-04T13:37:05.541213Z\tdebug\tenvoy dns\tdns resolution without records for idp.test c-ares status 0x0001: "no data"\tthread=15
2024-10-04T13:37:05.551213Z\tdebug\tenvoy upstream\tDNS refresh rate reset for idp.test, refresh rate 5000 ms\tthread=15
"""
    assert told(log) == set()


OLD_TLS = "TLS error: 268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED"


@pytest.mark.parametrize(
    "line",
    [
        f"upstream connect error or disconnect/reset before headers. reset reason: connection failure, transport failure reason: {OLD_TLS}",
        f"2023-10-18T08:10:01.1Z\tdebug\tenvoy oauth2\tOauth response body: upstream connect error or disconnect/reset before headers. reset reason: connection failure, transport failure reason: {OLD_TLS}\tthread=23",
    ],
)
def test_an_old_envoy_says_the_reason_to_the_client(line: str) -> None:
    assert told(line) == {"HandshakeFailed untrusted-ca envoy"}


def test_a_rejection_s_reason_is_its_last_line() -> None:
    dump = "\n".join(["config {", "  token_endpoint {", '    uri: "https://idp.test/token/ok"', "  }", "}"])
    log = (
        "2024-10-04T13:37:05.541213Z\twarning\tenvoy config\tgRPC config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: "
        f"Error adding/updating listener(s) virtualInbound: goo.gle/debugonly  \n{dump}\n: Proto constraint validation failed "
        '(OAuth2ConfigValidationError.TokenEndpoint | caused by HttpUriValidationError.Timeout: field: "timeout", reason: is required)\tthread=15\n'
        "2024-10-04T13:37:06.541213Z\tinfo\tenvoy upstream\tcds: add 2 cluster(s)\tthread=15\n"
    )
    assert told(log) == {
        "UpdateRejected listener virtualInbound",
        "ConfigurationProblem invalid timeout True",
    }
    assert "reason: is required" in next(
        fact.message
        for fact in facts(log)
        if type(fact).__name__ == "ConfigurationProblem"  # type: ignore[attr-defined]
    )


def test_secrets_of_a_file_with_another_name() -> None:
    line = "2024-10-04T13:37:05.541213Z\twarning\tenvoy config\tfilesystem config update rejected: Unexpected SDS secret (expecting token_sds): token_other\tthread=15"
    assert told(line) >= {"Warming secret token_sds", "ConfigurationProblem secret-missing token_sds True"}
