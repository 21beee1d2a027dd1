"""Causes in TLS: a case, a near miss, and a healthy counterpart for each rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from doctor.rules.facts import HOST, TARGET, cluster, find, names, origin
from ostiary.doctor.facts.sidecar import ClusterCounters
from ostiary.doctor.facts.tls import HandshakeDone, HandshakeFailed, HandshakeFault, PlainTextToTls

GOOD = cluster(lookup_family="ALL")
RULES: dict[HandshakeFault, str] = {
    "untrusted-ca": "tls-untrusted-ca", "name-mismatch": "tls-name-mismatch", "expired": "tls-expired",
    "not-yet-valid": "tls-expired", "version": "tls-version", "client-certificate": "tls-client-certificate-required",
    "unrecognized-name": "tls-sni", "not-tls": "tls-to-plaintext", "silent": "tls-silent",
}  # fmt: skip


def failed(fault: HandshakeFault) -> HandshakeFailed:
    return HandshakeFailed(origin=origin(fault), target="oauth", fault=fault)


@pytest.mark.parametrize("fault", RULES)
def test_each_fault_has_its_rule(fault: HandshakeFault) -> None:
    (found,) = find(failed(fault), GOOD)
    assert (found.rule, found.confidence, found.subject) == (RULES[fault], "certain", TARGET)


def test_a_handshake_that_succeeds() -> None:
    assert names(HandshakeDone(origin=origin("ok"), target="oauth", verified=True), GOOD) == []


def test_no_sni_explains_the_wrong_certificate() -> None:
    (found,) = find(failed("name-mismatch"), cluster(lookup_family="ALL", sni=""))
    assert (found.rule, found.confidence) == ("tls-sni", "likely")
    (edit,) = found.edits
    assert (edit.path.endswith("transport_socket.typed_config"), edit.key, edit.value) == (True, "sni", HOST)


@pytest.mark.parametrize(
    ("name", "rule"), [("ssl.fail_verify_error", "tls-untrusted-ca"), ("ssl.fail_verify_san", "tls-name-mismatch")]
)
def test_counters_tell_what_fails(name: str, rule: str) -> None:
    (found,) = find(ClusterCounters(origin=origin(name), cluster="oauth", counters={name: 2}), GOOD)
    assert (found.rule, found.confidence) == (rule, "likely")


class TestNotConfigured:
    def test_a_provider_on_443_without_tls(self) -> None:
        (found,) = find(cluster(tls=False, sni="", has_ca=False, checks_name=False, lookup_family="ALL"))
        assert (found.rule, found.confidence) == ("tls-not-configured", "likely")
        value = found.edits[0].value
        assert isinstance(value, dict)
        assert value["name"] == "envoy.transport_sockets.tls"

    def test_the_peer_says_so(self) -> None:
        (found,) = find(PlainTextToTls(origin=origin("400"), target="oauth"))
        assert (found.rule, found.confidence) == ("tls-not-configured", "certain")

    def test_a_plain_port(self) -> None:
        assert names(cluster(tls=False, port=8080, lookup_family="ALL")) == []


class TestNotVerified:
    def test_no_ca(self) -> None:
        (found,) = find(cluster(has_ca=False, checks_name=False, lookup_family="ALL"))
        assert (found.rule, found.severity) == ("tls-not-verified", "warning")
        assert [edit.key for edit in found.edits] == ["trusted_ca", "match_typed_subject_alt_names"]

    def test_no_name(self) -> None:
        (found,) = find(cluster(checks_name=False, lookup_family="ALL"))
        assert [edit.key for edit in found.edits] == ["match_typed_subject_alt_names"]

    def test_both(self) -> None:
        assert names(GOOD) == []

    def test_the_application_is_no_provider(self) -> None:
        assert names(cluster(has_ca=False, for_provider=False, lookup_family="ALL")) == []


@pytest.mark.parametrize("fault", ["other", "closed"])
def test_an_end_that_says_nothing_clear_is_told_and_never_surely(fault: HandshakeFault) -> None:
    unclear = HandshakeFailed(origin=origin("BAD_DECRYPT"), target=TARGET, fault=fault)
    (found,) = find(unclear)
    assert (found.severity, found.confidence) == ("error", "possible")
    assert "BAD_DECRYPT" in found.proof[0]
    assert [each.rule for each in find(unclear, replace(unclear, fault="untrusted-ca"))] == ["tls-untrusted-ca"]
