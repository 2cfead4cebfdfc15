"""A Local Key Server that is flooded: its neighbour gets keys all the same, and a datagram costs little."""

from __future__ import annotations

import random
from typing import Any

import pytest

from agents.ikev2 import IkeConfig
from agents.lks import link
from testbed.bench.dos import ATTACKS
from testbed.bench.lks_flood import LksRow, measure

SECONDS, PER_S = 6.0, 100.0
KEYED_S = 2.0
SHARE = 0.75
"""What a datagram may cost, of what it costs where nobody asks for cookies: measured, 0.54."""


def flooded(attack: str) -> LksRow:
    return measure(attack, ATTACKS[attack](random.Random(1)), PER_S, SECONDS)


def test_in_peace_a_neighbour_that_boots_has_keys_at_once() -> None:
    row = measure("none", iter(()), PER_S, SECONDS)
    assert row.sent == 0 and row.keyed_s is not None and row.keyed_s < KEYED_S


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_neighbour_that_boots_in_a_flood_has_keys_and_the_flood_costs_little(attack: str) -> None:
    row = flooded(attack)
    assert row.sent == SECONDS * PER_S
    assert row.keyed_s is not None and row.keyed_s < KEYED_S


def test_a_forged_first_message_costs_no_key_exchange_as_it_does_without_cookies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def careless(**settings: Any) -> IkeConfig:
        many = 1 << 30
        limits = ("cookie_threshold", "cookie_threshold_per_address", "max_half_open", "max_half_open_per_address")
        return IkeConfig(**{**settings, **dict.fromkeys(limits, many)})

    attack = "IKE_SA_INIT, spoofed sources"
    defended = flooded(attack)
    monkeypatch.setattr(link, "IkeConfig", careless)
    assert defended.cpu_ms < SHARE * flooded(attack).cpu_ms
