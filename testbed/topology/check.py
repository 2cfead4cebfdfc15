"""What must hold between the parts of a topology: names that exist, timers that fit. Addresses and the graph are
checked in files of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from testbed.errors import InputError
from testbed.topology.check_addresses import check_addresses
from testbed.topology.check_graph import check_graph
from testbed.topology.findings import Findings, Where, nearest, some
from testbed.topology.names import alike, refusal
from testbed.topology.parts import areas_of, interface_name, interfaces_of, link_names, routers_of, stub_name
from testbed.topology.rendezvous import crowded
from testbed.topology.resolved import label
from testbed.topology.source import TopologySource

MAX_ROUTERS = 500
MAX_MEMBERS = 250
MAX_SIDE_BY_SIDE = 64


def check(source: TopologySource, where: Where, whole: bool = True, dropped: Collection[str] = ()) -> list[InputError]:
    """All errors, each with its place. An empty list means the topology can be resolved.

    Of a source that is not `whole`, only what does not depend on the missing parts is judged. `dropped`: routers among
    those parts.
    """
    findings = Findings(where)
    routers = routers_of(source)
    if whole and not 2 <= len(routers) <= MAX_ROUTERS:
        findings.wrong(
            f"{len(routers)} router{'' if len(routers) == 1 else 's'}", "links", allowed=f"2 to {MAX_ROUTERS} routers"
        )
    if len(routers) > MAX_ROUTERS:  # what else is wrong with so many would take long to find, and to read
        return findings.errors
    named = _names(source, routers, findings, whole, dropped)
    _links(source, findings)
    _lans(source, findings)
    _interfaces(source, findings)
    _delays(source, findings)
    _ospf(source, findings)
    check_addresses(source, findings)
    if whole and named and len(routers) > 1:
        check_graph(source, routers, findings)
    return findings.errors


def _names(
    source: TopologySource, routers: list[str], findings: Findings, whole: bool, dropped: Collection[str]
) -> bool:
    """Whether every name of a router that is used is one, and no name is used for two things."""
    unknown = False

    def known(name: str, *path: Any) -> None:
        nonlocal unknown
        if name not in routers and (whole or (source.routers and name not in dropped)):
            unknown = True
            findings.wrong(f"unknown router {name!r}{nearest(name, routers)}", *path, allowed=some(routers))

    taken = dict.fromkeys(routers, "router")
    for index, link in enumerate(source.links):
        for end, name in enumerate(link.between):
            known(name, "links", index, "between", end)
        for member in link.passive if isinstance(link.passive, list) else ():
            if member not in link.between:
                findings.wrong(
                    f"router {member!r} is not on this link{nearest(member, link.between)}",
                    *("links", index, "passive"),
                    allowed=some(link.between),
                )
    for name, lan in source.lans.items():
        for member in lan.routers:
            known(member, "lans", name, "routers", member)
        for key in ("costs", "addresses", "interfaces", "mtu", "priority", "passive"):
            named = getattr(lan, key)
            for member in named if isinstance(named, dict | list) else ():
                if member not in lan.routers:
                    findings.wrong(
                        f"router {member!r} is not on LAN {name!r}{nearest(member, lan.routers)}",
                        *("lans", name, key, member),
                        allowed=some(lan.routers),
                    )
        if name in taken:
            findings.wrong(f"LAN {name!r} has the name of a {taken[name]}", "lans", name, allowed="a name of its own")
    for name, host in source.hosts.items():
        known(host.on, "hosts", name, "on")
        if name in taken or name in source.lans:
            what = taken.get(name, "LAN")
            findings.wrong(f"host {name!r} has the name of a {what}", "hosts", name, allowed="a name of its own")
    _meanings(source, routers, findings)
    _segments(source, findings)
    if source.dks is not None:
        known(source.dks.attach, "dks", "attach")
    if source.pim is not None and source.pim.rp is not None:
        known(source.pim.rp, "pim", "rp")
        if (problem := crowded(_interfaces_by_router(source))) is not None:
            findings.wrong(
                f"no PIM: {problem}", "pim", allowed="pim: off, or fewer links, LANs and hosts at this router"
            )
    if source.pim is not None and source.pim.ipv6 and 3 not in source.ospf.versions:
        findings.wrong(
            "PIM for IPv6 needs OSPFv3, which does not run",
            "pim",
            "ipv6",
            allowed="ospf: {versions: [2, 3]} as well, or no ipv6",
        )
    return not unknown


def _interfaces_by_router(source: TopologySource) -> Counter[str]:
    counts: Counter[str] = Counter()
    for members in (*(link.between for link in source.links), *(lan.routers for lan in source.lans.values())):
        counts.update(members)
    counts.update(host.on for host in source.hosts.values())
    return counts


def _meanings(source: TopologySource, routers: list[str], findings: Findings) -> None:
    """Names that mean something else, and names that files and hosts do not tell apart."""
    sections = {
        name: (section, what)
        for section, what, names in (
            ("lans", "LAN", source.lans),
            ("hosts", "host", source.hosts),
            ("routers", "router", routers),
        )
        for name in names
    }
    twins = alike([*routers, *source.hosts, *source.lans])
    for name, (section, what) in sections.items():
        if (reason := refusal(name, node=section != "lans")) is not None:
            path = _first_use(source, section, name)
            findings.wrong(f"a {what} named {name!r}", *path, allowed=f"another name: {reason}")
        if name in twins:
            findings.wrong(
                f"{what} {name!r} differs from {sections[twins[name]][1]} {twins[name]!r} in letter case only",
                *_first_use(source, section, name),
                allowed="names that differ in more than letter case, which host names ignore (RFC 4343)",
            )


def _segments(source: TopologySource, findings: Findings) -> None:
    """Names with two hyphens in a row can make two segments of one name, or one with the name of a node."""
    taken = {name: "that name" for name in (*routers_of(source), *source.hosts, *source.lans)}
    made: list[tuple[str, tuple[Any, ...]]] = [
        (name, ("links", index)) for index, name in enumerate(link_names(source))
    ]
    made += [(stub_name(host.on, name), ("hosts", name)) for name, host in source.hosts.items()]
    for name, path in made:
        if name in taken:
            findings.wrong(
                f"this segment would be called {name!r}, as {taken[name]} is", *path, allowed="names without '--'"
            )
        taken[name] = "another segment"


def _first_use(source: TopologySource, section: str, name: str) -> tuple[Any, ...]:
    """Where a name stands first in the file."""
    if section != "routers" or name in source.routers:
        return (section, name)
    for index, link in enumerate(source.links):
        if name in link.between:
            return ("links", index, "between", link.between.index(name))
    lan = next(lan for lan, written in source.lans.items() if name in written.routers)
    return ("lans", lan, "routers", name)


def _links(source: TopologySource, findings: Findings) -> None:
    side_by_side: Counter[frozenset[str]] = Counter()
    for index, link in enumerate(source.links):
        one, other = link.between
        side_by_side[frozenset(link.between)] += 1
        if side_by_side[frozenset(link.between)] == MAX_SIDE_BY_SIDE + 1:
            findings.wrong(
                f"more than {MAX_SIDE_BY_SIDE} links between {one!r} and {other!r}", "links", index,
                allowed=f"at most {MAX_SIDE_BY_SIDE}",
            )  # fmt: skip
        if one == other:
            findings.wrong(f"a link from {one!r} to itself", "links", index, allowed="two different routers")
        if link.cost is not None and link.costs is not None:
            findings.wrong("both cost and costs", "links", index, allowed="cost for both directions, or costs for each")


def _lans(source: TopologySource, findings: Findings) -> None:
    for name, lan in source.lans.items():
        if len(set(lan.routers)) != len(lan.routers):
            findings.wrong(f"LAN {name!r} names a router twice", "lans", name, allowed="each router once")
        if len(lan.routers) > MAX_MEMBERS:
            findings.wrong(
                f"LAN {name!r} has {len(lan.routers)} routers", "lans", name, allowed=f"at most {MAX_MEMBERS}"
            )


def _interfaces(source: TopologySource, findings: Findings) -> None:
    """Names once in a node, and once outside, where the node's name is put before them."""
    taken: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for node, name, path in interfaces_of(source):
        seen = label(node, name)
        if name == interface_name(node, "mgmt"):
            findings.wrong(
                f"an interface of {node!r} called {name!r}", *path, allowed="not that of the management network"
            )
        elif seen in taken:
            first, where = taken[seen]
            findings.wrong(
                f"{seen!r} is the name of two interfaces, of {first!r}{findings.line(*where)} and of {node!r}", *path,
                allowed="names that no other interface has",
            )  # fmt: skip
        taken.setdefault(seen, (node, path))


def _delays(source: TopologySource, findings: Findings) -> None:
    """No packet arrives before it was sent: netem would cut delays off at nothing, and their mean would rise."""
    usual = source.defaults
    delays: list[tuple[float, float, tuple[Any, ...]]] = [(usual.delay, usual.jitter, ("defaults", "jitter"))]
    wires = [(("links", index), link) for index, link in enumerate(source.links)]
    for path, wire in [*wires, *((("lans", name), lan) for name, lan in source.lans.items())]:
        if wire.delay is not None or wire.jitter is not None:
            delay = usual.delay if wire.delay is None else wire.delay
            jitter = usual.jitter if wire.jitter is None else wire.jitter
            delays.append((delay, jitter, (*path, "jitter" if wire.jitter is not None else "delay")))
    for delay, jitter, path in delays:
        if jitter > delay:
            findings.wrong(
                f"jitter {jitter:g} ms is above delay {delay:g} ms", *path, allowed="jitter up to the delay itself"
            )


def _areas(source: TopologySource, findings: Findings) -> None:
    """Types of areas: for areas that there are, and not for the backbone (RFC 2328 §3.6)."""
    used = {area for router in routers_of(source) for area in areas_of(source, router)}
    areas: list[tuple[int, str, tuple[Any, ...], set[int]]] = [
        (area, kind, ("ospf", "areas", area), used) for area, kind in source.ospf.areas.items()
    ]
    for name, router in source.routers.items():
        own = set(areas_of(source, name))
        areas += [(area, kind, ("routers", name, "areas", area), own) for area, kind in router.areas.items()]
    for area, kind, path, there in areas:
        if area == 0 and kind != "normal":
            findings.wrong(
                f"area 0 is {kind}", *path, allowed="normal: the backbone carries the routes of all other areas"
            )
        elif area not in there:
            findings.wrong(
                f"no link or LAN{' of its' if path[0] == 'routers' else ''} is in area {area}", *path,
                allowed=some(map(str, sorted(there))),
            )  # fmt: skip


def _ospf(source: TopologySource, findings: Findings) -> None:
    ospf = source.ospf
    if len(set(ospf.versions)) != len(ospf.versions):
        findings.wrong(f"ospf versions {ospf.versions}", "ospf", "versions", allowed="[2], [3] or [2, 3]")
    _areas(source, findings)
    if ospf.dead <= ospf.hello:
        findings.wrong(
            f"dead {ospf.dead:g} s is not above hello {ospf.hello:g} s",
            *("ospf", "dead"),
            allowed=f"more than {ospf.hello:g}s, usually 4 times hello",
        )
