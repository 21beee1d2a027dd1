"""The native filter as the shell meets it: from the first redirect to the application, and never an exception."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.decision import Allow, Fetch, Fetched, FetchFailed, Request, Respond, Start
from ostiary.model import limits
from ostiary.model.headers import Headers
from ostiary.model.signin import AccessRule
from signin_world import Browser, World, location, sent, sign_in_config


def test_a_browser_signs_in_and_reaches_the_application_as_someone() -> None:
    world = World()
    browser = Browser(world)
    done = browser.sign_in("/reports?month=5")
    assert (done.status, location(done)) == (302, "/reports?month=5")
    answer = browser.get("/reports?month=5")
    assert sent(answer) == {
        "x-forwarded-user": "ada",
        "x-forwarded-email": "ada@example.com",
        "x-forwarded-preferred-username": "ada",
        "x-forwarded-groups": "staff,engineers",
    }
    assert isinstance(answer, Allow) and answer.via == "session" and answer.user == "ada@example.com"
    assert list(browser.cookies) == ["__Host-ostiary"]


WIRE = st.text(st.characters(codec="latin-1"), max_size=60)
WORLD = World(sign_in_config(rules=(AccessRule(paths=("/open",), public=True), AccessRule(groups=("nobody",)))))
BROWSER = Browser(WORLD)
BROWSER.sign_in()
GOOD_COOKIE = "; ".join(f"{name}={value}" for name, value in BROWSER.cookies.items())
NAMES = [
    "cookie",
    "accept",
    "sec-fetch-mode",
    "sec-fetch-site",
    "origin",
    "referer",
    "x-forwarded-uri",
    "x-original-uri",
]


@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "X"]) | WIRE,
    path=st.sampled_from(["", "start", "callback", "sign_out", "userinfo", "auth", "live", "ready"]).map(
        "/.ostiary/".__add__
    )
    | WIRE.map("/".__add__)
    | WIRE,
    query=WIRE | WIRE.map("state=s".__add__) | WIRE.map("rd=".__add__),
    authority=st.just("app.example") | WIRE,
    scheme=st.sampled_from(["http", "https", "ftp", ""]),
    headers=st.lists(st.tuples(st.sampled_from(NAMES), WIRE | st.just(GOOD_COOKIE)), max_size=5),
)
def test_nothing_a_client_sends_raises_or_lets_anyone_in(
    method: str, path: str, query: str, authority: str, scheme: str, headers: list[tuple[str, str]]
) -> None:
    request = Request(
        method=method,
        target=f"{path}?{query}" if query else path,
        path=path,
        query=query,
        scheme=scheme,
        authority=authority,
        headers=Headers(headers),
    )
    answer = WORLD.ask(request)
    if isinstance(answer, Allow):
        assert path.startswith("/open") and answer.via == "public"
    else:
        assert 200 <= answer.status < 600
        for _, value in answer.headers:
            value.encode("latin-1")
            assert not {"\r", "\n", "\0"} & set(value)
        assert b"internal-error" not in answer.body, answer.details


@given(st.lists(st.binary(max_size=200) | st.just(b'{"access_token":"a","id_token":"b"}'), max_size=6), st.data())
def test_nothing_a_provider_sends_raises_or_lets_anyone_in(bodies: list[bytes], data: st.DataObject) -> None:
    world = World()
    browser = Browser(world)
    target = browser.follow(location(browser.get("/")))
    rest = iter(bodies)

    def fetch(_: Fetch) -> Fetched:
        body = next(rest, None)
        if body is None:
            raise FetchFailed("protocol", "scripted", world.now)
        status = data.draw(st.sampled_from([200, 204, 302, 400, 500]))
        return Fetched(status=status, headers=Headers([("content-type", "x")]), body=body, now=world.now)

    world.fetch = fetch  # type: ignore[method-assign]
    answer = browser.get(target)
    assert isinstance(answer, Respond) and answer.status >= 400 and not browser.cookies


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("secret detail")


@pytest.mark.parametrize("where", ["_keys", "_opened"])
def test_a_defect_is_a_500_and_never_a_way_in(where: str) -> None:
    world = World()
    browser = Browser(world)
    browser.sign_in()
    world.filter = world.new_filter()
    setattr(world.filter._gate.keeper, where, broken if where == "_keys" else None)
    answer = browser.get("/")
    assert isinstance(answer, Respond) and answer.status == 500
    assert answer.details.startswith("internal-error: ") and " at " in answer.details
    assert "secret detail" not in answer.details and b"secret detail" not in answer.body


def test_a_defect_inside_a_flow_is_a_500() -> None:
    world = World()
    browser = Browser(world)
    target = browser.follow(location(browser.get("/")))
    world.filter._gate.exchange._entropy = broken  # type: ignore[assignment]
    answer = browser.get(target)
    assert (
        isinstance(answer, Respond)
        and answer.status == 500
        and answer.details.startswith("internal-error: RuntimeError")
    )


def test_a_defect_for_one_who_waited_is_a_500() -> None:
    world = World()
    browser = Browser(world)
    browser.sign_in()
    world.now += 299
    decision = world.filter.decide(browser.request("/"), world.now)
    assert isinstance(decision, Start) and decision.follow is not None
    decision.flow.close()
    answer = decision.follow(Allow())
    assert isinstance(answer, Respond) and answer.status == 500


def test_a_page_that_can_not_be_made_is_plain_text() -> None:
    world = World()
    world.filter._replies._render = broken
    world.down = "connect"
    answer = Browser(world).get("/")
    assert isinstance(answer, Respond) and answer.status == 500 and answer.body.startswith(b"Something went wrong")


def test_external_url_has_to_be_an_origin() -> None:
    with pytest.raises(ValueError, match="external_url"):
        World(sign_in_config(external_url="https://app.example/path"))


def test_maintenance_fetches_ahead_and_only_when_due() -> None:
    world = World()
    steps = world.filter.maintenance(world.now)
    assert steps is not None
    world.drive(steps)
    assert world.fetched == ["discovery", "jwks"] and world.filter.is_ready
    assert world.filter.maintenance(world.now + 1) is None
    world.now += limits.DISCOVERY_TTL
    world.down = "connect"
    steps = world.filter.maintenance(world.now)
    assert steps is not None
    world.drive(steps)
    assert world.filter.is_ready
    assert world.filter.maintenance(world.now + 1) is None
