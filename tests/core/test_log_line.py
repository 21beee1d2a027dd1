"""Any line may come from anybody: it is a record, or it is none; what is written is read back."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.app.log_formats import FORMATS
from ostiary.core.level_change import LevelError, parse_listing, parse_wanted
from ostiary.core.log_line import parse
from ostiary.model.process import LOG_COMPONENTS


@given(st.text() | st.from_regex(r"[\[{2].*", fullmatch=True))
def test_any_text_is_a_record_or_none(text: str) -> None:
    parse(text)


@given(st.text())
def test_any_answer_and_any_option_is_read_or_refused(text: str) -> None:
    for read, error in ((parse_listing, ValueError), (lambda each: parse_wanted([each]), LevelError)):
        with suppress(error):
            read(text)


@given(
    style=st.sampled_from(sorted(FORMATS)),
    component=st.sampled_from(LOG_COMPONENTS),
    text=st.text(st.characters(blacklist_categories=("Cs", "Cc"))),
    connection=st.integers(0, 2**64 - 1),
    stream=st.integers(0, 2**64 - 1),
)
def test_what_is_written_is_read_back(style: str, component: str, text: str, connection: int, stream: int) -> None:
    name = f"ostiary.{component}"
    record = logging.LogRecord(name, logging.INFO, "/x/ostiary/net/pool.py", 7, "%s", (text,), None)
    record.connection, record.stream = connection, stream
    line = parse(FORMATS[style]().format(record))
    assert line is not None
    assert (line.component, line.level, line.place) == (component, "info", "ostiary/net/pool.py:7")
    tagged = bool(connection or stream)
    assert line.tags.get("ConnectionId", "0") == str(connection)
    assert line.tags.get("StreamId", "0") == str(stream)
    if tagged or style == "json" or not text.startswith("[Tags:"):
        assert line.message == text


@pytest.mark.parametrize("style", FORMATS)
def test_a_traceback_stays_in_its_record(style: str) -> None:
    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError as error:
        info = (RuntimeError, error, error.__traceback__)
    record = logging.LogRecord("asyncio", logging.ERROR, "/x/asyncio/events.py", 1, "broke", (), info)
    text = FORMATS[style]().format(record)
    assert "\n" not in text
    line = parse(text)
    assert line is not None
    assert (line.component, line.place) == ("main", "asyncio/events.py:1")
    assert line.message.startswith("broke")
    assert "RuntimeError: first" in line.message
