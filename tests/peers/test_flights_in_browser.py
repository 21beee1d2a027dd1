"""`/flights` in a real browser, as an operator uses it at night: filters, a code, updates, the keyboard, the dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from peers.flights_world import FlightsWorld, flights_world
from peers.person import Person

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]
SCREENSHOTS = Path(__file__).parent / "screenshots"
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlightsWorld]:
    """With something of everything in it."""
    rules = [{"paths": ["/admin"], "groups": ["admins"]}, {"domains": ["example.com"]}]
    with flights_world(tmp_path_factory.mktemp("world"), access=rules) as running:
        person = Person()
        running.sign_in(person)
        person.step(f"{running.url}/admin/users")
        running.provider.faults.token_error = HOSTILE
        running.sign_in(path="/broken")
        running.provider.faults.token_error = ""
        running.leave(Person(), "/nobody")
        Person().step(f"{running.url}/odd", headers={"Accept": "text/html", "User-Agent": HOSTILE})
        running.app.__exit__(None, None, None)
        for _ in range(3):
            person.step(f"{running.url}/report")
        yield running
        running.app.__enter__()


class Seen:
    """A page, and what it asked for and complained of."""

    def __init__(self, browser: Browser, **settings: Any) -> None:
        settings = {"viewport": {"width": 1180, "height": 900}, **settings}
        self.page: Page = browser.new_context(**settings).new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, *failure: object) -> None:
        url = self.page.url
        self.page.context.close()
        if failure[0] is None:
            assert self.complaints == [], "no error, nothing that the content security policy had to stop"
            assert {each.split("/")[2] for each in self.asked} == {url.split("/")[2]}, "nothing from elsewhere"


def rows(page: Page) -> list[str]:
    return page.locator("tr[data-flight] .badge").all_inner_texts()


def test_filters_and_the_way_back(browser: Browser, world: FlightsWorld) -> None:
    with Seen(browser) as page:
        page.goto(f"{world.admin}/flights")
        assert rows(page) == [
            "Unreachable", "At the provider", "At the provider", "Failed", "No access", "Signed in",
        ]  # fmt: skip
        page.get_by_role("link", name=re.compile("Problems")).click()
        assert rows(page) == ["Unreachable", "Failed", "No access"]
        page.get_by_label("Text").fill("ADA@example")
        page.get_by_role("button", name="Find").click()
        assert rows(page) == ["No access"] and "outcome=problem" in page.url
        page.get_by_role("link", name="Clear").click()
        assert len(rows(page)) == 6
        page.get_by_label("Text").fill("nobody like this")
        page.keyboard.press("Enter")
        page.get_by_text("None of 6 flights").wait_for()
        assert rows(page) == []


@pytest.mark.parametrize("script", [True, False])
def test_the_code_that_a_person_reads_out_leads_to_what_happened(
    browser: Browser, world: FlightsWorld, script: bool
) -> None:
    failed = world.flights("?outcome=failed")[0]
    with Seen(browser, java_script_enabled=script) as page:
        page.goto(f"{world.admin}/flights")
        page.get_by_label("Code").fill(f" {failed['id'].upper()} ")
        page.keyboard.press("Enter")
        page.wait_for_url("**/flights?code=*")
        page.locator("a[data-row]").click()
        assert page.url.endswith(f"/flights/{failed['id']}")
        assert page.get_by_role("heading", name="The sign-in failed").is_visible()
        assert page.get_by_role("heading", name="What to do").is_visible()
        kinds = page.locator("svg.wide g[data-row]")
        told = [kinds.nth(n).get_attribute("data-row") for n in range(kinds.count())]
        assert [kind for kind in told if kind not in ("IPv4", "jwks")] == ["redirect", "away", "callback", "token"]
        assert page.title() != "owned" and page.locator("img").count() == 0
        assert page.get_by_text("<script>document.title").first.is_visible(), "hostile text is text"
        page.get_by_role("link", name="All flights").click()
        assert len(rows(page)) == 6


def test_new_flights_come_by_themselves_and_take_no_focus(browser: Browser, world: FlightsWorld) -> None:
    with Seen(browser) as page:
        page.goto(f"{world.admin}/flights?outcome=away&q=live")
        assert rows(page) == []
        page.get_by_label("Code").focus()
        world.leave(Person(), "/live-one")
        page.get_by_role("status").filter(has_text="1 new flight").wait_for(timeout=60_000)
        assert rows(page) == ["At the provider"]
        assert page.evaluate("document.activeElement.id") == "code"
        link = page.locator("a[data-row]")
        link.focus()
        world.leave(Person(), "/live-two")
        page.locator("tr[data-flight]").nth(1).wait_for(timeout=60_000)
        assert page.evaluate("document.activeElement.closest('tr').rowIndex") == 2, "the focus stays with its flight"


def test_updates_can_be_paused(browser: Browser, world: FlightsWorld) -> None:
    seen = Seen(browser)
    with seen as page:
        page.clock.install()
        page.goto(f"{world.admin}/flights")
        page.get_by_role("button", name="Pause updates").click()
        assert page.get_by_role("status").inner_text() == "Updates are paused"
        before = len(seen.asked)
        page.clock.run_for(60_000)
        assert len(seen.asked) == before
        page.get_by_role("button", name="Resume updates").click()
        page.get_by_role("status").filter(has_text=re.compile("^Updating$")).wait_for()
        assert len(seen.asked) > before


def test_everything_is_reached_with_the_keyboard_alone(browser: Browser, world: FlightsWorld) -> None:
    with Seen(browser) as page:
        page.goto(f"{world.admin}/flights?outcome=problem")
        reached: list[str] = []
        while not reached or reached[-1] != "row":
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate(
                    """() => {
                        const at = document.activeElement, style = getComputedStyle(at);
                        if (style.outlineStyle === 'none' || style.outlineWidth === '0px') return 'invisible ' + at.id;
                        return 'row' in at.dataset ? 'row' : at.id || at.textContent.trim();
                    }"""
                )
            )
            assert len(reached) < 40
        order = ["tab-1", "tab-2", "tab-3", "tab-4", "tab-5", "tab-6", "tab-7", "code", "q", "since"]
        assert reached == [*order, "Find", "Clear", "pause", "JSON", "row"]
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.closest('tr').rowIndex") == 2
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="The sign-in failed").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.locator("tr[data-flight]").first.wait_for()


@pytest.mark.parametrize("width", [1180, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_and_dark_is_dark(browser: Browser, world: FlightsWorld, width: int, scheme: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    pages = ["", *(f"/{flight['id']}" for flight in world.flights()[:8])]
    with Seen(browser, viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        for number, path in enumerate(pages):
            page.goto(f"{world.admin}/flights{path}")
            page.screenshot(path=str(SCREENSHOTS / f"flights-{number}-{width}-{scheme}.png"), full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            back, ink = page.evaluate(
                """() => ['backgroundColor', 'color'].map(
                    name => getComputedStyle(document.querySelector('header'))[name]
                        .match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0))"""
            )
            assert (back < 200 < 500 < ink) if scheme == "dark" else (ink < 200 < 500 < back)


def test_a_screen_reader_hears_what_is_drawn(browser: Browser, world: FlightsWorld) -> None:
    with Seen(browser) as page:
        page.goto(f"{world.admin}/flights?outcome=failed")
        assert page.get_by_role("table", name="1 flight of").is_visible()
        assert page.get_by_role("columnheader").all_inner_texts()[:2] == ["Last (UTC)", "Outcome"]
        assert page.get_by_role("navigation", name="Flights by outcome").is_visible()
        drawn = page.get_by_role("img").first.get_attribute("aria-label") or ""
        assert drawn.startswith("redirect ") and ", away " in drawn and ", token " in drawn
        page.locator("a[data-row]").click()
        described = page.locator("svg.wide desc").text_content() or ""
        assert "callback /.ostiary/callback" in described and "failed: idp-error" in described


def test_who_wants_no_motion_gets_none(browser: Browser, world: FlightsWorld) -> None:
    with Seen(browser, reduced_motion="reduce") as page:
        page.goto(f"{world.admin}/flights")
        page.evaluate("document.querySelector('tr[data-flight]').classList.add('new')")
        assert page.evaluate("document.getAnimations().length") == 0


def test_who_comes_back_is_seen_to_come_back(browser: Browser, world: FlightsWorld) -> None:
    person = Person()
    location = world.leave(person, "/returning")
    flight = world.flights("?q=/returning")[0]
    with Seen(browser) as page:
        page.goto(f"{world.admin}/flights/{flight['id']}")
        assert page.get_by_role("heading", name="Away at the provider").is_visible()
        person.step(world.callback(person, location))
        page.get_by_role("heading", name="Signed in", exact=True).wait_for(timeout=60_000)
        assert page.locator("svg.wide g[data-row=token]").is_visible()
