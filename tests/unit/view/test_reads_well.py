"""The run view on a telephone and on a wall, by day and by night: axe-core finds nothing, and nothing is too wide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser

from testbed.analysis.run import Run
from testbed.view.pictures import show
from testbed.view.write import write

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.mark.parametrize(("scheme", "width"), [("dark", 390), ("light", 2560)])
def test_the_run_view_reads_well(
    build: Callable[..., Run], browser: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    write([build("none", 1).folder, build("lks", 1).folder], tmp_path / "view.html")
    # The page's own policy runs no script of others', and axe-core is one.
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True  # type: ignore[arg-type]
    )  # fmt: skip
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for where in ("t=9", "t=200&router=r1", "t=200&segment=r1--r2"):
        page.goto("about:blank")
        show(page, tmp_path / "view.html", where)
        page.evaluate(AXE)
        ask = "rules => axe.run(document, { runOnly: rules }).then(found => found.violations.map(each => "
        assert page.evaluate(f"{ask}`${{each.id}}: ${{each.nodes[0].html}}`))", RULES) == [], where
        wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= window and complaints == [], where
    context.close()
