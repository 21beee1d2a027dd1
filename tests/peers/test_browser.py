"""The demo, clicked through in a real browser; what it saw stays in tests/peers/screenshots."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peers.proxies import ROOT
from waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]

SCREENSHOTS = Path(__file__).parent / "screenshots"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`ostiary demo`, and the address it prints."""
    log = tmp_path_factory.mktemp("demo") / "output"
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}
    with log.open("wb") as out:
        argv = [sys.executable, "-m", "ostiary", "demo", "--port", "0"]
        process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env)
    try:
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(r"https?://\S+", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the demo says nothing"
            time.sleep(0.05)
        yield found[0]
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Somebody's browser, without cookies."""
    fresh = browser.new_context(viewport={"width": 1000, "height": 700})
    fresh.set_default_timeout(60_000)
    yield fresh
    fresh.close()


def shoot(page: Page, name: str) -> None:
    """Keep what the page looks like."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))


def choose(page: Page, user: str) -> None:
    """Be somebody, on the provider's page."""
    page.click(f'button[value="{user}"]')
    page.wait_for_load_state()


def test_sign_in_and_a_second_tab(demo: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(demo)
    shoot(page, "1-provider")
    choose(page, "ada")
    assert page.url == demo
    assert "ada@example.com" in page.content()
    shoot(page, "2-application")
    cookie = next(c for c in context.cookies() if c["name"].startswith("ostiary"))
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert page.evaluate("document.cookie").find("ostiary") == -1
    second = context.new_page()
    response = second.goto(f"{demo}anything?tab=2")
    assert response is not None
    assert (response.status, second.url) == (200, f"{demo}anything?tab=2")


def test_two_tabs_sign_in_at_the_same_time(demo: str, context: BrowserContext) -> None:
    first, second = context.new_page(), context.new_page()
    first.goto(f"{demo}anything?tab=1")
    second.goto(f"{demo}anything?tab=2")
    choose(first, "ada")
    choose(second, "ada")
    assert first.url == f"{demo}anything?tab=1"
    assert second.url == f"{demo}anything?tab=2"
    assert not [c["name"] for c in context.cookies() if "flow" in c["name"]], "no flow is left over"


def test_a_lost_flow_starts_again_by_itself(demo: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{demo}anything")
    context.clear_cookies()
    choose(page, "ada")
    assert page.url == demo, "signed in; where they were going went with the cookie"
    assert "ada@example.com" in page.content()


def test_a_flow_that_is_lost_again_and_again_ends_at_a_page(demo: str, context: BrowserContext) -> None:
    def lose_every_cookie(route: Route) -> None:
        """As a browser does that blocks them: neither the flow's nor the provider's own is there afterwards."""
        if route.request.method != "POST":
            route.continue_()
            return
        answer = route.fetch(max_redirects=0)
        context.clear_cookies()
        kept = {name: value for name, value in answer.headers.items() if name != "set-cookie"}
        route.fulfill(status=answer.status, headers=kept, body="")

    page = context.new_page()
    page.route("**/authorize*", lose_every_cookie)
    page.goto(f"{demo}anything")
    for _ in range(2):
        assert page.locator('button[value="ada"]').is_visible()
        choose(page, "ada")
    shoot(page, "3-lost-flow")
    assert "/.ostiary/callback" in page.url
    assert "cookie" in page.inner_text("body").lower()
    page.unroute("**/authorize*")
    page.locator("a").first.click()
    page.wait_for_load_state()
    choose(page, "ada")
    assert "ada@example.com" in page.content(), "the page's own link leads in"


def test_no_access(demo: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(demo)
    choose(page, "bob")
    shoot(page, "4-no-access")
    text = page.inner_text("body")
    assert "bob@example.org" in text
    assert "ada" not in text


def test_declined_at_the_provider(demo: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(demo)
    page.click('button[name="decline"]')
    page.wait_for_load_state()
    shoot(page, "5-declined")
    assert "/.ostiary/callback" in page.url
    assert page.locator("a").count() >= 1


def test_sign_out(demo: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(demo)
    choose(page, "ada")
    page.goto(f"{demo}.ostiary/sign_out")
    page.wait_for_load_state()
    shoot(page, "6-signed-out")
    assert not [c for c in context.cookies() if c["name"] == "ostiary"]
    page.goto(f"{demo}anything")
    assert page.locator('button[value="ada"]').is_visible(), "a new sign-in, not the old one's"


def test_scripts_are_told_and_not_redirected(demo: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{demo}status/418")
    asked = "fetch('/anything').then(async r => [r.status, r.redirected, (await r.json()).error ?? ''])"
    status, redirected, error = page.evaluate(asked)
    assert (status, redirected) == (401, False)
    assert error
    assert not [c for c in context.cookies() if "flow" in c["name"]]


def test_a_websocket_works_when_signed_in_and_only_then(demo: str, context: BrowserContext) -> None:
    asked = """new Promise(done => {
        const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
        socket.onopen = () => socket.send('there and back');
        socket.onmessage = event => { done(String(event.data)); socket.close(); };
        socket.onerror = () => done('refused');
    })"""
    page = context.new_page()
    page.goto(f"{demo}status/418")
    assert page.evaluate(asked) == "refused"
    page.goto(demo)
    choose(page, "ada")
    assert "there and back" in page.evaluate(asked)


def test_events_arrive_as_they_happen(demo: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(demo)
    choose(page, "ada")
    asked = """async () => {
        const reader = (await fetch('/stream')).body.getReader();
        const began = performance.now();
        await reader.read();
        const first = performance.now() - began;
        await reader.cancel();
        return first;
    }"""
    assert page.evaluate(asked) < 3000
