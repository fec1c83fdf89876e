"""The pages in a real browser: nothing is requested or complained about, nothing overflows, something is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from qa.report import RunReportData, render_round, render_run

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

PATIENCE_MS = 180_000  # a busy machine is no fault of the page
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, run: RunReportData) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    written = {"run": render_run(run), "round": render_round(run.rounds[1])}
    for name, html in written.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in written}


@pytest.mark.parametrize("name", ["run", "round"])
def test_a_page_opens_cleanly(browser, pages: dict[str, Path], name: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.extend(_foreign(request.url)))
    page.goto(pages[name].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    for width, scheme in ((1280, "light"), (900, "light"), (900, "dark")):
        page.set_viewport_size({"width": width, "height": 1000})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        _assert_something_is_seen(page.screenshot(), dark=scheme == "dark")
    broken = page.evaluate("[...document.images].filter(one => one.complete && !one.naturalWidth).length")
    assert broken == 0
    assert complaints == []
    page.close()


def _foreign(url: str) -> list[str]:
    return [] if url.startswith(("file:", "data:")) else [url]


def _assert_something_is_seen(png: bytes, *, dark: bool) -> None:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.std() > 8
    assert (np.median(picture) < 128) == dark
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
