"""Simple questions to a source: who the routers are, what segments are called, which area a wire is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from testbed.topology.source import TopologySource, WireSource

LONGEST_PREFIX = 8
"""Of a name in its node's interfaces: Linux allows 15 characters, and NAME-eth999 has seven more."""


def interface_name(node: str, word: str) -> str:
    """What an interface is called in its node: r1-eth0, or eth0 alone where the node's name is a long one."""
    return f"{node}-{word}" if len(node) <= LONGEST_PREFIX else word


def routers_of(source: TopologySource) -> list[str]:
    """Every router's name: those listed, or those that links and then LANs name, in the file's order."""
    names: dict[str, None] = dict.fromkeys(source.routers)
    if not source.routers:
        for link in source.links:
            names.update(dict.fromkeys(link.between))
        for lan in source.lans.values():
            names.update(dict.fromkeys(lan.routers))
    return list(names)


def link_names(source: TopologySource) -> list[str]:
    """What each link is called as a segment, in the file's order: a--b, and a--b#2 for the second one between them."""
    first: dict[frozenset[str], str] = {}
    seen: Counter[frozenset[str]] = Counter()
    names = []
    for link in source.links:
        pair = frozenset(link.between)
        name = first.setdefault(pair, "--".join(link.between))
        seen[pair] += 1
        names.append(name if seen[pair] == 1 else f"{name}#{seen[pair]}")
    return names


def stub_name(router: str, node: str) -> str:
    """What the segment between a host, or the DKS, and its router is called."""
    return f"{router}--{node}"


def interfaces_of(source: TopologySource) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Every interface that has been given a name: its node, the name, and where that stands."""
    for index, link in enumerate(source.links):
        for end, name in enumerate(link.interfaces or ()):
            yield link.between[end], name, ("links", index, "interfaces", end)
    for lan, value in source.lans.items():
        for router, name in (value.interfaces or {}).items():
            yield router, name, ("lans", lan, "interfaces", router)
    for host, written in source.hosts.items():
        for node, name in zip((written.on, host), written.interfaces or (), strict=False):
            yield node, name, ("hosts", host, "interfaces")


def area_of(source: TopologySource, wire: WireSource) -> int:
    """The OSPF area of a link or LAN."""
    return source.defaults.area if wire.area is None else wire.area


def areas_of(source: TopologySource, router: str) -> list[int]:
    """The areas in which a router has links or LANs, in the file's order."""
    links = [area_of(source, link) for link in source.links if router in link.between]
    lans = [area_of(source, lan) for lan in source.lans.values() if router in lan.routers]
    return list(dict.fromkeys([*links, *lans]))


def passive_of(wire: WireSource, router: str) -> bool:
    """Whether a router's interface on a link or LAN is passive."""
    return wire.passive if isinstance(wire.passive, bool) else router in (wire.passive or ())


def of_member(value: int | dict[str, int] | None, router: str, otherwise: int) -> int:
    """A router's own value where a LAN gives one for all or for some."""
    return value.get(router, otherwise) if isinstance(value, dict) else otherwise if value is None else value


def area_type_of(source: TopologySource, router: str, area: int) -> str:
    """The type that a router takes an area for."""
    own = source.routers[router].areas if router in source.routers else {}
    return own.get(area, source.ospf.areas.get(area, "normal"))
