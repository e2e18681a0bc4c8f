"""A headless Chromium and pages in it, for the tests and for those who check the website and the slides."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
NONE = f"no browser: install one of {', '.join(NAMES)}, or set CHROMIUM to its path"
DESKTOP = {"width": 1280, "height": 900}
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find_chromium() -> str | None:
    """Path of a Chromium: the environment variable CHROMIUM, or the first usual name that is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield browser
        browser.close()


def open_page(browser: Browser, path: Path, viewport: dict[str, int] = DESKTOP) -> tuple[Page, list[str]]:
    """A page from disk, and the complaints so far and to come: errors, and requests that leave this machine."""
    page = browser.new_page(viewport=viewport, color_scheme="light", reduced_motion="reduce")
    page.set_default_timeout(60_000)
    found: list[str] = []
    page.on("console", lambda said: said.type in ("error", "warning") and found.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on("requestfailed", lambda request: found.append(f"not loaded: {request.url}"))
    page.on("request", lambda sent: sent.url.startswith(("file:", "data:")) or found.append(f"request to {sent.url}"))
    page.goto(path.resolve().as_uri())
    return page, found
