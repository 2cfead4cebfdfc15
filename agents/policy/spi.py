"""The layout of a router's SPI block: the place of each SA of a speaker.

SPI = base + index * 2^generation_bits + (generation mod 2^generation_bits). The index comes from fixed SA slots: 128
per interface, 32 per protocol in it, of these 2 for the multicast groups and 30 for pair SAs. So an SPI never moves to
another SA when interfaces or neighbours come and go, and no two SAs of a domain share one, since the blocks of routers
do not overlap. Knows nothing of keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.ipsec.protection import IPAddress, RoutingProtocol
from agents.policy.document import MAX_INTERFACES, MAX_NEIGHBORS, InterfacePolicy, SpiBlock
from agents.policy.errors import PolicyError

PLACES_PER_PROTOCOL = 32
PLACES_PER_INTERFACE = 128
GENERATION_BITS = 6
FIRST_BASE = 0x10000

_GROUPS = 2
_PROTOCOL_PLACE = {protocol: number for number, protocol in enumerate(RoutingProtocol)}
assert len(RoutingProtocol) * PLACES_PER_PROTOCOL <= PLACES_PER_INTERFACE
assert _GROUPS + MAX_NEIGHBORS <= PLACES_PER_PROTOCOL


@dataclass(frozen=True, slots=True)
class SaSlot:
    """One Data-Security SA of a speaker: its group, destination and index.

    `member` names the neighbour of a pair SA; None for a multicast group.
    """

    interface: str
    protocol: RoutingProtocol
    destination: IPAddress
    index: int
    member: str | None = None

    def spi(self, block: SpiBlock, generation: int) -> int:
        """The SPI of a generation; PolicyError when the block is too small or the generation negative."""
        if generation < 0:
            raise PolicyError(f"generation {generation}")
        offset = (self.index << block.generation_bits) + generation % (1 << block.generation_bits)
        if offset >= block.size:
            raise PolicyError(f"interface {self.interface}: SPI index {self.index} is beyond the router's block")
        return block.base + offset


def sa_slots(interface: InterfacePolicy, protocol: RoutingProtocol) -> tuple[SaSlot, ...]:
    """The SAs of one speaker's group: its multicast destinations, then its pair SAs."""
    start = interface.index * PLACES_PER_INTERFACE + _PROTOCOL_PLACE[protocol] * PLACES_PER_PROTOCOL
    numbered = [
        SaSlot(interface.name, protocol, destination, start + number)
        for number, destination in enumerate(protocol.multicast_destinations(interface.link))
    ]
    if protocol.unicast_on(interface.link):
        numbered += [
            SaSlot(interface.name, protocol, each.address_for(protocol), start + _GROUPS + each.index, each.router)
            for each in sorted(interface.neighbors, key=lambda neighbor: neighbor.index)
        ]
    return tuple(numbered)


def block_size(interfaces: int, generation_bits: int = GENERATION_BITS) -> int:
    """The number of SPIs for a router with this many interface indices, rounded up to leave room to grow."""
    if not 0 <= interfaces <= MAX_INTERFACES:
        raise PolicyError(f"{interfaces} interfaces are more than {MAX_INTERFACES}")
    room = 4
    while room < interfaces:
        room *= 2
    return room * PLACES_PER_INTERFACE << generation_bits
