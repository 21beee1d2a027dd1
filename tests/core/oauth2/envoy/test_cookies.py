from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.oauth2.envoy.cookies import CookieWriter, RequestCookies
from ostiary.model import limits
from ostiary.model.headers import Headers
from ostiary.model.oauth2 import CookieConfig, CookieConfigs, CookieNames, SameSite

NAMES = CookieNames()
OWNED = frozenset(("BearerToken", "OauthHMAC", "OauthNonce", "IdToken"))
PREFIXES = ("OauthNonce.",)
TOKEN = st.text("abcXYZ019.-_", min_size=1, max_size=12)
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, blacklist_characters=';"\x85\xa0'), max_size=20)


def cookies(*lines: str) -> RequestCookies:
    return RequestCookies(Headers([("cookie", line) for line in lines]))


def writer(domain: str = "", **configs: CookieConfig) -> CookieWriter:
    return CookieWriter(NAMES, CookieConfigs(**configs), domain)


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        (["a=1; b=2"], "b", "2"),
        (["a=1", "b=2"], "b", "2"),
        (["a=1;b=2"], "b", "2"),
        ([" \t a=1 ; b=2 "], "a", "1"),
        (["a=1; a=2"], "a", "1"),
        (["a=1", "a=2"], "a", "1"),
        (['a="1 2"'], "a", "1 2"),
        (['a="'], "a", '"'),
        (["a=b=c=="], "a", "b=c=="),
        (["a; a=2"], "a", "2"),
        (["a"], "a", ""),
        (["A=1"], "a", ""),
        ([], "a", ""),
        (["=x"], "", "x"),
    ],
)
def test_reading_is_envoys(lines: list[str], name: str, value: str) -> None:
    assert cookies(*lines).get(name) == value


@given(sent=st.lists(st.tuples(TOKEN, VALUE), max_size=12))
def test_every_cookie_that_was_sent_is_read(sent: list[tuple[str, str]]) -> None:
    read = cookies("; ".join(f"{name}={value}" for name, value in sent))
    for name, value in dict(reversed(sent)).items():
        assert read.get(name) == value
        assert name in read


@given(line=st.text(st.characters(max_codepoint=255)))
def test_no_cookie_of_ours_survives_a_rewrite(line: str) -> None:
    left = cookies(cookies(line, "OauthHMAC=x;app=1").rewritten({}, OWNED, PREFIXES))
    assert left.get("app") == cookies(line, "app=1").get("app")
    for name in OWNED:
        assert name not in left
    assert not left.names_of("OauthNonce")


@pytest.mark.parametrize(
    ("line", "rewritten"),
    [
        ('x="a b"; flag; x=2; y=', 'x="a b"; flag; x=2; y=; BearerToken=plain'),
        ("x=1; BearerToken=enc; y=2; OauthHMAC=m", "x=1; BearerToken=plain; y=2"),
        ("x=1; OauthHMAC=m", "x=1; BearerToken=plain"),
        ("BearerToken=enc; BearerToken=evil", "BearerToken=plain"),
        ("BearerToken =evil; BearerToken=enc", "BearerToken=plain"),
        ("BearerToken; x=1", "BearerToken=plain; x=1"),
        ("OauthNonce.0=1; OauthNonce=2; OauthNonceX=3", "OauthNonceX=3; BearerToken=plain"),
        ("OauthHMAC=m; IdToken", "BearerToken=plain"),
    ],
)
def test_the_applications_cookies_stay_as_they_are(line: str, rewritten: str) -> None:
    assert cookies(line).rewritten({"BearerToken": "plain"}, OWNED, PREFIXES) == rewritten


def test_nothing_left_is_empty() -> None:
    assert cookies("OauthHMAC=m").rewritten({}, OWNED, PREFIXES) == ""


@pytest.mark.parametrize(
    ("same_site", "attribute"),
    [("DISABLED", ""), ("STRICT", ";SameSite=Strict"), ("LAX", ";SameSite=Lax"), ("NONE", ";SameSite=None")],
)
def test_a_cookie_is_set_as_envoy_sets_it(same_site: SameSite, attribute: str) -> None:
    plain = writer(bearer_token=CookieConfig(same_site=same_site)).set("BearerToken", "v", 60)
    assert plain == ("set-cookie", f"BearerToken=v;path=/;Max-Age=60;secure;HttpOnly{attribute}")
    config = CookieConfig(same_site=same_site, path="/app", partitioned=True)
    full = writer(".example.com", oauth_nonce=config).set("OauthNonce", "v", 0, suffix=".1")
    assert full[1] == (f"OauthNonce.1=v;domain=.example.com;path=/app;Max-Age=0;secure;HttpOnly{attribute};Partitioned")


EPOCH = "expires=Thu, 01 Jan 1970 00:00:00 GMT"


def test_a_cookie_is_deleted_as_envoy_deletes_it() -> None:
    assert writer().delete("IdToken") == ("set-cookie", f"IdToken=deleted; path=/; {EPOCH}")
    deleted = writer("example.com", oauth_nonce=CookieConfig(path="/cb")).delete("OauthNonce", suffix=".1")
    assert deleted[1] == f"OauthNonce.1=deleted; path=/cb; {EPOCH};domain=example.com"


@pytest.mark.parametrize("prefix", ["__Secure-", "__Host-"])
def test_a_deletion_has_what_browsers_ask_of_prefixed_and_partitioned_cookies(prefix: str) -> None:
    names = CookieNames(bearer_token=prefix + "B")
    write = CookieWriter(names, CookieConfigs(id_token=CookieConfig(partitioned=True)), "")
    assert write.delete(prefix + "B")[1] == f"{prefix}B=deleted; path=/; {EPOCH}; Secure"
    assert write.delete("IdToken")[1] == f"IdToken=deleted; path=/; {EPOCH}; Secure; Partitioned"


def test_flow_cookies_come_in_envoys_order() -> None:
    names = [value.partition("=")[0] for _, value in writer().set_flow("f0", "n", "v", 1, 2)]
    assert names == ["OauthNonce.f0", "OauthNonce", "CodeVerifier.f0", "CodeVerifier"]
    assert [value.partition("=")[0] for _, value in writer().delete_flow("f0")] == names
    assert [value.partition("=")[0] for _, value in writer().delete_flow("")] == ["OauthNonce", "CodeVerifier"]


def test_only_names_that_a_header_can_hold_are_sent_back() -> None:
    sent = cookies("OauthNonce.a=1; OauthNonce.b c=1; OauthNonce.=1; OauthNonce=1; OauthNonceX=1; CodeVerifier.d=1")
    deleted = [value.partition("=")[0] for _, value in writer().delete_all_flows(sent)]
    assert deleted == ["OauthNonce.a", "OauthNonce", "CodeVerifier.d"]


def test_a_client_does_not_choose_how_large_our_answer_gets() -> None:
    many = cookies("; ".join(f"OauthNonce.{i}=1" for i in range(1000)))
    assert len(writer().delete_all_flows(many)) == limits.MAX_FLOW_DELETIONS
    assert len(writer().delete_oldest_flows(many)) == limits.MAX_FLOW_DELETIONS


@pytest.mark.parametrize("pending", range(limits.MAX_PENDING_FLOWS + 3))
def test_the_oldest_flows_make_room(pending: int) -> None:
    sent = cookies("OauthNonce=x; " + "; ".join(f"OauthNonce.{i}=1; CodeVerifier.{i}=1" for i in range(pending)))
    deleted = [value.partition("=")[0] for _, value in writer().delete_oldest_flows(sent)]
    surplus = max(0, pending + 1 - limits.MAX_PENDING_FLOWS)
    assert deleted == [f"{name}.{i}" for i in range(surplus) for name in ("OauthNonce", "CodeVerifier")]
