"""Gives every node, interface and segment its names and addresses: the same source, the same result.

Networks come from `pools` unless the source gives them. MAC addresses are 02:00 and the interface's number, so that
IPv6 link-local addresses are known before a link is up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from itertools import count
from typing import Any

from testbed.topology import pools, rendezvous
from testbed.topology.check_addresses import given_networks
from testbed.topology.parts import (
    area_of,
    area_type_of,
    areas_of,
    interface_name,
    interfaces_of,
    link_names,
    of_member,
    passive_of,
    routers_of,
    stub_name,
)
from testbed.topology.pools import Pool
from testbed.topology.resolved import (
    DEFAULT_MTU,
    DksAttachment,
    Host,
    Interface,
    Kind,
    Management,
    ManagementInterface,
    Ospf,
    Pim,
    Router,
    Segment,
    Throttle,
    Topology,
    label,
)
from testbed.topology.source import RouterSource, TopologySource, WireSource

LOOPBACKS6 = int(IPv6Address("fd00::"))
DKS = "dks"


def resolve(source: TopologySource, name: str) -> Topology:
    """The topology with everything settled. `source` has passed `check`."""
    return _Resolver(source, name).topology()


class _Resolver:
    def __init__(self, source: TopologySource, name: str) -> None:
        self.source = source
        self.name = source.name or name
        self.routers = routers_of(source)
        taken = [network for network, _ in given_networks(source)]
        self.loopbacks, self.links = Pool(pools.LOOPBACKS, taken), Pool(pools.LINKS, taken)
        self.stubs, self.management = Pool(pools.STUBS, taken), Pool(pools.MANAGEMENT, taken)
        self.interfaces: dict[str, list[Interface]] = {router: [] for router in self.routers}
        self.segments: dict[str, Segment] = {}
        self.macs = count(1)
        self.named = {label(node, name) for node, name, _path in interfaces_of(source)}

    def topology(self) -> Topology:
        self.loopbacks.cut(32)  # the network's own address
        loopbacks = {router: self._loopback(router) for router in self.routers}
        for name, link in zip(link_names(self.source), self.source.links, strict=True):
            costs = dict(zip(link.between, link.costs or [self._cost(link)] * 2, strict=True))
            mtus = dict(zip(link.between, link.mtu or [self.source.defaults.mtu] * 2, strict=True))
            addresses = dict(zip(link.between, link.addresses, strict=True)) if link.addresses else {}
            names = dict(zip(link.between, link.interfaces or (), strict=False))
            self._segment(name, "p2p", link, costs, addresses, 30, mtus, names)
        for name, lan in self.source.lans.items():
            prefix = min(32 - (len(lan.routers) + 1).bit_length(), 29)
            costs = {**dict.fromkeys(lan.routers, self._cost(lan)), **(lan.costs or {})}
            mtus = {router: of_member(lan.mtu, router, self.source.defaults.mtu) for router in lan.routers}
            priorities = {router: of_member(lan.priority, router, 1) for router in lan.routers}
            self._segment(name, "lan", lan, costs, lan.addresses or {}, prefix, mtus, lan.interfaces or {}, priorities)
        hosts = {name: self._stub(name, host.on, host.interfaces) for name, host in self.source.hosts.items()}
        attached = self.source.dks.attach if self.source.dks else self.routers[0]
        key_server = self._stub(DKS, attached)
        topology = Topology(
            name=self.name,
            description=self.source.description,
            domain=self.source.domain,
            routers={
                name: Router(
                    name=name,
                    router_id=loopbacks[name].ip,
                    loopback=loopbacks[name],
                    loopback6=IPv6Interface((LOOPBACKS6 + number, 128)),
                    interfaces=tuple(self.interfaces[name]),
                    latitude=self._at(name)[0],
                    longitude=self._at(name)[1],
                    area_types=self._area_types(name),
                )
                for number, name in enumerate(self.routers, 1)
            },
            segments=self.segments,
            hosts=hosts,
            ospf=Ospf(
                v2=2 in self.source.ospf.versions,
                v3=3 in self.source.ospf.versions,
                hello_s=int(self.source.ospf.hello),
                dead_s=int(self.source.ospf.dead),
                throttle=Throttle() if self.source.ospf.fast else None,
            ),
            dks=DksAttachment(
                router=attached,
                segment=key_server.segment,
                interface=key_server.interface,
                ipv4=key_server.ipv4,
                gateway=key_server.gateway,
                management=self._management(),
            ),
        )
        return self._with_pim(topology)

    def _with_pim(self, topology: Topology) -> Topology:
        """With its rendezvous point, or with PIM on no interface where it does not run."""
        asked, routers = self.source.pim, dict(topology.routers)
        if asked is None:
            return topology
        if asked.rp is None and rendezvous.hindrance(topology) is not None:
            for name, router in routers.items():
                silent = tuple(each.model_copy(update={"pim": False}) for each in router.interfaces)
                routers[name] = router.model_copy(update={"interfaces": silent})
            return topology.model_copy(update={"routers": routers})
        rp = asked.rp or rendezvous.central(topology)
        routers[rp] = routers[rp].model_copy(update={"pim_rp": True})
        pim = Pim(rp=rp, rp_address=routers[rp].loopback.ip, chosen=asked.rp is None, ipv6=asked.ipv6)
        return topology.model_copy(update={"routers": routers, "pim": pim})

    def _at(self, router: str) -> tuple[float | None, float | None]:
        written = self.source.routers.get(router, RouterSource())
        return (written.at[0], written.at[1]) if written.at else (None, None)

    def _loopback(self, router: str) -> IPv4Interface:
        written = self.source.routers.get(router, RouterSource())
        return written.loopback or IPv4Interface(self.loopbacks.cut(32))

    def _area_types(self, router: str) -> dict[str, Any]:
        types = {area: area_type_of(self.source, router, area) for area in areas_of(self.source, router)}
        return {str(IPv4Address(area)): kind for area, kind in types.items() if kind != "normal"}

    def _cost(self, wire: WireSource) -> int:
        return wire.cost if wire.cost is not None else self.source.defaults.cost

    def _segment(
        self,
        name: str,
        kind: Kind,
        wire: WireSource,
        costs: Mapping[str, int],
        given: Mapping[str, IPv4Address],
        prefix: int,
        mtus: Mapping[str, int],
        names: Mapping[str, str],
        priorities: Mapping[str, int] | None = None,
    ) -> None:
        """A link or LAN of the routers in `costs`; who has no address in `given` gets the next free one."""
        defaults = self.source.defaults
        network = wire.subnet or self.links.cut(prefix)
        taken = set(given.values())
        free = (address for address in pools.hosts(network) if address not in taken)
        members = []
        for router, cost in costs.items():
            ipv4 = IPv4Interface((given.get(router) or next(free), network.prefixlen))
            interface = self._interface(
                router, name, kind, ipv4, cost, area_of(self.source, wire),
                own=names.get(router), passive=passive_of(wire, router), mtu=mtus[router],
                priority=(priorities or {}).get(router, 1),
            )  # fmt: skip
            members.append((router, interface.name))
        self.segments[name] = Segment(
            name=name,
            kind=kind,
            members=tuple(members),
            delay_ms=defaults.delay if wire.delay is None else wire.delay,
            jitter_ms=defaults.jitter if wire.jitter is None else wire.jitter,
            loss_percent=defaults.loss if wire.loss is None else wire.loss,
            bandwidth_mbps=defaults.bandwidth if wire.bandwidth is None else wire.bandwidth,
        )

    def _interface(
        self,
        router: str,
        segment: str,
        kind: Kind,
        ipv4: IPv4Interface,
        cost: int,
        area: int,
        *,
        own: str | None = None,
        passive: bool = False,
        pim: bool = True,
        mtu: int = DEFAULT_MTU,
        priority: int = 1,
    ) -> Interface:
        number = next(self.macs)
        octets = (0x02, 0, *number.to_bytes(4, "big"))
        eui64 = bytes((octets[0] ^ 2, octets[1], octets[2], 0xFF, 0xFE, octets[3], octets[4], octets[5]))
        interface = Interface(
            name=own or self._free_name(router),
            router=router,
            segment=segment,
            kind=kind,
            mac=":".join(f"{octet:02x}" for octet in octets),
            ipv4=ipv4,
            ipv6_link_local=IPv6Address(b"\xfe\x80" + bytes(6) + eui64),
            cost=cost,
            area=str(IPv4Address(area)),
            passive=passive or kind == "stub",
            pim=self.source.pim is not None and pim,
            mtu=mtu,
            priority=priority,
        )
        self.interfaces[router].append(interface)
        return interface

    def _free_name(self, router: str) -> str:
        """The next one by number that nobody gave to another, also as it is seen from outside."""
        used = {each.name for each in self.interfaces[router]}
        names = (interface_name(router, f"eth{number}") for number in count(len(self.interfaces[router])))
        return next(name for name in names if name not in used and label(router, name) not in self.named)

    def _stub(self, node: str, router: str, names: Sequence[str] | None = None) -> Host:
        """A network of its own for one host behind a router."""
        network = self.stubs.cut(30)
        gateway, address = pools.hosts(network)
        segment = stub_name(router, node)
        areas = areas_of(self.source, router)
        area = 0 if 0 in areas else areas[0]
        ipv4 = IPv4Interface((gateway, 30))
        # Hosts may send to groups and join them, so that their router speaks PIM's IGMP to them; the DKS does not.
        at_router, own = names or (None, interface_name(node, "eth0"))
        behind = self._interface(
            router, segment, "stub", ipv4, self.source.defaults.cost, area, own=at_router, pim=node != DKS
        )
        self.segments[segment] = Segment(
            name=segment, kind="stub", members=((router, behind.name), (node, own)), delay_ms=0.1
        )
        return Host(name=node, segment=segment, interface=own, ipv4=IPv4Interface((address, 30)), gateway=gateway)

    def _management(self) -> Management:
        written = self.source.dks.management if self.source.dks else None
        subnet = written or self.management.cut(16)
        addresses = pools.hosts(subnet)
        own = next(addresses)
        return Management(
            subnet=subnet,
            address=own,
            routers={
                router: ManagementInterface(
                    name=interface_name(router, "mgmt"), ipv4=IPv4Interface((next(addresses), subnet.prefixlen))
                )
                for router in self.routers
            },
        )
