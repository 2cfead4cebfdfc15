"""Durations as text: seconds, or numbers with s, m, h and d. Whole seconds only."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_TIME = re.compile(r"(?:[0-9]{1,10}[dhms]){1,4}")
_PART = re.compile(r"([0-9]+)([dhms])")
ALLOWED = "seconds, or numbers with s, m, h or d: 90, 90s, 4h, 1d12h"


def parse(text: str) -> int:
    """Seconds from "90", "90s", "4h" or "1d12h". ValueError, which names the allowed forms."""
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return int(text)
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; allowed: {ALLOWED}")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def spell(seconds: float) -> str:
    """Text that `parse` reads, the largest units first: 5400 is 1h30m."""
    whole = int(seconds)
    if whole != seconds or whole <= 0:
        return f"{seconds:g}s"
    parts = []
    for unit, length in _UNITS.items():
        count, whole = divmod(whole, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _parsed(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


Duration = Annotated[int, BeforeValidator(_parsed), Field(ge=0)]
"""Seconds; a number, or text as in `parse`."""
