"""Groups that are asked for: pages, and what must not be followed or believed."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from ostiary.core.decision import Fetch, Fetched
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.memberships import github_groups, graph_groups
from ostiary.model import limits
from ostiary.model.headers import Headers
from ostiary.model.signin import ProviderConfig

GRAPH = "https://graph.microsoft.com/v1.0/me/transitiveMemberOf?$select=id&$top=999"
CONFIG = ProviderConfig(client_id="app", groups_endpoint=GRAPH)
USER = "https://api.github.com/user"


def run(steps: Generator[Fetch, Fetched, tuple[list[str], float]], *answers: Any) -> tuple[list[str], list[Fetch]]:
    """The groups that these answers make, and what was asked: an answer is a document, (document, link), or bytes."""
    asked, pending = [next(steps)], list(answers)
    while True:
        document, link = pending.pop(0), ""
        if isinstance(document, tuple):
            document, link = document
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = Headers([("link", link)] if link else [])
        try:
            asked.append(steps.send(Fetched(status=200, headers=headers, body=body, now=2.0)))
        except StopIteration as stop:
            groups, now = stop.value
            assert (now, pending) == (2.0, [])
            return groups, asked


def page(*ids: Any, following: str = "") -> dict[str, Any]:
    return {"value": [{"id": one} for one in ids], **({"@odata.nextLink": following} if following else {})}


def test_graphs_pages_are_followed_and_the_token_goes_with_them() -> None:
    second = "https://graph.microsoft.com/v1.0/me/transitiveMemberOf?$skiptoken=x"
    groups, asked = run(graph_groups(CONFIG, "t", 1.0), page("a", following=second), page("b", 7, None))
    assert groups == ["a", "b"]
    assert [fetch.url for fetch in asked] == [GRAPH, second]
    assert [dict(fetch.headers)["authorization"] for fetch in asked] == ["Bearer t", "Bearer t"]


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://graph.microsoft.com.evil.example/x",
        "http://graph.microsoft.com/x",
        "https://graph.microsoft.com:444/x",
        "https://user@graph.microsoft.com/x",
        "//evil.example/x",
        "/v1.0/x",
        "https://[",
        "https://graph.microsoft.com/a b",
        "https://graph.microsoft.com/a\r\nx: y",
    ],
)
def test_no_page_leads_the_token_elsewhere(elsewhere: str) -> None:
    with pytest.raises(SignInError, match="the next page of groups is elsewhere") as caught:
        run(graph_groups(CONFIG, "t", 1.0), page("a", following=elsewhere))
    assert caught.value.code == "group-overage"


@pytest.mark.parametrize("body", [b"", b"<html>", [], {}, {"value": None}, {"value": [None]}, {"value": [{}]}, 7])
def test_an_answer_of_another_shape_is_no_list_of_groups(body: Any) -> None:
    with pytest.raises(SignInError) as caught:
        run(graph_groups(CONFIG, "t", 1.0), body)
    assert caught.value.code == "group-overage"


def test_pages_end_somewhere() -> None:
    pages = [page("a", following=GRAPH)] * limits.MAX_GROUP_PAGES
    with pytest.raises(SignInError, match="more than 10 pages"):
        run(graph_groups(CONFIG, "t", 1.0), *pages)


def test_githubs_organisations_and_teams() -> None:
    link = f'<{USER}/orgs?page=1>; rel="prev", <{USER}/orgs?per_page=100&page=2>; rel="next", <{USER}>; rel="last"'
    teams = [{"slug": "platform", "organization": {"login": "octo"}}]
    steps = github_groups(USER, CONFIG, "t", 1.0)
    groups, asked = run(steps, ([{"login": "acme"}], link), [{"login": "octo"}], teams)
    assert groups == ["acme", "octo", "octo/platform"]
    expected = [f"{USER}/orgs?per_page=100", f"{USER}/orgs?per_page=100&page=2", f"{USER}/teams?per_page=100"]
    assert [fetch.url for fetch in asked] == expected


def test_an_organisation_without_a_name_is_none() -> None:
    assert run(github_groups(USER, CONFIG, "t", 1.0), [{"login": None}, {"login": "acme"}], [])[0] == ["acme"]


@pytest.mark.parametrize("body", [{"message": "no"}, [{"x": 1}], [[]], "acme"])
def test_an_answer_of_another_shape_is_no_list_of_organisations(body: Any) -> None:
    with pytest.raises(SignInError) as caught:
        run(github_groups(USER, CONFIG, "t", 1.0), body, [])
    assert caught.value.code == "groups-unavailable"
