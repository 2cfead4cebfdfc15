"""Routers that the DKS tells to come back later, at both kinds of keying."""

from __future__ import annotations

from typing import Any

import pytest

from agents.dks.core import DksCore
from agents.ipsec.protection import RoutingProtocol
from agents.lks.core import LksCore
from agents.policy.domain import Settings
from testbed.storm.rings import DKS, ring_routers
from testbed.storm.world import Storm, instant


def storm(keying: str, routers: int = 6, **pace: Any) -> Storm:
    own = keying == "lks"
    reconnect = {"first_min_s": 1, "first_max_s": 2}
    settings = Settings(
        validity_s=1 << 33, issuer="lks" if own else "dks", local_key_server=own, reconnect=reconnect,  # type: ignore[arg-type]
    )  # fmt: skip
    world = Storm(list(ring_routers(routers, settings, (RoutingProtocol.OSPF,))), 3, instant(), **pace)
    world.power_returns(
        {name: number / len(world.simulation.nodes) for number, name in enumerate(world.simulation.nodes)}
    )
    return world


def dks(world: Storm) -> DksCore:
    core = world.simulation.nodes[DKS].core
    assert isinstance(core, DksCore)
    return core


@pytest.mark.parametrize("keying", ["lks", "central-mgmt"])
def test_routers_that_are_put_off_are_admitted_at_last_over_the_ike_sa_that_they_have(keying: str) -> None:
    world = storm(keying, rate=1.0, burst=2)
    world.simulation.run(120)
    assert len(world.tally.asked_to_wait) >= 3, "the pace was not felt"
    assert len(world.tally.admitted) == 6
    assert dks(world).command(["status"], world.simulation.now)["connected"] == sorted(world.ring_routers)
    assert sum(world.tally.served["IKE_SA_INIT"].values()) == 6
    assert world.tally.complete


def test_a_router_that_is_put_off_says_what_is_in_force_all_the_same() -> None:
    world = storm("lks", rate=1.0, burst=1)
    world.simulation.run(120)
    assert dks(world).command(["status"], world.simulation.now)["confirmed"] == {"complete": 6, "of": 6}


def test_nobody_that_was_told_to_wait_asks_before_its_time() -> None:
    """Each refusal is followed by one request for the same group, and no more."""
    world = storm("central-mgmt", rate=2.0, burst=2)
    world.simulation.run(300)
    refused = len(world.tally.asked_to_wait)
    asked = sum(sum(world.tally.served[each].values()) for each in ("GSA_AUTH", "GSA_REGISTRATION"))
    groups = 6 * 5  # its control group, two that it speaks in, two that it hears
    assert refused > 10
    assert asked == groups + refused


def test_without_its_pace_the_dks_serves_all_at_once() -> None:
    free, paced = storm("central-mgmt", rate=1e6, burst=1_000_000), storm("central-mgmt", rate=2.0, burst=2)
    for each in (free, paced):
        each.simulation.run(300)
    assert not free.tally.asked_to_wait
    assert max(free.tally.keyed.values()) < 2.0
    # 30 registrations, of which 2 at once and then 2 in a second.
    assert max(paced.tally.keyed.values()) > 13.0


def test_every_router_has_a_core_of_its_own() -> None:
    world = storm("lks")
    world.simulation.run(5)
    assert all(isinstance(node.core, LksCore) for name, node in world.simulation.nodes.items() if name != DKS)
