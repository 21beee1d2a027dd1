"""What people write about levels, and what it comes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.level_change import LevelError, Wanted, changes, parse_listing, parse_wanted, started_with, together
from ostiary.core.log_levels import answer, listing
from ostiary.model.process import LOG_COMPONENTS, LOG_LEVELS

NOW = dict.fromkeys(LOG_COMPONENTS, "warning")


@pytest.mark.parametrize(
    ("texts", "every", "single"),
    [
        (["debug"], "debug", {}),
        (["happy_eyeballs:debug"], None, {"happy_eyeballs": "debug"}),
        (["http:debug,info"], "info", {"http": "debug"}),  # istioctl forgets http here
        (["info,http:debug"], "info", {"http": "debug"}),
        (["oauth2=trace", "dns:warn"], None, {"oauth2": "trace", "dns": "warning"}),
        (["istio-system::oauth2:debug"], None, {"oauth2": "debug"}),
        ([" oauth2:DEBUG , ,warn"], "warning", {"oauth2": "debug"}),
        (["none"], "off", {}),  # as istioctl's own help writes it
    ],
)
def test_all_of_istioctls_forms_are_read(texts: list[str], every: str | None, single: dict[str, str]) -> None:
    assert parse_wanted(texts) == Wanted(every, single)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("debg", "'debg' is not a level: did you mean debug?"),
        ("oauth2:loud", "'loud' is not a level: one of trace, debug"),
        ("oauth2:", "'oauth2:' names no level"),
        (":debug", "':debug' names no logger"),
        ("debug,info", "two levels for all loggers: debug and info"),
        ("dns:debug,dns:info", "'dns' is given two levels"),
        (",", "no level is given"),
    ],
)
def test_what_makes_no_sense_is_said(text: str, said: str) -> None:
    with pytest.raises(LevelError, match=said):
        parse_wanted([text])


def test_nothing_named_is_wiped() -> None:
    asked = changes(parse_wanted(["http:debug,info"]), {**NOW, "dns": "info"})
    assert asked.pop("http") == "debug"
    assert "dns" not in asked  # is so already
    assert set(asked.values()) == {"info"}
    assert len(asked) == len(NOW) - 2


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("oauth", "did you mean oauth2?"),
        ("happyeyeballs", "did you mean happy_eyeballs?"),
        ("eyeball", "did you mean happy_eyeballs?"),
        ("conection", "did you mean connection"),
        ("xyzzy", "without --level its loggers are listed"),
    ],
)
def test_an_unknown_logger_is_refused_with_those_it_could_mean(name: str, mend: str) -> None:
    with pytest.raises(LevelError) as error:
        changes(Wanted(None, {name: "debug"}), NOW)
    assert f"has no logger '{name}'" in str(error.value)
    assert mend in str(error.value)


LEVELS = st.dictionaries(st.sampled_from(LOG_COMPONENTS), st.sampled_from(LOG_LEVELS))


@given(before=LEVELS, single=LEVELS, every=st.none() | st.sampled_from(LOG_LEVELS))
def test_one_request_does_it_and_one_undoes_it(
    before: dict[str, str], single: dict[str, str], every: str | None
) -> None:
    current = {**NOW, **before}
    asked = changes(Wanted(every, single), current)
    if not asked:
        return
    after = _after(together(asked, current), current)
    assert after == {**current, **(dict.fromkeys(current, every) if every else {}), **single}
    assert _after(together({name: current[name] for name in asked}, after), after) == current


def _after(path: str, levels: dict[str, str]) -> dict[str, str]:
    name, _, value = path.partition("?")[2].partition("=")
    answered = answer([(name, value)], levels)  # type: ignore[arg-type] # words that are levels
    assert answered.status == 200
    return parse_listing(answered.text)


def test_a_listing_is_read_in_order() -> None:
    assert list(parse_listing(listing({"b": "debug", "a": "off"}))) == ["b", "a"]
    for text in ("", "active loggers:\n\n", "<html>"):
        with pytest.raises(ValueError, match="no list of loggers"):
            parse_listing(text)


def test_what_a_proxy_was_started_with() -> None:
    options = {"log_level": "warning", "component_log_level": "misc:error,nope:debug,dns:warn"}
    assert started_with(options, NOW) == {**NOW, "misc": "error"}
    assert set(started_with({}, NOW).values()) == {"info"}
