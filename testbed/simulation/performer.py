"""Performs the steps of timelines in a simulated domain: those that the guest performs as well.

Steps and their meaning are `testbed.faults.steps`. It must not know who chose them.
"""

from __future__ import annotations

from itertools import combinations

from agents.policy import edit
from testbed.errors import InputError
from testbed.faults import steps
from testbed.simulation.network import Network


def perform(network: Network, step: steps.Step) -> bool:
    """Do a step now; False where there was nothing to do. InputError for a step that no simulation performs."""
    wires = network.wires
    match step:
        case steps.PowerOff():
            switched = [name for name in _there(network, step) if network.nodes[name].core is not None]
            for name in switched:
                network.power_off(name)
            return bool(switched)
        case steps.PowerOn():
            dark = [name for name in _there(network, step) if network.nodes[name].core is None]
            for name in dark:
                network.later(name, network.chance.uniform(0, step.jitter_s))
            return bool(dark)
        case steps.LinkBlackhole():
            fresh = step.segment not in wires.cut
            wires.cut.add(step.segment)
            return fresh
        case steps.LinkHeal():
            there = step.segment in wires.cut
            wires.cut.discard(step.segment)
            return there
        case steps.Partition():
            return _separate(network, {name: number for number, group in enumerate(step.groups, 1) for name in group})
        case steps.Heal():
            return _separate(network, {})
        case steps.DksKill():
            running = network.nodes[steps.DKS].core is not None
            network.power_off(steps.DKS)
            return running
        case steps.DksStart():
            return network.on(steps.DKS)
        case steps.ClockStep():
            for name in network.nodes if step.node == "all" else [step.node]:
                network.clocks[name] = network.clocks.get(name, 0.0) + step.seconds
            return True
        case steps.RouterRemove():
            if step.router not in network.domain.routers:
                return False
            signed = network.remove(step.router, export=step.hand_to is None)
            if step.hand_to is not None:
                network.hand_over(step.hand_to, signed)
            return True
        case steps.LinkAllow():
            return _allow(network, step)
        case _:
            raise InputError(f"no simulation performs {step.action}", allowed=", ".join(sorted(steps.SHARED)))


def _there(network: Network, step: steps.PowerOff | steps.PowerOn) -> list[str]:
    return [name for name in step.chosen(network.topology) if name in network.nodes]


def _separate(network: Network, sides: dict[str, int]) -> bool:
    before, network.wires.sides = network.wires.sides, sides
    return before != sides


def _allow(network: Network, step: steps.LinkAllow) -> bool:
    domain = network.domain
    for here, there in combinations(network.ends(step.segment), 2):
        if not any(each.joins(here, there) for each in domain.adjacencies):
            domain = edit.allow(domain, here, there)
    if domain == network.domain:
        return False
    before = network.signed
    network.publish(domain, export=step.hand_to is None)
    if step.hand_to is not None:
        network.hand_documents(
            step.hand_to, [name for name, each in network.signed.items() if each != before.get(name)]
        )
    return True
