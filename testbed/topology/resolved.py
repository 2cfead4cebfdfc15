"""A topology with nothing left open: every node, segment, address, cost and timer. JSON both ways.

What the engine builds from, the keying modes make documents from, and the analysis compares a record with.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import networkx

Kind = Literal["p2p", "lan", "stub"]
Family = Literal[4, 6]
"""A version of IP."""
IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network
AreaType = Literal["normal", "stub", "totally-stubby", "nssa", "totally-nssa"]
BACKBONE = "0.0.0.0"
RECEIVERS = "receivers"
"""Where PIM runs, a router's interface towards receivers of multicast that no host of the topology stands for."""
DEFAULT_MTU = 1500
"""Also what the kernel gives a new interface."""


def label(node: str, interface: str) -> str:
    """What an interface is called outside its node, where other nodes may have one of the same name: r1-eth0."""
    return interface if interface.startswith(f"{node}-") else f"{node}-{interface}"


_STUBS6 = int(IPv6Address("fd01::"))


def of_stub(family: Family, ipv4: IPv4Interface) -> IPInterface:
    """An address on a stub network, of either family: that of IPv6 holds that of IPv4."""
    return ipv4 if family == 4 else IPv6Interface((_STUBS6 + int(ipv4.ip), 96 + ipv4.network.prefixlen))


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Interface(Frozen):
    """A router's end of a segment. `cost` is OSPF's, for what leaves here; `priority` is OSPF's too, for LANs."""

    name: str
    router: str
    segment: str
    kind: Kind
    mac: str
    ipv4: IPv4Interface
    ipv6_link_local: IPv6Address
    cost: int
    area: str = BACKBONE
    passive: bool = False
    pim: bool = False
    mtu: int = DEFAULT_MTU
    priority: int = 1

    def hop(self, family: Family) -> IPAddress:
        """What it is as the next hop of another router's route."""
        return self.ipv4.ip if family == 4 else self.ipv6_link_local

    def networks(self, family: Family) -> tuple[IPNetwork, ...]:
        """What it is connected to: of IPv6 stubs have a network, and links and LANs have link-local addresses alone."""
        if family == 6 and self.kind != "stub":
            return ()
        return (of_stub(family, self.ipv4).network,)

    @property
    def label(self) -> str:
        """What it is called where interfaces of several routers stand together: captures, tables."""
        return label(self.router, self.name)


class Router(Frozen):
    """A router; its loopback's address is its OSPF router ID. `area_types` has those that it takes for not normal."""

    name: str
    router_id: IPv4Address
    loopback: IPv4Interface
    loopback6: IPv6Interface
    interfaces: tuple[Interface, ...]
    pim_rp: bool = False
    latitude: float | None = None
    longitude: float | None = None
    area_types: dict[str, AreaType] = {}

    def loopback_of(self, family: Family) -> IPInterface:
        """The loopback's address."""
        return self.loopback if family == 4 else self.loopback6

    def interface(self, name: str) -> Interface:
        """The interface of that name. KeyError when there is none."""
        for interface in self.interfaces:
            if interface.name == name:
                return interface
        raise KeyError(name)


class Segment(Frozen):
    """What joins nodes: a link of two, a LAN, or a stub with one router and hosts. Members are (node, interface)."""

    name: str
    kind: Kind
    members: tuple[tuple[str, str], ...]
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0
    bandwidth_mbps: float | None = None


class Host(Frozen):
    """A machine that forwards nothing; its gateway is a router on its segment."""

    name: str
    segment: str
    interface: str
    ipv4: IPv4Interface
    gateway: IPv4Address

    def address(self, family: Family) -> IPInterface:
        """Its address."""
        return of_stub(family, self.ipv4)


class Throttle(Frozen):
    """FRR's brakes on SPF runs and on LSAs, in milliseconds."""

    spf_delay_ms: int = 0
    spf_hold_ms: int = 50
    spf_max_ms: int = 500
    lsa_all_ms: int = 0
    lsa_min_arrival_ms: int = 0


class Ospf(Frozen):
    """Which OSPF runs, and its timers in seconds. `throttle` None leaves FRR's own brakes."""

    v2: bool = True
    v3: bool = False
    hello_s: int = 10
    dead_s: int = 40
    throttle: Throttle | None = Throttle()


class Pim(Frozen):
    """PIM-SM on every interface between routers; one rendezvous point for all groups."""

    rp: str
    rp_address: IPv4Address
    chosen: bool = False
    """By the rule of `testbed.topology.rendezvous`, since the topology named none."""
    ipv6: bool = False
    """For IPv6 too."""


class ManagementInterface(Frozen):
    """A router's end of the management network, which carries no routing protocol."""

    name: str
    ipv4: IPv4Interface


class Management(Frozen):
    """A network beside the routed one that joins the DKS to every router."""

    subnet: IPv4Network
    address: IPv4Address
    routers: dict[str, ManagementInterface]


class DksAttachment(Frozen):
    """Where the DKS is: on a stub segment of one router (in-band), and on the management network. The keying mode
    says which of the two is built."""

    router: str
    segment: str
    interface: str
    ipv4: IPv4Interface
    gateway: IPv4Address
    management: Management

    @property
    def address(self) -> IPv4Address:
        """The DKS's address in-band."""
        return self.ipv4.ip

    def address_of(self, family: Family) -> IPAddress:
        """The same, of either family."""
        return of_stub(family, self.ipv4).ip


class Adjacency(NamedTuple):
    """A neighbour that a router may have: through which interface, who, and the neighbour's interface."""

    interface: Interface
    neighbor_router: str
    neighbor_interface: Interface


class Topology(Frozen):
    """Everything about the network under test. Dictionaries keep the order of the source."""

    name: str
    domain: str
    routers: dict[str, Router]
    segments: dict[str, Segment]
    hosts: dict[str, Host]
    ospf: Ospf
    pim: Pim | None = None
    dks: DksAttachment
    description: str = ""

    @classmethod
    def load(cls, spec: str, ospf: str | None = None) -> Topology:
        """From a name in topologies/, a generator's words ("ring:20"), a YAML, GraphML or GML file; `ospf` as for
        testbed.topology.load.load. InputError."""
        from testbed.topology.load import load

        return load(spec, ospf)

    @property
    def family(self) -> Family:
        """The version of IP whose routes are judged: OSPFv2's where that runs, else OSPFv3's."""
        return 4 if self.ospf.v2 else 6

    @property
    def bare(self) -> bool:
        """Whether links and LANs have no IPv4 addresses: nothing on them speaks IPv4."""
        return not self.ospf.v2 and self.pim is None

    def addresses(self, interface: Interface) -> list[IPInterface]:
        """What a router's interface has beside its link-local address."""
        if interface.kind != "stub":
            return [] if self.bare else [interface.ipv4]
        return [interface.ipv4] if self.family == 4 else [interface.ipv4, of_stub(6, interface.ipv4)]

    def ends(self, segment: str) -> list[Interface]:
        """The routers' interfaces on a segment, in its order."""
        members = self.segments[segment].members
        return [self.routers[node].interface(name) for node, name in members if node in self.routers]

    def neighbors(self, router: str) -> list[Adjacency]:
        """Those with whom `router` may speak a routing protocol, in the order of its interfaces.

        Which of them OSPF brings up is said by `testbed.topology.adjacent`.
        """
        adjacencies = []
        for interface in self.routers[router].interfaces:
            if interface.passive or interface.kind == "stub":
                continue
            for node, name in self.segments[interface.segment].members:
                if node != router and node in self.routers:
                    other = self.routers[node].interface(name)
                    if not other.passive:
                        adjacencies.append(Adjacency(interface, node, other))
        return adjacencies

    def graph(self) -> networkx.MultiGraph:
        """Routers as nodes, one edge for each pair of routers on a common segment (attribute `segment`)."""
        import networkx

        graph = networkx.MultiGraph()
        graph.add_nodes_from(self.routers)
        for segment in self.segments.values():
            routers = [node for node, _ in segment.members if node in self.routers]
            for index, one in enumerate(routers):
                for other in routers[index + 1 :]:
                    graph.add_edge(one, other, segment=segment.name)
        return graph
