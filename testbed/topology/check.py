"""What must hold between the parts of a topology: names that exist, a graph that hangs together, timers that fit."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

import networkx

from testbed.errors import InputError, Location
from testbed.topology.source import TopologySource, WireSource

MAX_ROUTERS = 500
MAX_MEMBERS = 250
Where = Callable[..., Location]


def routers_of(source: TopologySource) -> list[str]:
    """Every router's name: those listed, then those that only links and LANs name, in the file's order."""
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


def check(source: TopologySource, where: Where) -> list[InputError]:
    """All that is wrong, each with its place. An empty list means the topology can be resolved."""
    errors: list[InputError] = []

    def wrong(problem: str, *path: Any, allowed: str) -> None:
        errors.append(InputError(problem, where=where(*path), allowed=allowed, next_command="lab validate FILE"))

    routers = routers_of(source)

    def known(name: str, *path: Any) -> None:
        if name not in routers:
            near = difflib.get_close_matches(name, routers, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            wrong(f"unknown router {name!r}{hint}", *path, allowed=_some(routers))

    if not 2 <= len(routers) <= MAX_ROUTERS:
        wrong(f"{len(routers)} routers", "links", allowed=f"2 to {MAX_ROUTERS} routers")
    seen: dict[frozenset[str], int] = {}
    for index, link in enumerate(source.links):
        for name in link.between:
            known(name, "links", index)
        one, other = link.between
        if one == other:
            wrong(f"a link from {one!r} to itself", "links", index, allowed="two different routers")
        if frozenset(link.between) in seen:
            first = seen[frozenset(link.between)] + 1
            wrong(
                f"a second link {one}-{other}",
                "links",
                index,
                allowed=f"one link between two routers (the first is number {first})",
            )
        seen.setdefault(frozenset(link.between), index)
        if link.cost is not None and link.costs is not None:
            wrong("both cost and costs", "links", index, allowed="cost for both directions, or costs for each")
        if link.subnet is not None and link.subnet.prefixlen > 31:
            wrong(f"subnet {link.subnet} is too small", "links", index, allowed="/31 or larger")
    for name, lan in source.lans.items():
        for member in lan.routers:
            known(member, "lans", name, "routers")
        if len(set(lan.routers)) != len(lan.routers):
            wrong(f"LAN {name!r} names a router twice", "lans", name, allowed="each router once")
        if len(lan.routers) > MAX_MEMBERS:
            wrong(f"LAN {name!r} has {len(lan.routers)} routers", "lans", name, allowed=f"at most {MAX_MEMBERS}")
        if lan.subnet is not None and lan.subnet.num_addresses - 2 < len(lan.routers):
            wrong(f"subnet {lan.subnet} is too small", "lans", name, allowed=f"room for {len(lan.routers)} addresses")
    for name, host in source.hosts.items():
        known(host.on, "hosts", name)
        if name in routers or name == "dks":
            wrong(f"host {name!r} has the name of another node", "hosts", name, allowed="a name of its own, not dks")
    if "dks" in routers:
        wrong("a router named 'dks'", "routers", "dks", allowed="another name: dks is the key server's")
    if source.dks is not None:
        known(source.dks.attach, "dks", "attach")
    if source.pim is not None:
        known(source.pim.rp, "pim", "rp")
    if not source.ospf.versions or len(set(source.ospf.versions)) != len(source.ospf.versions):
        wrong(f"ospf versions {source.ospf.versions}", "ospf", "versions", allowed="[2], [3] or [2, 3]")
    if source.ospf.dead <= source.ospf.hello:
        wrong(
            f"dead {source.ospf.dead:g} s is not above hello {source.ospf.hello:g} s",
            "ospf",
            allowed="dead above hello, usually 4 times",
        )
    for key in ("hello", "dead"):
        if getattr(source.ospf, key) != int(getattr(source.ospf, key)):
            wrong(f"ospf {key} {getattr(source.ospf, key)} s", "ospf", key, allowed="whole seconds")
    errors += _addresses(source, where)
    if not errors and (parts := _parts(source, routers)):
        wrong(
            f"the routers are not all connected: {_some(parts[1])} cannot reach {_some(parts[0])}", "links",
            allowed="one connected network",
        )  # fmt: skip
    if not errors:
        errors += _areas(source, routers, where)
    return errors


def _areas(source: TopologySource, routers: list[str], where: Where) -> list[InputError]:
    """Several areas meet in the backbone, and each is one piece (RFC 2328 §3.1; virtual links are not offered)."""
    pieces: dict[int, networkx.Graph] = {}
    place: dict[int, tuple[Any, ...]] = {}
    wires: list[tuple[list[str], int, tuple[Any, ...]]] = [
        (link.between, area_of(source, link), ("links", index)) for index, link in enumerate(source.links)
    ]
    wires += [(lan.routers, area_of(source, lan), ("lans", name)) for name, lan in source.lans.items()]
    for members, area, path in wires:
        graph = pieces.setdefault(area, networkx.Graph())
        place.setdefault(area, path)
        graph.add_edges_from((members[0], other) for other in members[1:])
    if len(pieces) < 2:
        return []
    errors = [
        InputError(f"area {area} is in several pieces", where=where(*place[area]), allowed="areas that hang together")
        for area, graph in pieces.items()
        if not networkx.is_connected(graph)
    ]
    if 0 not in pieces:
        errors.append(InputError("there are several areas, but no area 0", where=where("links"), allowed="a backbone"))
    for router in routers:
        areas = areas_of(source, router)
        if len(areas) > 1 and 0 not in areas:
            listed = ", ".join(map(str, areas))
            errors.append(
                InputError(
                    f"router {router!r} joins areas {listed}", where=where(*place[areas[1]]), allowed="area 0 among them"
                )
            )
    return errors


def _addresses(source: TopologySource, where: Where) -> list[InputError]:
    """Networks that a person gave and that overlap."""
    given: list[tuple[Any, tuple[Any, ...]]] = []
    given += [(r.loopback.network, ("routers", n, "loopback")) for n, r in source.routers.items() if r.loopback]
    given += [(link.subnet, ("links", i)) for i, link in enumerate(source.links) if link.subnet]
    given += [(lan.subnet, ("lans", n, "subnet")) for n, lan in source.lans.items() if lan.subnet]
    return [
        InputError(f"{network} overlaps {other}", where=where(*path), allowed="networks that do not overlap")
        for index, (network, path) in enumerate(given)
        for other, _ in given[:index]
        if network.overlaps(other)
    ]


def _parts(source: TopologySource, routers: list[str]) -> list[list[str]]:
    graph = networkx.Graph()
    graph.add_nodes_from(routers)
    graph.add_edges_from(link.between for link in source.links)
    for lan in source.lans.values():
        graph.add_edges_from((lan.routers[0], other) for other in lan.routers[1:])
    parts = [sorted(part) for part in networkx.connected_components(graph)]
    return sorted(parts, key=len, reverse=True) if len(parts) > 1 else []


def _some(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
