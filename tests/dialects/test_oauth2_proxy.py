"""oauth2-proxy's options, words, values and places, as it reads them itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.oauth2_proxy import SEEDS, one
from ostiary.dialects.oauth2_proxy import Proxy, read
from ostiary.dialects.oauth2_proxy_flags import split_words
from ostiary.dialects.oauth2_proxy_options import BY_FLAG, BY_KEY, BY_VARIABLE, OPTIONS, nearest_flag, nearest_key
from ostiary.dialects.oauth2_proxy_toml import statements
from ostiary.dialects.oauth2_proxy_values import Refused, boolean, duration, split


def proxy(**files: str) -> Proxy:
    (found,) = read([(name.replace("_", ".", 1), text.encode()) for name, text in files.items()])
    return found


def test_each_option_has_one_flag_one_key_and_one_variable() -> None:
    assert len(OPTIONS) == len(BY_FLAG) == len({option.key for option in OPTIONS})
    upstream = BY_FLAG["upstream"]
    assert (upstream.key, upstream.variable, upstream.kind, upstream.core) == (
        "upstreams", "OAUTH2_PROXY_UPSTREAMS", "list", False)  # fmt: skip
    assert BY_FLAG["skip-auth-regex"].key == "skip_auth_regex"
    assert BY_VARIABLE["OAUTH2_PROXY_GOOGLE_GROUP"] is BY_KEY["google_groups"]
    assert [BY_KEY[key].default for key in ("cookie_secure", "cookie_expire", "provider", "upstreams")] == [
        True, 604800.0, "google", ()]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "key"),
    [("cookie-secure", "cookie_secure"), ("upstream", "upstreams"), ("cookie_domain", "cookie_domains"),
     ("cookie_secur", "cookie_secure"), ("oidc_issuer", "oidc_issuer_url"), ("something_else", "")],
)  # fmt: skip
def test_the_name_that_was_meant(wrong: str, key: str) -> None:
    assert nearest_key(wrong) == key
    assert nearest_flag(wrong) == (BY_KEY[key].flag if key else "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("168h", 604800), ("1h30m", 5400), ("500ms", 0.5), ("0", 0), ("-1.5h", -5400), (".5s", 0.5), ("1µs", 1e-6)],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "7d", "1 h", "h", "1hh", "1h-1m", "٣s"])
def test_no_duration(text: str) -> None:
    with pytest.raises(Refused):
        duration(text)


def test_true_and_false() -> None:
    assert [boolean(text) for text in ("1", "t", "TRUE", "0", "F", "false")] == [True, True, True, False, False, False]
    for text in ("yes", "on", "", "tRue"):
        with pytest.raises(Refused):
            boolean(text)
    assert boolean("", strict=False) is False


def test_a_list_is_one_record_of_values() -> None:
    assert split('a,"b,c",d') == ("a", "b,c", "d")
    assert split("^/a{1,3}$") == ("^/a{1", "3}$")
    assert split("") == ()


def test_words_of_a_shell() -> None:
    text = "# no\noauth2-proxy --a=\"b c\" \\\n  'd e'f --g=\\$h # no\n--i"
    words = [(word.text, word.line) for word in split_words(text, "f") if word.text != "\n"]
    assert words == [("oauth2-proxy", 2), ("--a=b c", 2), ("d ef", 3), ("--g=$h", 3), ("--i", 4)]


def test_where_the_keys_of_a_file_are() -> None:
    text = 'a = """\nb = 1\n"""\n"c" = [ # x = 1\n  \'d = 2\',\n\n  "e", 7 ]\n[t]\nf = 1\n'
    assert [(each.key, each.line, each.items) for each in statements(text)] == [
        ("a", 1, (1,)), ("c", 4, (5, 7, 7)), ("t", 8, (8,))]  # fmt: skip


def test_flags_win_over_variables_and_those_over_the_file() -> None:
    unit = (
        "[Service]\nEnvironment=OAUTH2_PROXY_{} OAUTH2_PROXY_SCOPE=b\nExecStart=/bin/oauth2-proxy --config=p.cfg {}\n"
    )
    file = 'cookie_name = "file"\nscope = "file"\nupstreams = ["http://f"]\ngithub_org = "file"\n'
    flags = "--cookie-name=flag --upstream=http://a --upstream=http://b,http://c"
    found = proxy(a_service=unit.format("COOKIE_NAME=variable", flags), p_cfg=file)
    assert [found.text(key) for key in ("cookie_name", "scope", "github_org")] == ["flag", "b", "file"]
    assert [item.text for item in found.items("upstreams")] == ["http://a", "http://b", "http://c"]
    assert found.unseen == ()
    assert found.lacks("client_id")


def test_what_is_not_at_hand_may_set_anything() -> None:
    found = proxy(p_cfg='provider = "oidc"\n')
    assert found.unseen
    assert not found.lacks("client_id")
    assert found.value("client_id") is None


def test_what_is_filled_in_later_is_not_known() -> None:
    found = proxy(p_cfg='client_id = "${CLIENT_ID}"\ncookie_secret = "{{ .Values.secret }}"\nscope = "a$"\n')
    assert [found.value(key) for key in ("client_id", "cookie_secret", "scope")] == [None, None, "a$"]
    assert found.mistakes == []


def test_no_value_is_in_a_repr() -> None:
    found = proxy(p_cfg='client_secret = "hunter2"\ncookie_secure = "maybe"\n')
    assert "hunter2" not in repr(found)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    one(data)


@given(st.sampled_from(SEEDS), st.integers(0, 700), st.integers(0, 40), st.text(max_size=6))
def test_a_broken_file_never_raises(seed: bytes, at: int, cut: int, put: str) -> None:
    one(seed[:at] + put.encode("utf-8", "replace") + seed[at + cut :])
