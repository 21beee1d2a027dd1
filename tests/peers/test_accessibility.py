"""Every page that a person may see, judged by axe-core (WCAG 2.2 AA and its best practices), and never wider than its
window. Reports are files; the other pages are those of a running doorkeeper, its admin API and the demo.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from doctor.test_page import REPORTS
from ostiary.doctor.page import page as doctor_page
from peers.doors import door
from peers.flights_world import flights_world
from peers.person import Person
from peers.recorders import Application
from ports import free_port
from report.test_connection import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default"), pytest.mark.timeout(240)]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = (320, 700, 720, 800, 1024, 1600)
"""One on each side of every layout's end. 320 is a window of 1280 at 400 %."""
Judge = Callable[[str], None]


@pytest.fixture(scope="module")
def judge(browser: Browser, axe: str) -> Judge:
    """Opens an address, in light and dark; fails with what is wrong there."""

    def judged(url: str) -> None:
        wrong: list[Any] = []
        for scheme in ("light", "dark"):
            with opened(browser, url, color_scheme=scheme, bypass_csp=True) as page:
                wrong += violations(page, axe, scheme)
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 900})
                    reaches = page.evaluate("document.documentElement.scrollWidth")
                    wrong += [f"{scheme}: {reaches} wide in a window of {width}"] if reaches > width else []
        assert wrong == [], url

    return judged


@contextmanager
def opened(browser: Browser, url: str, **settings: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 360, "height": 900}, reduced_motion="reduce", **settings)
    try:
        page = context.new_page()
        page.goto(url)
        yield page
    finally:
        context.close()


def violations(page: Page, axe: str, scheme: str) -> list[Any]:
    page.evaluate(axe)
    found: list[Any] = []
    for width in (360, 1180):
        page.set_viewport_size({"width": width, "height": 900})
        result = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
        found += [
            (scheme, width, each["id"], each["help"], [node["html"][:200] for node in each["nodes"][:3]])
            for each in result["violations"]
        ]
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_the_doctors_reports(judge: Judge, name: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_bytes(doctor_page(REPORTS[name]))
    judge((tmp_path / "report.html").as_uri())


@pytest.mark.parametrize("name", PAGES)
def test_reports_of_connections(judge: Judge, name: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_bytes(PAGES[name])
    judge((tmp_path / "report.html").as_uri())


def test_flights_and_the_admin_api(judge: Judge, tmp_path: Path) -> None:
    with flights_world(
        tmp_path, access=[{"paths": ["/admin"], "groups": ["admins"]}, {"domains": ["example.com"]}]
    ) as world:
        judge(f"{world.admin}/flights")
        person = Person()
        world.sign_in(person)
        person.step(f"{world.url}/admin/users")
        world.provider.faults.token_error = "invalid_grant"
        world.sign_in(path="/broken/" + "segment-" * 30)
        world.leave(Person(), "/nobody")
        world.app.__exit__(None, None, None)
        person.step(f"{world.url}/report")
        judge(f"{world.admin}/flights")
        judge(f"{world.admin}/flights?code=nothing")
        judge(f"{world.admin}/flights/nothing")
        judge(f"{world.admin}/")
        for flight in world.flights():
            judge(f"{world.admin}/flights/{flight['id']}")
        world.app.__enter__()


def test_pages_of_the_doorkeeper(browser: Browser, judge: Judge, tmp_path: Path) -> None:
    with flights_world(tmp_path) as world:
        judge(f"{world.url}/report")  # the demo provider's
        for path in ("sign_out", "callback", "callback?code=abc&state=nonsense"):
            judge(f"{world.url}/.ostiary/{path}")
    with (
        Application() as app,
        door("native", tmp_path, app.port, f"http://127.0.0.1:{free_port()}") as proxy,
        opened(browser, f"http://127.0.0.1:{proxy.ports[0]}/report") as page,
    ):
        assert page.get_by_role("heading", name="The sign-in service is not available").is_visible()
        judge(page.url)


def test_who_would_fail_again_is_not_invited_to(browser: Browser, tmp_path: Path) -> None:
    with flights_world(tmp_path) as world:
        for error, primary in (("invalid_client", 0), ("invalid_grant", 1)):
            world.provider.faults.token_error = error
            with opened(browser, f"{world.url}/report") as page:
                page.get_by_role("button", name="Ada").click()
                page.get_by_role("link", name="Sign in again").wait_for()
                assert page.locator("a.primary").count() == primary


def test_the_demo(browser: Browser, axe: str) -> None:
    command = [sys.executable, "-m", "ostiary", "demo", "--port", str(port := free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            assert any("Ctrl-C" in line for line in demo.stdout)
            for scheme in ("light", "dark"):
                with opened(browser, f"http://127.0.0.1:{port}/", color_scheme=scheme, bypass_csp=True) as page:
                    page.get_by_role("button", name="Ada").click()
                    page.get_by_role("heading", name="Hello").wait_for()
                    for path in ("", "stream", "ws", "upload"):
                        page.goto(f"http://127.0.0.1:{port}/{path}")
                        assert violations(page, axe, scheme) == [], path
                        page.set_viewport_size({"width": 320, "height": 900})
                        assert page.evaluate("document.documentElement.scrollWidth") == 320, path
        finally:
            demo.terminate()
