"""What a real Envoy 1.39.3 printed while a sign-in failed, and the cause that the doctor names first.

The lines are those of `logs/captured.yaml`; each case is read in every format that was captured. A case may have other
findings behind the first; one that is healthy has none.
"""

from __future__ import annotations

import pytest

from doctor.logs.reading import captured, facts
from doctor.rules.facts import find

CASES = captured()["cases"]
REJECTED = captured()["rejected"]
FIRST = {
    "invalid_client": "client-rejected", "redirect_mismatch": "redirect-uri-mismatch", "html200": "idp-not-oauth",
    "no_access_token": "token-response-invalid", "no_expires": "token-response-invalid", "idp502": "idp-server-error",
    "wrong_path": "idp-not-oauth", "slow_idp": "idp-timeout", "nxdomain": "dns-name-not-found",
    "dns_timeout": "dns-name-not-found", "v6only_v4": "dns-name-not-found", "v6_unreach": "dns-family-unreachable",
    "refused": "tcp-refused", "conn_timeout": "tcp-timeout", "wrong_ca": "tls-untrusted-ca",
    "cert_expired": "tls-expired", "plain_to_tls": "tls-not-configured", "tls_to_plain": "tls-to-plaintext",
    "tcp_reset": "tcp-reset", "sds_missing": "secret-not-delivered", "other_hmac": "csrf-mismatch",
    "no_cookie": "csrf-mismatch", "no_code_verifier": "code-verifier-invalid", "error_query": "consent-required",
    "no_code": "state-invalid", "state_not_json": "state-invalid", "small_headers": "headers-too-large",
    "allow_failed": "client-rejected", "options_preflight": "preflight-redirected",
    "jwt_before_oauth": "jwt-missing", "jwt_after_oauth": "jwt-key",
}  # fmt: skip
"""Case -> rule. `no healthy upstream` alone can't tell a name that does not exist from a server that is silent."""
REASON_AT_DEBUG = {"v6_unreach", "refused", "wrong_ca", "cert_expired", "tls_to_plain", "tcp_reset"}
"""Above debug, Envoy says that the connection failed and not why; so does the doctor."""
ONLY_IN_ACCESS_LOG = {"options_preflight"}
HEALTHY = sorted(set(CASES) - set(FIRST))


@pytest.mark.parametrize("case", FIRST)
def test_the_cause_comes_first(case: str) -> None:
    for kind, lines in CASES[case].items():
        found = find(*facts("\n".join(lines)))
        assert found or kind != "debug" or case in ONLY_IN_ACCESS_LOG, f"{kind}: nothing was found"
        if not found:
            continue
        if kind != "debug" and case in REASON_AT_DEBUG:
            assert (found[0].rule, found[0].confidence) in (("no-route", "possible"), (FIRST[case], "certain")), kind
        else:
            assert found[0].rule == FIRST[case], kind


@pytest.mark.parametrize("case", HEALTHY)
def test_a_healthy_case_has_no_finding(case: str) -> None:
    for kind, lines in CASES[case].items():
        assert [finding.rule for finding in find(*facts("\n".join(lines)))] == [], kind


REFUSED_FOR = {
    "unknown_field": "config-unknown-field", "v2_config_field": "config-unknown-field",
    "san_exact_v2": "config-unknown-field", "typed_config_v3alpha": "config-type-url",
    "typed_config_wrong_type": "config-type-url", "no_typed_config": "config-type-missing",
    "tls_no_type": "config-type-missing", "unknown_cluster": "cluster-unknown",
    "no_token_endpoint": "cluster-unknown",
    "hmac_unknown_name": "secret-not-delivered", "token_unknown_name": "secret-not-delivered",
    "no_token_secret": "secret-not-delivered", "tls_downstream_type": "config-unknown-field",
}  # fmt: skip
"""All others that were refused are `config-invalid`."""


@pytest.mark.parametrize("case", REJECTED)
def test_a_rejected_configuration(case: str) -> None:
    found = [finding.rule for finding in find(*facts("\n".join(REJECTED[case])))]
    if any("critical" in line for line in REJECTED[case]) or case in REFUSED_FOR:
        assert found[:1] == [REFUSED_FOR.get(case, "config-invalid")]
    else:
        assert found == []
