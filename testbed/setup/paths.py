"""Where things are: the checkout, and the cache of things made."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
NAME = "router-keys"


def cache_dir() -> Path:
    """The cache: $LAB_CACHE, else $XDG_CACHE_HOME/router-keys, else ~/.cache/router-keys."""
    if own := os.environ.get("LAB_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / NAME
