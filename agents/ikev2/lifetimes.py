"""Lifetimes with jitter, so that two sides rarely rekey at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.ikev2.model import uniform

if TYPE_CHECKING:
    from agents.ikev2.sa import IkeSa


def jittered(sa: IkeSa, seconds: float) -> float:
    """`seconds`, shortened by a random fraction of up to config.rekey_jitter."""
    return seconds * (1.0 - sa.party.config.rekey_jitter * uniform(sa.party.random, 0.0, 1.0))
