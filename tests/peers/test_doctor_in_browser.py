"""The doctor's report in a real browser: nothing is cut off, nothing is fetched, on a desk and on a telephone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from doctor.test_page import REPORTS
from ostiary.doctor.page import page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]
SCREENSHOTS = Path(__file__).parent / "screenshots"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1080, 390])
@pytest.mark.parametrize("name", REPORTS)
def test_a_report(browser: Browser, name: str, width: int, scheme: Literal["light", "dark"], tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(page(REPORTS[name]))
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    shown = context.new_page()
    asked: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(file.as_uri())
    SCREENSHOTS.mkdir(exist_ok=True)
    shown.screenshot(path=str(SCREENSHOTS / f"doctor-{name}-{width}-{scheme}.png"), full_page=True)
    assert asked == [file.as_uri()]
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    assert shown.get_by_role("heading", level=1).is_visible()
    if name == "incident":
        assert shown.get_by_label("Patch").first.is_visible()
        assert shown.get_by_role("list", name="Proof").first.is_visible()
        assert shown.locator("svg.wide:visible, svg.narrow:visible").count() == 2
    context.close()
