"""The admin API's home page in Chromium: by keyboard, in light and dark, and not for a page of another site."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from peers.proxies import Proxy, ostiary_arguments
from peers.recorders import Application
from peers.same_yaml import bootstrap, fill
from ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("home")
    with Application() as app:
        port, admin = free_port(), free_port()
        values: dict[str, Any] = {
            "PORT": port,
            "ADMIN": admin,
            "APP": app.port,
            "IDP": 1,
            "LOG": str(folder / "access"),
        }
        config = folder / "envoy.json"
        config.write_text(json.dumps(fill(bootstrap(), values)))
        running = Proxy("ostiary", ostiary_arguments(config), (port,), admin, folder / "log").start()
        try:
            yield running
        finally:
            running.stop()


def test_pages_and_forms_work_by_keyboard(browser: Browser, proxy: Proxy) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://localhost:{proxy.admin_port}/")
    assert page.title().startswith("LIVE")
    page.get_by_role("form", name="/stats", exact=True).get_by_label("filter").focus()
    page.keyboard.type("^server.live$")
    page.keyboard.press("Enter")
    page.wait_for_url("**/stats?**")
    assert page.inner_text("body").strip() == "server.live: 1"
    page.go_back()
    page.get_by_role("form", name="/healthcheck/fail").get_by_role("button").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/healthcheck/fail")
    assert page.inner_text("body").strip() == "OK"
    page.goto(f"http://localhost:{proxy.admin_port}/")
    assert page.title().startswith("DRAINING")
    assert page.get_by_text("health checks were told to fail").is_visible()
    page.get_by_role("form", name="/logging").get_by_label("level").select_option("debug")
    page.get_by_role("form", name="/logging").get_by_role("button").press("Enter")
    page.wait_for_url("**/logging")
    assert "oauth2: debug" in page.inner_text("body"), "what a form leaves empty counts for nothing"
    assert proxy.admin("/healthcheck/ok", "POST") == "OK\n"
    assert {url.split("/")[2] for url in asked} == {f"localhost:{proxy.admin_port}"}, "nothing from elsewhere"
    page.close()


def test_it_is_light_by_day_and_dark_by_night(browser: Browser, proxy: Proxy) -> None:
    seen = set()
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(f"http://localhost:{proxy.admin_port}/")
        seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert len(seen) == 2


def test_a_page_of_another_site_can_neither_post_nor_frame(browser: Browser, proxy: Proxy) -> None:
    page = browser.new_page()
    target = f"http://127.0.0.1:{proxy.admin_port}"
    page.goto(f"http://127.0.0.1:{proxy.ports[0]}/")
    page.set_content(f"<form method=post action={target}/healthcheck/fail><button>x</button></form>")
    page.get_by_role("button").click()
    page.wait_for_url("**/healthcheck/fail")
    assert "may not change anything here" in page.inner_text("body")
    assert proxy.admin("/ready") == "LIVE\n"
    page.goto(f"http://127.0.0.1:{proxy.ports[0]}/")
    page.set_content(f"<iframe src={target}/></iframe>")
    page.wait_for_timeout(0)
    page.wait_for_load_state("networkidle")
    assert not any("Ostiary" in frame.title() for frame in page.frames)
    page.close()
