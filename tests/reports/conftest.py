"""What tests of pages share: pictures of digits, and a browser."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cfx.images.writing import as_png, to_picture

DRAWN = "document.querySelector('.card canvas + figcaption span')?.textContent"


@pytest.fixture(scope="session")
def pictures(digits) -> list[bytes]:
    """Two digits of each class, by class, as PNG files."""
    images, labels = digits
    return [as_png(to_picture(image)) for number in range(10) for image in images[labels == number][:2]]


class Browser:
    """Headless Chromium on one page at a time."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, fragment: str = "", ready: str = DRAWN) -> float:
        """Open a page; returns the seconds until `ready`: by default until a card and its pictures are there."""
        self.driver.get("about:blank")
        started = time.perf_counter()
        self.driver.get(path.resolve().as_uri() + fragment)
        self.wait(ready)
        return time.perf_counter() - started

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def wait(self, condition: str) -> None:
        limit = time.monotonic() + 20
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < limit, condition
            time.sleep(0.01)

    def choose(self, name: str, value: str) -> None:
        self.run(
            f"const field = document.querySelector('#answers-filters').elements.{name};"
            f"field.value = {json.dumps(value)};"
            "field.dispatchEvent(new Event('input', {bubbles: true}))"
        )

    @property
    def count(self) -> str:
        return self.run("return document.getElementById('answers-count').textContent")

    def texts(self, selector: str) -> list[str]:
        return self.run(f"return [...document.querySelectorAll({selector!r})].map(e => e.textContent)")

    def errors(self) -> list[str]:
        """What the page complained about, a breach of its Content-Security-Policy included."""
        return [line["message"] for line in self.driver.get_log("browser")]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    chromedriver = shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("no chromium and chromedriver on PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
                 "disable-background-networking", "disable-component-update", "window-size=1280,900",
                 f"user-data-dir={tmp_path_factory.mktemp('chromium')}"):  # fmt: skip
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
