"""Pictures of pages in a browser without a screen, and how fast the run view is drawn there.

Debian's chromium-headless-shell, driven by Playwright, which comes with what the tests need. Knows nothing of runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import EnvironmentFailure, InputError, LabError

if TYPE_CHECKING:
    from playwright.sync_api import Page

BROWSER = "/usr/bin/chromium-headless-shell"
SCRUB_S = 5.0
_SCRUB = """seconds => new Promise((done) => {
  const { from, until } = player;
  let frames = 0, begun = null;
  const frame = (now) => {
    begun ??= now;
    const part = (now - begun) / 1000 / seconds;
    if (part >= 1) { done(frames / seconds); return; }
    player.go(from + (until - from) * part);
    frames += 1;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


@contextmanager
def opened(width: int = 1400, height: int = 1000, *, dark: bool = False) -> Iterator[Page]:
    """A page of a browser of its own. EnvironmentFailure without a browser."""
    from playwright.sync_api import sync_playwright

    if not os.access(BROWSER, os.X_OK):
        raise EnvironmentFailure(f"there is no {BROWSER}", next_command="sudo apt-get install chromium-headless-shell")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        try:
            size = {"width": width, "height": height}
            yield browser.new_page(viewport=size, color_scheme="dark" if dark else "light")  # type: ignore[arg-type,unused-ignore]
        finally:
            browser.close()


def show(page: Page, file: Path, where: str = "") -> None:
    """Open a run view; `where`: what stands behind the # of its address. LabError when the browser complains of it."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{file.resolve().as_uri()}#{where}")
    page.locator(
        "#now:not(:empty)"
    ).wait_for()  # a function that waits would be a script, which the page's policy forbids
    if complaints:
        raise LabError(f"the browser complains: {'; '.join(complaints)}", where=str(file))


def sign_in(page: Page, address: str, token: str) -> None:
    """Begin a session with a Policy Server."""
    page.goto(f"{address}/login")
    page.fill("#token", token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")


def visit(page: Page, address: str, path: str) -> None:
    """Open a page of a Policy Server. InputError when it has none of that name."""
    answer = page.goto(f"{address}{path}") if path.startswith("/") else None
    if answer is None or answer.status != 200:
        raise InputError(
            f"there is no page {path!r}", where="--policy", allowed="/, /routers, /deployment, /history, …"
        )
    if page.locator("#map").count():
        page.locator("#map svg").wait_for()


def frames(page: Page) -> float:
    """Frames a second that are drawn of the open run view while the cursor goes through its whole record."""
    return float(page.evaluate(_SCRUB, SCRUB_S))
