"""oauth2-proxy's provider probed, wherever its configuration is written."""

from __future__ import annotations

import asyncio
import base64

import pytest

from doctor.probes.probing import rules
from ostiary.doctor.examine import Question, examine
from ostiary.doctor.report import Report
from ostiary.testing.provider import DEMO_CLIENT, DemoProvider

CFG = """\
provider = "oidc"
oidc_issuer_url = "{issuer}"
client_id = "{id}"
client_secret = "{secret}"
cookie_secret = "0123456789abcdef"
email_domains = ["*"]
"""
ALPHA = """\
providers:
- {{id: oidc, provider: oidc, clientID: {id}, clientSecret: "{secret}", oidcConfig: {{issuerURL: "{issuer}"}}}}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: proxy}}
spec:
  containers:
  - image: quay.io/oauth2-proxy/oauth2-proxy
    args: [--provider=oidc, "--oidc-issuer-url={issuer}", --client-id={id}, --email-domain=*]
    env:
    - {{name: OAUTH2_PROXY_CLIENT_SECRET, valueFrom: {{secretKeyRef: {{name: s, key: client}}}}}}
    - {{name: OAUTH2_PROXY_COOKIE_SECRET, valueFrom: {{secretKeyRef: {{name: s, key: cookie}}}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, data: {{client: {base64}, cookie: MDEyMzQ1Njc4OWFiY2RlZg==}}}}
"""
UNIT = """\
[Service]
Environment="OAUTH2_PROXY_CLIENT_SECRET={secret}" OAUTH2_PROXY_COOKIE_SECRET=0123456789abcdef
ExecStart=/usr/bin/oauth2-proxy --provider=keycloak-oidc --oidc-issuer-url={issuer} --client-id={id} --email-domain=*
"""


def look(template: str, secret: str, *, probes: bool = True) -> tuple[Report, DemoProvider]:
    async def run() -> tuple[Report, DemoProvider]:
        async with DemoProvider() as demo:
            text = template.format(issuer=demo.issuer, id=DEMO_CLIENT.client_id, secret=secret,
                                   base64=base64.b64encode(secret.encode()).decode())  # fmt: skip
            return await examine(Question(configurations=(("proxy", text.encode()),), probes=probes)), demo

    return asyncio.run(run())


@pytest.mark.parametrize("template", [CFG, ALPHA, POD, UNIT])
def test_its_provider_is_asked_and_knows_the_client(template: str) -> None:
    report, demo = look(template, DEMO_CLIENT.client_secret)
    assert rules(report) == []
    assert [(each["client_id"], each["status"]) for each in demo.token_requests] == [(DEMO_CLIENT.client_id, 400)]


@pytest.mark.parametrize("template", [CFG, ALPHA, POD, UNIT])
def test_a_wrong_secret_is_refused_there(template: str) -> None:
    report, _ = look(template, "not-the-one")
    assert rules(report) == ["client-rejected"]
    assert "not-the-one" not in str(report.as_dict())


def test_an_issuer_with_a_slash_too_many() -> None:
    report, _ = look(CFG.replace("{issuer}", "{issuer}/"), DEMO_CLIENT.client_secret)
    assert rules(report)[:1] == ["discovery-failed"]


def test_nothing_is_asked_without_probes() -> None:
    report, demo = look(CFG, DEMO_CLIENT.client_secret, probes=False)
    assert rules(report) == []
    assert demo.token_requests == []
