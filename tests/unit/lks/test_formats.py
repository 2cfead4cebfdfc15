"""Counters that an earlier release wrote: each format since 0.1 is taken over, and what it knew still binds."""

from __future__ import annotations

from typing import Any

import pytest

from agents.ipsec.protection import RoutingProtocol
from agents.lks.lease import left_of
from agents.lks.retained import Retained
from agents.policy import cbor
from agents.policy.errors import PolicyError
from agents.policy.names import GroupId
from agents.runtime.effects import Persist
from agents.runtime.storage import CorruptRecord, LaterRecord, seal, unseal_any

GROUP = str(GroupId.of("example", "r2", "e0", RoutingProtocol.OSPF))
STEM = "router-keys/lks-counters"
FIRST: dict[str, Any] = {"reserved": 40, "floors": {GROUP: [3, 7]}}
FORMATS = [
    (1, FIRST, 0, 0),
    (1, {**FIRST, "version": 5}, 5, 0),
    (1, {**FIRST, "version": 5, "revocation": 2}, 5, 2),
    (2, {"reserved": 40, "version": 5, "revocation": 2, "floors": {GROUP: [3, 7, b"signed"]}}, 5, 2),
    (3, {"reserved": 40, "versions": {"?": 5}, "revocation": 2, "floors": {GROUP: [["?", 3, 7, b"signed"]]}}, 5, 2),
]


@pytest.mark.parametrize(("number", "payload", "version", "revocation"), FORMATS)
def test_counters_of_every_format_bind_and_are_written_in_the_newest(
    number: int, payload: dict[str, Any], version: int, revocation: int
) -> None:
    written: list[Persist] = []
    kept = Retained(seal(f"{STEM}/{number}", cbor.encode(payload)), written.append, owner="example/r1")
    assert kept.generation_floor == 40
    assert {(place[0], floor[:2]) for place, floor in kept._floors.items()} == {(GROUP, (3, 7))}
    if version:
        with pytest.raises(PolicyError, match="version"):
            kept.acts_on(version - 1, b"")
    if revocation:
        with pytest.raises(PolicyError, match="revocation"):
            kept.acts_on_revocation(revocation - 1)
    kept.reserve(41, 16)
    assert unseal_any(STEM, 3, written[-1].data)[0] == 3
    again = Retained(written[-1].data, written.append, owner="example/r1")
    assert again.generation_floor == 56 and len(again._floors) == 1


@pytest.mark.parametrize("number", [4, 5, 20])
def test_records_of_a_later_release_are_told_from_damage_and_end_no_lease(number: int) -> None:
    with pytest.raises(LaterRecord, match=rf"record of format {number}, and this release reads up to format 3\n"):
        Retained(seal(f"{STEM}/{number}", b"anything"), lambda _effect: None)
    with pytest.raises(LaterRecord, match=r"install the release that wrote it"):
        left_of(seal(f"router-keys/lks-lease/{number}", b"x"), 0.0)


@pytest.mark.parametrize(
    "payload", [{"reserved": 40}, {"reserved": -1, "floors": {}}, {"reserved": 1, "floors": {GROUP: [1, 2, 3, 4]}}]
)
def test_an_older_record_of_another_form_is_none(payload: dict[str, Any]) -> None:
    for number in (1, 2, 3):
        with pytest.raises(CorruptRecord):
            Retained(seal(f"{STEM}/{number}", cbor.encode(payload)), lambda _effect: None)
