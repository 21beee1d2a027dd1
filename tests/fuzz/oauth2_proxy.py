"""oauth2-proxy's configuration in any kind of file: it is judged, places are in the file, nothing secret is told."""

from __future__ import annotations

from ostiary.dialects.oauth2_proxy import Proxy, read
from ostiary.dialects.oauth2_proxy_options import OPTIONS
from ostiary.doctor.case import Case
from ostiary.doctor.configuration.oauth2_proxy import proxy_facts
from ostiary.doctor.diagnose import diagnose
from ostiary.doctor.mends.patch import together
from ostiary.doctor.rules import all_rules

FILE = b"""\
provider = "oidc"
oidc_issuer_url = "https://login.example.com"
client_secret = "zQ9-hunter2-zQ9"
cookie_secret = '''
short'''
upstreams = [ # two
  "http://a/", 'b',
]
skip_auth_routes = "GET=/"
cookie_expire = 3
"""
STRUCTURED = b"""\
server: {BindAddress: ':1'}
providers: [{id: a, clientID: 1, clientSecret: zQ9-hunter2-zQ9, oidcConfig: {issuerURL: 'http://['}}]
upstreamConfig: {upstreams: [{id: a, path: /, uri: ftp://x, timeout: 5}]}
injectRequestHeaders: [{name: a, values: [{claim: b}]}]
"""
POD = b"""\
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {b: c}}
spec:
  containers:
  - image: quay.io/oauth2-proxy/oauth2-proxy
    args: [--upstreams=x, --cookie-secure, 'false', --config=/etc/a.cfg]
    env: [{name: OAUTH2_PROXY_COOKIE_SECRET, valueFrom: {secretKeyRef: {name: s, key: k}}}]
    volumeMounts: [{name: v, mountPath: /etc}]
  volumes: [{name: v, configMap: {name: m}}]
---
{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {k: elE5LWh1bnRlcjItelE5Cg==}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: m}
data:
  a.cfg: |
    redirect_url = "http://a.example/x"
"""
VALUES = b"config: {cookieSecret: zQ9-hunter2-zQ9, configFile: 'a = 1'}\nextraArgs: {cookie-secure: }\n"
UNIT = b"[Service]\nExecStart=/bin/oauth2-proxy --cookie-refresh \\\n 1000h '--trusted-ip=1.2.3.4/1'\n"
SEEDS = (
    FILE, STRUCTURED, POD, VALUES, UNIT, b"OAUTH2_PROXY_UPSTREAM=a\nOAUTH2_PROXY_COOKIE_EXPIRE='1d'\n",
    b"services:\n  oauth2-proxy: {image: oauth2-proxy, command: --config a, environment: [OAUTH2_PROXY_PROVIDER=x]}\n",
    b"docker run -e OAUTH2_PROXY_PROVIDER=oidc quay.io/oauth2-proxy/oauth2-proxy --email-domain='*' # all\n",
)  # fmt: skip
WORDS = (
    b'"""', b"'''", b"\\\n", b"=", b" = ", b"[", b"]", b"{{", b"${A}", b"\xef\xbb\xbf", b"\r\n", b"--", b" -c ", b"|\n",
    b"&a ", b"*a", b"https://", b"0.0.0.0/0", b"(", b".*",
)  # fmt: skip
_MARK = "zQ9"
"""In every secret of the seeds, and in nothing else."""


def one(data: bytes) -> None:
    """A file of any of the kinds."""
    files = [("a", data)]
    facts = proxy_facts(files)
    texts = {"a": data.decode("utf-8", "replace")}
    findings = diagnose(Case(facts), all_rules())
    lines = texts["a"].count("\n") + 1
    for finding in findings:
        assert finding.where is None or 1 <= finding.where.line <= lines
    told = "\n".join((together(findings, texts) or "", *(str(finding.as_dict()) for finding in findings)))
    for secret in _secrets(read(files)):
        assert secret not in told


def _secrets(proxies: list[Proxy]) -> list[str]:
    return [
        setting.value for proxy in proxies for setting in proxy.settings
        if setting.option in OPTIONS and setting.option.flag in ("client-secret", "cookie-secret")
        and isinstance(setting.value, str) and setting.value.count(_MARK) > 1
    ]  # fmt: skip
