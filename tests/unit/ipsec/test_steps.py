"""The steps of incremental deployment: neighbours that are one step apart hear each other, in every order.

The plans of a LAN's routers are run against each other: what one's outbound policies make of a packet, and whether
the other's inbound policies and SAs let that through. Every order in which routers can take a step is a path through
subsets of those that have taken it; so all subsets are tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import pairwise, product

import pytest

from agents.ipsec.model import Action, Direction, Policy, SaDirection, Wanted
from agents.ipsec.plan import RAW_PROTOCOL, wanted_state
from agents.ipsec.protection import GroupSa, IPAddress, Mode, ProtectedInterface, RoutingProtocol, Suite

ROUTERS = (1, 2, 3)
STEPS = [*pairwise(Mode), *pairwise(reversed(Mode))]


def address(protocol: RoutingProtocol, router: int) -> IPAddress:
    return ip_address(f"10.0.0.{router}" if protocol.any_source.version == 4 else f"fe80::{router}")


def destinations(protocol: RoutingProtocol, speaker: int) -> Iterator[IPAddress]:
    """Where a speaker of a LAN sends: its groups, and each neighbour where it speaks one to one."""
    yield from protocol.multicast_destinations("lan")
    if protocol.unicast_on("lan"):
        yield from (address(protocol, each) for each in ROUTERS if each != speaker)


def keys(protocol: RoutingProtocol, router: int, modes: dict[int, Mode]) -> list[GroupSa]:
    """Those that the LKS has: everybody's whose LKS gives keys, none where the interface is `clear`."""
    if modes[router] is Mode.CLEAR:
        return []
    found = []
    for speaker in ROUTERS:
        for number, destination in enumerate(destinations(protocol, speaker)):
            own = speaker == router
            heard = destination.is_multicast or destination == address(protocol, router)
            if modes[speaker] is not Mode.CLEAR and (own or heard):
                found.append(
                    GroupSa(
                        spi=0x1000 * speaker + number,
                        suite=Suite.default(),
                        keymat=bytes([speaker]) * 48,
                        speaker=address(protocol, speaker),
                        destination=destination,
                        protocol=protocol,
                        interface="eth0",
                        outbound=own,
                        generation=1,
                    )
                )
    return found


def plan(protocol: RoutingProtocol, router: int, modes: dict[int, Mode], beside: Mode | None) -> Wanted:
    """One router's; `beside`: the mode of another interface of it, on another link."""
    v4 = protocol.any_source.version == 4
    here = ProtectedInterface(
        "eth0", protocol, modes[router], "lan", address(protocol, router),
        ip_network("10.0.0.0/24" if v4 else "fe80::/10"),
    )  # fmt: skip
    interfaces = [here]
    if beside is not None:
        local, subnet = ("10.9.0.1", "10.9.0.0/24") if v4 else ("fe80::99", "fe80::/10")
        interfaces.append(replace(here, name="eth1", mode=beside, local=ip_address(local), subnet=ip_network(subnet)))
    return wanted_state(interfaces, keys(protocol, router, modes))


def first(
    wanted: Wanted, way: Direction, source: IPAddress, destination: IPAddress, number: int, device: str | None
) -> Policy | None:
    """The policy that the kernel takes."""
    fitting = [
        each
        for each in wanted.policies
        if each.direction is way
        and source in each.selector.source
        and destination in each.selector.destination
        and each.selector.protocol in (0, number)
        and each.selector.interface in (None, device)
    ]
    return min(fitting, key=lambda each: each.priority, default=None)


def sent(wanted: Wanted, protocol: RoutingProtocol, source: IPAddress, destination: IPAddress) -> int | str | None:
    """What leaves: the SPI of an ESP packet, "clear", or None when it is blocked."""
    number = protocol.ip_protocol if protocol is RoutingProtocol.OSPF6 else RAW_PROTOCOL
    policy = first(wanted, Direction.OUT, source, destination, number, "eth0")
    if policy is None or (policy.action is Action.ALLOW and not policy.templates):
        return "clear"
    if policy.action is Action.BLOCK:
        return None
    (template,) = policy.templates
    return template.spi


def heard(
    wanted: Wanted, protocol: RoutingProtocol, source: IPAddress, destination: IPAddress, form: int | str | None
) -> bool:
    """Whether the routing daemon gets it."""
    if form is None:
        return False
    if isinstance(form, int):
        found = [each for each in wanted.associations if each.direction is SaDirection.IN]
        return any((each.spi, each.destination, each.source) == (form, destination, source) for each in found)
    device = "eth0" if destination.version == 6 and destination.is_multicast else "lo"
    policy = first(wanted, Direction.IN, source, destination, protocol.ip_protocol, device)
    return policy is None or (policy.action is Action.ALLOW and all(each.optional for each in policy.templates))


def deaf(protocol: RoutingProtocol, modes: dict[int, Mode], beside: Mode | None) -> list[str]:
    """Who does not hear whom, and why."""
    plans = {router: plan(protocol, router, modes, beside) for router in ROUTERS}
    found = []
    for speaker, receiver in product(ROUTERS, repeat=2):
        if speaker == receiver:
            continue
        for destination in destinations(protocol, speaker):
            if not destination.is_multicast and destination != address(protocol, receiver):
                continue
            source = address(protocol, speaker)
            form = sent(plans[speaker], protocol, source, destination)
            if not heard(plans[receiver], protocol, source, destination, form):
                found.append(f"{modes[receiver].value} does not hear {modes[speaker].value} to {destination}")
    return found


def mixtures(before: Mode, after: Mode) -> Iterator[dict[int, Mode]]:
    """Every state that some order of the routers' updates passes through."""
    for taken in product((False, True), repeat=len(ROUTERS)):
        yield {router: after if done else before for router, done in zip(ROUTERS, taken, strict=True)}


@pytest.mark.parametrize("beside", [None, *Mode])
@pytest.mark.parametrize("protocol", RoutingProtocol)
@pytest.mark.parametrize(("before", "after"), STEPS)
def test_no_order_of_updates_within_one_step_makes_a_neighbour_deaf(
    before: Mode, after: Mode, protocol: RoutingProtocol, beside: Mode | None
) -> None:
    for modes in mixtures(before, after):
        assert deaf(protocol, modes, beside) == []


@pytest.mark.parametrize("protocol", RoutingProtocol)
def test_two_steps_at_once_make_a_neighbour_deaf(protocol: RoutingProtocol) -> None:
    """Shows that the test above can fail: why `listen` stands between `clear` and `permissive`."""
    for before, after in ((Mode.CLEAR, Mode.PERMISSIVE), (Mode.LISTEN, Mode.REQUIRED), (Mode.CLEAR, Mode.REQUIRED)):
        assert any(deaf(protocol, modes, None) for modes in mixtures(before, after))


@pytest.mark.parametrize("protocol", RoutingProtocol)
def test_who_only_listens_sends_clear_though_it_has_keys(protocol: RoutingProtocol) -> None:
    modes = dict.fromkeys(ROUTERS, Mode.LISTEN)
    wanted = plan(protocol, 1, modes, None)
    for destination in destinations(protocol, 1):
        assert sent(wanted, protocol, address(protocol, 1), destination) == "clear"
    assert any(each.source == address(protocol, 1) for each in wanted.associations)  # its counters go on
