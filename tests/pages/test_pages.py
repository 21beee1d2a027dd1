"""Pages: complete, escaped, and self-contained."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import jinja2
import pytest

from ostiary.pages import render

HOSTILE = "<script>alert('1')</script>\"&"
CONTEXTS: dict[str, dict[str, Any]] = {
    "error": {
        "title": "T", "happened": "H", "to_do": "D", "hopeless": False,
        "code": "c-d", "flight": "f1", "retry": "/r?a=1&b=2", "link": None,
    },
    "no_access": {"who": "ada", "code": "c-d", "flight": "f1", "sign_out": "/out", "switch": "/switch?a=1&b=2"},
    "signed_out": {"again": "/again"},
}  # fmt: skip


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_page_is_one_file_for_every_browser(name: str) -> None:
    text = render(name, {"prefix": "/.ostiary", **CONTEXTS[name]}).decode()
    page = Reader(text)
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert not {"script", "img", "link", "iframe", "form", "object"} & set(page.tags)
    assert page.tags.count("h1") == 1 and page.tags.count("main") == 1 and "title" in page.tags
    assert "prefers-color-scheme: dark" in text and "viewport" in text
    assert page.links and all(link.startswith("/") for link in page.links)
    assert not re.search(r"url\(|@import|https?://", text)


@pytest.mark.parametrize("name", CONTEXTS)
def test_everything_is_escaped(name: str) -> None:
    context = {key: HOSTILE if isinstance(value, str) else (HOSTILE, HOSTILE) for key, value in CONTEXTS[name].items()}
    page = Reader(render(name, {"prefix": HOSTILE, **context}).decode())
    assert "script" not in page.tags
    assert all(link == HOSTILE for link in page.links)


def test_links_are_there_when_they_lead_somewhere() -> None:
    both = render("error", {**CONTEXTS["error"], "link": ("Out", "/out")}).decode()
    assert Reader(both).links == ["/out", "/r?a=1&b=2"]
    assert Reader(render("error", {**CONTEXTS["error"], "retry": ""}).decode()).links == []


def test_a_page_that_lacks_something_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("error", {"title": "T"})
    with pytest.raises(jinja2.TemplateNotFound):
        render("../base", {})
