"""What strangers make a server log: some lines of a kind in a minute, and then how many there were.

Knows nothing of what is served.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from agents.runtime.drops import Drops

_PLACES = re.compile(r"%[srdf]")
"""Where a line's text has what differs from one to the next."""


class Quiet(logging.Filter):
    """Lets a line of each text through while they are few. `log`: what tells of those that were held back."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._log, self._clock = log, clock
        self._passes = False
        self._drops = Drops(self._tell, "")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is written. Errors always are."""
        if record.levelno >= logging.ERROR or getattr(record, "told", False):
            return True
        self._passes = False
        self._drops.saw("", _PLACES.sub("…", str(record.msg)), self._clock())
        return self._passes

    def _tell(self, kind: str, **fields: object) -> None:
        suppressed = fields.get("suppressed")
        if suppressed is None:
            self._passes = True
        else:
            self._log.warning("%s more: %s", suppressed, fields["reason"], extra={"told": True})


def quieten(log: logging.Logger) -> None:
    """Bound what others can make this logger write."""
    log.addFilter(Quiet(log))
