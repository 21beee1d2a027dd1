"""What `/logging` makes of a request. That Envoy says the same: tests/peers/test_envoy_compare_logging.py."""

from __future__ import annotations

import pytest

from ostiary.core.log_levels import answer, listing
from ostiary.model.process import LOG_COMPONENTS, LogLevel

INFO: dict[str, LogLevel] = dict.fromkeys(LOG_COMPONENTS, "info")


def test_one_logger_several_or_all() -> None:
    assert answer([("oauth2", "debug")], INFO).changes == {"oauth2": "debug"}
    assert answer([("paths", "oauth2:debug,dns:off")], INFO).changes == {"oauth2": "debug", "dns": "off"}
    every = answer([("level", "trace")], INFO)
    assert every.changes == dict.fromkeys(LOG_COMPONENTS, "trace")
    assert every.text == listing(every.changes)


def test_a_request_is_carried_out_as_a_whole_or_not_at_all() -> None:
    refused = answer([("paths", "oauth2:debug,oauth:debug")], INFO)
    assert (refused.status, refused.changes, refused.notes) == (400, {}, ())
    assert refused.text.startswith("error: unknown logger name\n\nusage: ")
    assert refused.text.endswith(listing(INFO))


@pytest.mark.parametrize("query", [[], [("level", "")], [("a", ""), ("b", "")]])
def test_without_a_value_nothing_changes(query: list[tuple[str, str]]) -> None:
    assert answer(query, INFO).changes == {}


def test_the_log_says_what_was_changed() -> None:
    assert answer([("level", "debug")], INFO).notes == (("misc", "change all log levels: level='debug'"),)
    assert answer([("dns", "off")], INFO).notes == (("admin", "change log level: name='dns' level='off'"),)
