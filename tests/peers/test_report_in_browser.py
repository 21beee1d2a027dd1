"""The reports in a real browser: the waterfall is there, on a desk and on a telephone, light and dark, on paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from report.test_connection import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]
SCREENSHOTS = Path(__file__).parent / "screenshots"


def opened(browser: Browser, name: str, folder: Path, width: int, scheme: Literal["light", "dark"]) -> Page:
    file = folder / f"{name}.html"
    file.write_bytes(PAGES[name])
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert asked == [file.as_uri()], "nothing is fetched"
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"report-{name}-{width}-{scheme}.png"), full_page=True)
    return page


@pytest.mark.parametrize("width", [1080, 390])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_off(browser: Browser, name: str, width: int, tmp_path: Path) -> None:
    page = opened(browser, name, tmp_path, width, "light")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    charts = page.locator("svg.wide:visible, svg.narrow:visible")
    assert charts.count() >= 1
    out = page.evaluate(
        """() => [...document.querySelectorAll('svg.chart text')].filter(text => {
            const box = text.getBoundingClientRect(), chart = text.closest('svg').getBoundingClientRect();
            return box.width && (box.left < chart.left - 1 || box.right > chart.right + 1);
        }).map(text => text.textContent)"""
    )
    assert out == []
    page.context.close()


@pytest.mark.parametrize(("width", "seen", "hidden"), [(1080, "wide", "narrow"), (390, "narrow", "wide")])
def test_the_waterfall_shows_the_race(browser: Browser, width: int, seen: str, hidden: str, tmp_path: Path) -> None:
    page = opened(browser, "good", tmp_path, width, "light")
    assert page.locator(f"svg.{seen}").is_visible() and not page.locator(f"svg.{hidden}").is_visible()
    rows = page.locator(f"svg.{seen} g[data-row]")
    assert [rows.nth(n).get_attribute("data-row") for n in range(rows.count())] == ["AAAA", "A", "IPv6", "IPv4"]
    dead, winner = (
        page.locator(f"svg.{seen} g[data-row={kind}] rect").first.bounding_box() for kind in ("IPv6", "IPv4")
    )
    assert dead is not None and winner is not None
    assert dead["width"] > 5 * winner["width"] and winner["x"] > dead["x"]
    assert page.get_by_role("img", name="Waterfall of the connection to login.example:443").is_visible()
    page.context.close()


def test_dark_is_dark_and_paper_is_light(browser: Browser, tmp_path: Path) -> None:
    def brightness() -> tuple[int, int]:
        return tuple(  # type: ignore[return-value]
            page.evaluate(
                """() => [getComputedStyle(document.querySelector('section')).backgroundColor,
                          getComputedStyle(document.querySelector('svg.wide text.mono')).fill]
                         .map(color => color.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0))"""
            )
        )

    page = opened(browser, "good", tmp_path, 1080, "dark")
    back, ink = brightness()
    assert back < 200 < 500 < ink
    page.emulate_media(media="print", color_scheme="dark")
    back, ink = brightness()
    assert ink < 200 < 500 < back
    page.context.close()
