"""Access rules: where they apply, whom they admit, and what they say about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.access import claim_values, host_matches, host_name, judge, under
from ostiary.model.signin import AccessRule


@dataclass(frozen=True)
class Someone:
    email: str = "ada@example.com"
    groups: tuple[str, ...] = ("staff",)
    claims: dict[str, Any] = field(
        default_factory=lambda: {"dept": "math", "realm": {"roles": ["admin", 7]}, "ok": True}
    )


ADA = Someone()


def outcome(
    rule: AccessRule, person: Someone | None = ADA, path: str = "/", method: str = "GET", host: str = "h"
) -> str:
    return judge((rule,), host, path, method, person).outcome


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (AccessRule(), "admit"),
        (AccessRule(deny=True), "deny"),
        (AccessRule(public=True), "public"),
        (AccessRule(public=True, deny=True), "deny"),
        (AccessRule(groups=("staff", "x")), "admit"),
        (AccessRule(groups=("Staff",)), "deny"),
        (AccessRule(emails=("ADA@example.COM",)), "admit"),
        (AccessRule(emails=("ada@example.com.evil",)), "deny"),
        (AccessRule(domains=("EXAMPLE.com",)), "admit"),
        (AccessRule(domains=("*.example.com",)), "deny"),
        (AccessRule(domains=("ample.com",)), "deny"),
        (AccessRule(claims={"dept": ("art", "math")}), "admit"),
        (AccessRule(claims={"dept": ("mat",)}), "deny"),
        (AccessRule(claims={"realm.roles": ("admin",)}), "admit"),
        (AccessRule(claims={"realm.roles": ("7",)}), "admit"),
        (AccessRule(claims={"ok": ("true",)}), "admit"),
        (AccessRule(claims={"nothing": ("",)}), "deny"),
        (AccessRule(claims={"nothing": ("null",)}), "deny"),
        (AccessRule(groups=("staff",), domains=("example.com",)), "admit"),
        (AccessRule(groups=("staff",), domains=("example.org",)), "deny"),
        (AccessRule(groups=("x",), emails=("ada@example.com",)), "deny"),
    ],
)
def test_who(rule: AccessRule, expected: str) -> None:
    assert outcome(rule) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (AccessRule(), "sign_in"),
        (AccessRule(groups=("staff",)), "sign_in"),
        (AccessRule(public=True), "public"),
        (AccessRule(deny=True), "deny"),
        (AccessRule(paths=("/other",)), "sign_in"),
    ],
)
def test_without_a_session(rule: AccessRule, expected: str) -> None:
    assert outcome(rule, None) == expected


@pytest.mark.parametrize("email", ["", "ada", "@example.com", "a@b@example.com", "ada@"])
def test_addresses_that_are_none_fit_no_list(email: str) -> None:
    assert outcome(AccessRule(domains=("example.com", "")), Someone(email=email)) == "deny"
    assert outcome(AccessRule(emails=("",)), Someone(email="")) == "deny"


def test_a_subdomain_pattern_holds_subdomains_only() -> None:
    assert outcome(AccessRule(domains=("*.example.com",)), Someone(email="a@x.y.example.com")) == "admit"
    assert outcome(AccessRule(domains=("*.example.com",)), Someone(email="a@evilexample.com")) == "deny"


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        ("/admin", "/admin", True),
        ("/admin", "/admin/", True),
        ("/admin", "/admin/x", True),
        ("/admin", "/administrator", False),
        ("/admin", "/Admin", False),
        ("/admin", "/x/admin", False),
        ("/", "/anything", True),
        ("/a/", "/a/b", True),
    ],
)
def test_paths_match_at_segments(prefix: str, path: str, expected: bool) -> None:
    assert under(prefix, path) is expected
    assert (outcome(AccessRule(paths=(prefix,)), path=path) == "admit") is expected


def test_the_first_rule_of_a_place_decides() -> None:
    rules = (
        AccessRule(paths=("/public",), public=True),
        AccessRule(paths=("/admin",), groups=("admins",)),
        AccessRule(hosts=("api.example",), methods=("POST",), deny=True),
        AccessRule(),
    )
    assert judge(rules, "h", "/public/x", "GET", None).outcome == "public"
    assert judge(rules, "h", "/admin", "GET", ADA).outcome == "deny"
    assert judge(rules, "API.example:8443", "/", "POST", ADA).outcome == "deny"
    assert judge(rules, "api.example", "/", "GET", ADA).outcome == "admit"
    assert judge(rules[:3], "h", "/", "GET", ADA).outcome == "deny"


def test_a_verdict_says_why() -> None:
    rule = AccessRule(groups=("x",), claims={"dept": ("art",)})
    assert judge((AccessRule(paths=("/a",)), rule), "h", "/", "GET", ADA).why == (
        "rule 2 asks for one of its groups and another value of claim 'dept'"
    )


@pytest.mark.parametrize(
    ("authority", "name"),
    [("Example.COM:443", "example.com"), ("example.com.", "example.com"), ("[::1]:80", "[::1]"), ("", "")],
)
def test_hosts_are_compared_without_port_case_and_dot(authority: str, name: str) -> None:
    assert host_name(authority) == name


def test_host_patterns() -> None:
    assert host_matches(("*.a.example",), "x.a.example")
    assert not host_matches(("*.a.example",), "a.example")
    assert not host_matches(("*.a.example",), ".a.example")
    assert not host_matches(("a.example", ""), "")


def test_a_claim_named_with_dots_wins_over_the_way_into_an_object() -> None:
    claims = {"https://x.example/roles": ["r"], "a.b": "flat", "a": {"b": "deep"}}
    assert claim_values(claims, "https://x.example/roles") == ["r"]
    assert claim_values(claims, "a.b") == ["flat"]
    assert claim_values({"a": {"b": None}}, "a.b") == []
    assert claim_values({"a": "text"}, "a.b.c") == []


@given(st.text(max_size=20), st.sampled_from(["example.com", "*.example.com", "h"]))
def test_a_domain_holds_no_neighbour(name: str, pattern: str) -> None:
    for candidate in (name, f"{name}.example.com", f"{name}example.com"):
        if host_matches((pattern,), candidate):
            assert candidate.endswith("example.com") or candidate == pattern == "h"
            assert pattern.startswith("*.") == candidate.endswith(".example.com") or candidate == pattern


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "a.b"]), JSON, max_size=3), st.sampled_from(["a", "a.b", "a.b.a", ""])
)
def test_the_values_of_any_claim_are_texts(claims: dict[str, Any], path: str) -> None:
    values = claim_values(claims, path)
    assert all(isinstance(value, str) for value in values)
    if claims.get(path) is not None:
        members = claims[path] if isinstance(claims[path], list) else [claims[path]]
        assert len(values) == sum(member is not None for member in members)


@given(st.text(st.characters(codec="ascii"), max_size=10), st.text(max_size=10))
def test_a_host_s_port_and_case_are_nobody_s_name(host: str, port: str) -> None:
    if ":" not in host and not host.startswith("["):
        assert host_name(f"{host}:{port}") == host_name(host) == host_name(host.upper())
