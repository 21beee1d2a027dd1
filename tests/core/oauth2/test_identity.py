"""From claims to people and headers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.identity import (
    Person,
    github_email,
    header_value,
    headers_of,
    merge_userinfo,
    needed_from_userinfo,
    person_of,
)
from ostiary.core.oauth2.session import Session
from ostiary.model.signin import AccessRule
from signin_world import sign_in_config

CONFIG = sign_in_config()


def person(claims: dict[str, Any], *, multi_tenant: bool = False, **changes: Any) -> Person:
    return person_of({"sub": "u1", **claims}, sign_in_config(**changes), multi_tenant=multi_tenant)


def session(**changes: Any) -> Session:
    return Session(**{"id": "i", "subject": "u1", "created": 0.0, "last_seen": 0.0, **changes})


@pytest.mark.parametrize("claims", [{"sub": "ad\0a"}, {"sub": "ada\r\nX: y"}, {"email": "a\x7f@b.example"}])
def test_a_user_is_not_named_with_control_characters(claims: dict[str, Any]) -> None:
    with pytest.raises(SignInError) as refused:
        person(claims)
    assert refused.value.code == "userinfo-invalid" and "control characters" in refused.value.reason


def test_values_that_differ_stay_different() -> None:
    values = ["ad\0mins", "admins", "ad\nmins", "a,dmins", "ad mins"]
    assert len({header_value(value) for value in values}) == len(values)
    assert dict(headers_of(session(groups=("a\rb", "a,b")), CONFIG))["x-forwarded-groups"] == "a%0Db,a%2Cb"


def test_groups_can_be_kept_from_the_application() -> None:
    config = replace(CONFIG, pass_groups=False)
    assert dict(headers_of(session(groups=("a" * 9000,)), config)) == {"x-forwarded-user": "u1"}


def test_the_usual_claims() -> None:
    claims = {"email": "a@b.example", "preferred_username": "a", "name": "A", "groups": ["x", "y", "x", ""], "other": 1}
    assert person(claims) == Person(
        subject="u1",
        provider_subject="",
        email="a@b.example",
        preferred_username="a",
        name="A",
        groups=("x", "y"),
        claims={},
    )


@pytest.mark.parametrize(
    ("groups", "expected"),
    [("one", ("one",)), (None, ()), ([1, {"a": 2}], ("1", '{"a":2}')), ({"a": 1}, ('{"a":1}',)), ([], ())],
)
def test_groups_of_every_shape(groups: Any, expected: tuple[str, ...]) -> None:
    assert person({"groups": groups}).groups == expected


def test_claims_may_be_named_and_nested() -> None:
    changes = {"provider_user_claim": "login", "provider_groups_claim": "realm_access.roles"}
    found = person({"login": "ada", "realm_access": {"roles": ["r"]}}, **changes)
    assert (found.subject, found.provider_subject, found.groups) == ("ada", "u1", ("r",))


def test_only_claims_that_are_asked_for_are_kept() -> None:
    rules = (AccessRule(claims={"dept": ("x",), "a.b": ("y",)}),)
    found = person({"dept": "x", "a": {"b": "y"}, "big": "z" * 999}, rules=rules, claim_headers={"x-t": "title"})
    assert found.claims == {"dept": "x", "a": {"b": "y"}}


@pytest.mark.parametrize("hint", [{"_claim_names": {"groups": "src1"}}, {"hasgroups": "true"}])
def test_groups_left_out_by_the_provider_are_named_not_guessed(hint: dict[str, Any]) -> None:
    with pytest.raises(SignInError) as caught:
        person(hint, rules=(AccessRule(groups=("staff",)),))
    assert caught.value.code == "group-overage"
    assert person(hint).groups == ()


@pytest.mark.parametrize("claims", [{"sub": ""}, {"sub": None}, {"sub": "x" * 256}])
def test_nobody_is_nobody(claims: dict[str, Any]) -> None:
    with pytest.raises(SignInError):
        person(claims)


@pytest.mark.parametrize(
    ("claims", "multi_tenant", "email"),
    [
        ({}, False, "a@b.example"),
        ({"email_verified": True}, False, "a@b.example"),
        ({"email_verified": "true"}, False, "a@b.example"),
        ({}, True, ""),
        ({"email_verified": True}, True, "a@b.example"),
        ({"xms_edov": True}, True, "a@b.example"),
        ({"xms_edov": 1}, True, "a@b.example"),
    ],
)
def test_addresses_that_may_be_trusted(claims: dict[str, Any], multi_tenant: bool, email: str) -> None:
    assert person({"email": "a@b.example", **claims}, multi_tenant=multi_tenant).email == email


@pytest.mark.parametrize("verified", [False, "false", 0, "yes", []])
def test_an_unverified_address_is_refused_unless_configured(verified: Any) -> None:
    claims = {"email": "a@b.example", "email_verified": verified}
    with pytest.raises(SignInError) as caught:
        person(claims)
    assert caught.value.code == "email-unverified"
    assert person(claims, provider_require_verified_email=False).email == "a@b.example"


def test_userinfo_is_asked_for_what_is_missing_only() -> None:
    rules = (AccessRule(groups=("g",)), AccessRule(domains=("d",)), AccessRule(claims={"dept": ("x",)}))
    config = sign_in_config(rules=rules)
    assert needed_from_userinfo(config, {}) == {"groups", "email", "dept"}
    assert needed_from_userinfo(config, {"groups": ["g"], "email": "e", "dept": "x"}) == frozenset()
    assert needed_from_userinfo(CONFIG, {}) == frozenset()


def test_userinfo_speaks_of_the_same_person_and_never_overrules_the_token() -> None:
    assert merge_userinfo({"sub": "a", "x": 1}, {"sub": "a", "x": 2, "y": 3}) == {"sub": "a", "x": 1, "y": 3}
    for sub in ("b", None, 7):
        with pytest.raises(SignInError):
            merge_userinfo({"sub": "a"}, {"sub": sub})


def test_headers() -> None:
    config = sign_in_config(claim_headers={"X-Dept": "dept", "X-Roles": "groups", "X-None": "nothing"})
    assert dict(headers_of(session(groups=("a", "b,c"), claims={"dept": ["m", 7]}), config)) == {
        "x-forwarded-user": "u1",
        "x-forwarded-groups": "a,b%2Cc",
        "x-dept": "m,7",
        "x-roles": "a,b%2Cc",
    }


@given(st.text())
def test_a_header_value_is_one_line_of_latin_1(text: str) -> None:
    value = header_value(text)
    value.encode("latin-1")
    assert not set(value) & {"\r", "\n", "\0", "\t", "\x7f"} and value == value.strip(" ")


def test_other_scripts_arrive_as_utf_8() -> None:
    assert header_value("Zoë 你").encode("latin-1").decode() == "Zoë 你"


def test_headers_have_an_end() -> None:
    with pytest.raises(SignInError) as caught:
        headers_of(session(groups=tuple(f"group-{number}" for number in range(2000))), CONFIG)
    assert caught.value.code == "headers-too-large"


@pytest.mark.parametrize(
    ("addresses", "email"),
    [
        ([{"email": "a", "primary": True, "verified": True}], "a"),
        ([{"email": "b", "primary": False, "verified": True}, {"email": "a", "primary": True, "verified": True}], "a"),
        ([{"email": "a", "primary": True, "verified": False}], ""),
        ([{"email": "a", "primary": True}], ""),
        ([{"email": 7, "primary": True, "verified": True}], ""),
        (["a"], ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_github_s_verified_primary_address(addresses: Any, email: str) -> None:
    assert github_email(addresses) == email


def test_no_headers_without_tokens() -> None:
    config = replace(CONFIG, pass_access_token=True, pass_authorization=True)
    assert dict(headers_of(session(), config)) == {"x-forwarded-user": "u1"}
