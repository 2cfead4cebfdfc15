"""Simple questions to a source: who the routers are, which area a wire is in."""

from __future__ import annotations

from testbed.topology.source import TopologySource, WireSource


def routers_of(source: TopologySource) -> list[str]:
    """Every router's name: those listed, or those that links and then LANs name, in the file's order."""
    names: dict[str, None] = dict.fromkeys(source.routers)
    if not source.routers:
        for link in source.links:
            names.update(dict.fromkeys(link.between))
        for lan in source.lans.values():
            names.update(dict.fromkeys(lan.routers))
    return list(names)


def area_of(source: TopologySource, wire: WireSource) -> int:
    """The OSPF area of a link or LAN."""
    return source.defaults.area if wire.area is None else wire.area


def areas_of(source: TopologySource, router: str) -> list[int]:
    """The areas in which a router has links or LANs, in the file's order."""
    links = [area_of(source, link) for link in source.links if router in link.between]
    lans = [area_of(source, lan) for lan in source.lans.values() if router in lan.routers]
    return list(dict.fromkeys([*links, *lans]))
