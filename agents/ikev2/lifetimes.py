"""Lifetimes with jitter, so that two sides do not rekey at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.ikev2.sa import IkeSa


def jittered(sa: IkeSa, seconds: float) -> float:
    """`seconds`, shortened by a random part of up to config.rekey_jitter."""
    part = int.from_bytes(sa.party.random(4), "big") / 2**32
    return seconds * (1.0 - sa.party.config.rekey_jitter * part)
