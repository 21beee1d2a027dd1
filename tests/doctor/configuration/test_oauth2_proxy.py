"""oauth2-proxy's file: its provider, what it is told, and a secret that it can't start with."""

from __future__ import annotations

import pytest

from doctor.rules.facts import find
from ostiary.doctor.case import Case
from ostiary.doctor.configuration.read import read
from ostiary.doctor.facts.configuration import ClusterSeen, OAuth2Seen

GOOD = """\
provider = "oidc"
oidc_issuer_url = "https://login.example.com"
client_id = "app"
client_secret = "hunter2"
cookie_secret = "0123456789abcdef0123456789abcdef"
email_domains = ["*"]
upstreams = ["http://127.0.0.1:8080"]
redirect_url = "https://app.example.com/oauth2/callback"
"""


def rules(text: str) -> list[tuple[str, int]]:
    found = find(*read([("oauth2-proxy.cfg", text.encode())], env={}))
    return [(finding.rule, finding.where.line if finding.where is not None else 0) for finding in found]


def test_what_it_says() -> None:
    case = Case(read([("oauth2-proxy.cfg", GOOD.encode())], env={}))
    (provider,), (sign_in,) = case.all(ClusterSeen), case.all(OAuth2Seen)
    assert (provider.hosts, provider.port, provider.tls, provider.origin.line) == (("login.example.com",), 443, True, 2)
    assert (sign_in.issuer, sign_in.client_id) == ("https://login.example.com", "app")
    assert "hunter2" not in repr(sign_in)
    assert rules(GOOD) == []


@pytest.mark.parametrize(
    ("before", "after", "rule", "line"),
    [
        ("0123456789abcdef0123456789abcdef", "short", "secret-invalid", 5),
        ("https://app.", "http://app.", "redirect-scheme", 0),
        ('provider = "oidc"', 'ssl_insecure_skip_verify = true\nprovider = "oidc"', "tls-not-verified", 0),
    ],
)
def test_what_is_wrong(before: str, after: str, rule: str, line: int) -> None:
    assert rules(GOOD.replace(before, after)) == [(rule, line)]


@pytest.mark.parametrize("url", ["http://[", "https://a:99999", "", "login.example.com"])
def test_no_url_is_an_exception(url: str) -> None:
    rules(GOOD.replace("https://login.example.com", url))


def test_its_structured_configuration_is_not_passed_over() -> None:
    text = "upstreamConfig: {upstreams: []}\nproviders: [{provider: oidc, clientID: a}]\ninjectRequestHeaders: []\n"
    assert [rule for rule, _ in rules(text)] == ["config-invalid"]
