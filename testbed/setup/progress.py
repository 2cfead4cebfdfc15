"""What setup says while it works: one line a step, with the time it took; a counter that moves on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Where there is no terminal, a counter is a plain line as often as this.
PLAIN_EVERY_S = 30.0

BAR = 20
"""Characters of a bar."""

_lock = threading.Lock()
_counter_shown = False


def say(text: str) -> None:
    """One line for the person who waits, on stderr so that --json stays clean."""
    global _counter_shown
    with _lock:
        wipe = "\r\x1b[K" if _counter_shown else ""
        _counter_shown = False
        print(f"{wipe}lab: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step and, when it ends, how many seconds it took."""
    say(f"{text} …")
    started = time.monotonic()
    yield
    say(f"{text}: done in {time.monotonic() - started:.0f} s")


class Counter:
    """How far a long step is, with a bar and the time left: `about` is the number it ends near."""

    def __init__(self, text: str, about: int) -> None:
        self.text, self.about, self.number = text, about, 0
        self.began = self.shown_at = time.monotonic()

    def add(self) -> None:
        """One more."""
        global _counter_shown
        self.number += 1
        terminal = sys.stderr.isatty()
        if time.monotonic() - self.shown_at < (0.2 if terminal else PLAIN_EVERY_S):
            return
        self.shown_at = time.monotonic()
        line = self.line(self.shown_at - self.began)
        if not terminal:
            say(line)
            return
        with _lock:
            _counter_shown = True
            print(f"\r\x1b[Klab: {line}", end="", file=sys.stderr, flush=True)

    def line(self, spent_s: float) -> str:
        """How far it is after so many seconds."""
        about = max(self.about, self.number)
        filled = BAR * self.number // about
        left = spent_s / self.number * (about - self.number)
        text = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        bar = f"[{'#' * filled}{'.' * (BAR - filled)}]"
        return f"{self.text}: {bar} {self.number} of about {about} files, about {text} left"
