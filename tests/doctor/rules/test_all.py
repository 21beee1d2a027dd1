"""What holds of every rule: its name is one that others rely on, and its page says all that a page should."""

from __future__ import annotations

import pytest

from ostiary.doctor.rules import all_rules, page, title

NAMES = """
dns-family-unreachable dns-name-not-found dns-server-failure dns-no-answer dns-type-unanswered dns-no-address-in-family
dns-search-detour tcp-refused tcp-timeout tcp-reset no-route race-impossible connect-timeout-too-short egress-blocked
http-proxy-ignored upstream-overflow tls-untrusted-ca tls-name-mismatch tls-expired tls-not-configured tls-to-plaintext
tls-version tls-client-certificate-required tls-sni tls-not-verified tls-silent idp-server-error idp-timeout
idp-not-oauth idp-protocol discovery-failed jwks-fetch-failed clock-skew client-rejected redirect-uri-mismatch
grant-rejected scope-rejected consent-required token-response-invalid idp-error secret-not-delivered secret-invalid
secret-mismatch csrf-mismatch csrf-cookie-missing state-invalid code-verifier-invalid redirect-scheme
redirect-uri-template cookie-too-large headers-too-large cookie-scope jwt-issuer jwt-audience jwt-key jwt-expired
jwt-missing group-overage config-unknown-field config-type-url config-type-missing config-invalid cluster-unknown
filter-order filter-fails-open patch-not-applied patch-crashes-istiod listener-rejected extension-missing
sidecar-not-ready ext-authz-status ext-authz-unreachable xhr-redirected preflight-redirected signin-loop
"""
RULES = all_rules()
SECTIONS = ("## How it comes about", "## How to be sure", "## The mend", "## Example")


def test_the_names_are_those_that_others_rely_on() -> None:
    assert sorted(rule.name for rule in RULES) == sorted(NAMES.split())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_has_a_page(rule) -> None:
    text = page(rule.name)
    assert text.startswith(f"# {rule.name}: ")
    assert title(rule.name)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [*SECTIONS]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_explains_other_rules_only(rule) -> None:
    assert rule.explains <= {other.name for other in RULES} - {rule.name}


def test_no_page_is_left_over() -> None:
    with pytest.raises(KeyError):
        page("no-such-rule")
    with pytest.raises(KeyError):
        page("../__init__")
