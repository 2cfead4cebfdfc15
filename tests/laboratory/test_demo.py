"""The guided tour as a visitor sees it: from the command to the last sentence in a browser, and as a file.

The page's clock is the test's: nothing here depends on how fast a browser draws.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page

from testbed.setup import kernel, tree
from testbed.setup.paths import PROJECT
from testbed.view.demo import END_S, STORY
from testbed.view.pictures import show
from tests.unit.view.conftest import browser, page

__all__ = ["browser", "page"]

pytestmark = pytest.mark.skipif(
    not (kernel.kernel().ready and tree.tree().ready), reason="./lab setup has not made the guest yet"
)
SPEED, TURN_MS, PATIENCE_MS = 20, 250, 600_000
DEMO = [sys.executable, "-m", "testbed.cli", "demo", "--speed", str(SPEED)]
UNTIL_S = [at_s for at_s, _, _ in STORY[1:]] + [END_S]
ENDS = {name: until_s - 1 for (_, name, _), until_s in zip(STORY, UNTIL_S, strict=True)}
"""Near the end of each scene, in seconds."""
HEARD = """() => {
  const told = document.getElementById('told');
  globalThis.heard = [told.textContent];
  new MutationObserver(() => heard.push(told.textContent)).observe(told, { childList: true });
}"""


def told(page: Page, moment_s: float) -> str:
    """What the page says of a moment of the tour."""
    return str(page.evaluate("t => { player.go(t); return player.words() }", moment_s))


def test_a_visitor_is_told_the_whole_tour_and_keeps_it_as_a_file(page: Page, tmp_path: Path) -> None:
    kept = tmp_path / "tour.html"
    writes = subprocess.Popen([*DEMO, "--out", kept], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    serves = subprocess.Popen([*DEMO, "--no-browser"], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    page.set_default_timeout(PATIENCE_MS)
    try:
        assert serves.stdout is not None
        found = re.match(r"open (http://127\.0\.0\.1:\d+/) in a browser", serves.stdout.readline())
        assert found is not None
        page.clock.install()
        page.goto(found.group(1))
        assert page.title() == "A guided tour"
        page.locator("#now:not(:empty)").wait_for()
        page.evaluate(HEARD)
        assert page.evaluate("player.playing"), "by itself, and as a rule while the network still runs"
        said = [serves.stdout.readline()]
        while said[-1] and "the network has run" not in said[-1]:
            said.append(serves.stdout.readline())
        assert said[-1] and all(f"it lasts {END_S / SPEED:.0f} s" in line for line in said[:-1])
        page.locator("#live:empty").wait_for(state="attached")
        for _ in range(round(END_S / SPEED * 1000 / TURN_MS) + 10):
            page.clock.run_for(TURN_MS)
        assert page.evaluate("player.playing") is False, "it has come to its end"
        assert [each for each in page.evaluate("heard") if each] == [text for _, _, text in STORY]
        scenes = {name: told(page, moment_s) for name, moment_s in ENDS.items()}
        whole = urllib.request.urlopen(found.group(1)).read()
        serves.send_signal(signal.SIGINT)
        assert (serves.wait(), writes.wait()) == (130, 0)
    finally:
        for each in (writes, serves):
            each.kill()
            each.communicate()
    for name, words in (
        ("up", "6 of 6 .*, 12 of 12 adjacencies Full, 0 keyed, .*"),
        ("deploy", "6 of 6 .*, 12 of 12 adjacencies Full, 12 keyed, .*"),
        ("dks", "6 of 6 .*, 12 of 12 adjacencies Full, 12 keyed, .* which is dead, .*"),
        ("dark", "0 of 6 .*, 0 of 12 adjacencies Full, 0 keyed, .*"),
        (
            "back",
            r"6 of 6 .*, 12 of 12 .*, 12 keyed, .* which is dead, (\d+) of \1 routes right, 0 of 4 receivers miss .*",
        ),
    ):
        assert re.fullmatch(f"{ENDS[name]:.3f} s since all daemons ran: {words}", scenes[name]), name
    assert kept.read_bytes() == whole, "the file is the page, and the network does the same again"
    show(page, kept, "t=0")
    assert {name: told(page, moment_s) for name, moment_s in ENDS.items()} == scenes
