"""Keying `none`: the routing protocols run unprotected. The baseline of every figure."""

from __future__ import annotations

from typing import ClassVar

from testbed.keying.base import Keying, Look


class NoKeying(Keying):
    """No keys, no agents, nothing in FRR's configuration."""

    name: ClassVar[str] = "none"
    look: ClassVar[Look | None] = Look("#5a5a5a", "o", (0, (1, 1)))
