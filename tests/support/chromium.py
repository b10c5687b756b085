"""A real Chromium without a screen, driven by Playwright; each context is a browser profile of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, sync_playwright

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}


def find_chromium() -> str | None:
    """The program, under the names that distributions give it."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Chromium:
    """One running browser. Contexts note what their pages complain about."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.complaints: list[str] = []

    @contextmanager
    def profile(
        self, *, viewport: dict[str, int] = DESK, scripts: bool = True, **options: Any
    ) -> Iterator[BrowserContext]:
        """A fresh profile of this size, with or without scripts."""
        context = self._browser.new_context(viewport=viewport, java_script_enabled=scripts, **options)  # type: ignore[arg-type]
        context.set_default_timeout(15_000)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("console", lambda message: self._note(message.type, message.text))
        try:
            yield context
        finally:
            context.close()

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and "the server responded with a status of 4" not in text:
            self.complaints.append(text)


@contextmanager
def running(program: str) -> Iterator[Chromium]:
    """A browser process, ended at the end."""
    with sync_playwright() as playwright:
        # Tests often run as root in a container, where Chromium's own sandbox cannot start.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield Chromium(browser)
        finally:
            browser.close()
