"""What must hold between the parts of a topology: names that exist, timers that fit. Addresses and the graph are
checked in files of their own."""

from __future__ import annotations

from typing import Any

from testbed.errors import InputError
from testbed.topology.check_addresses import check_addresses
from testbed.topology.check_graph import check_graph
from testbed.topology.findings import Findings, Where, nearest, some
from testbed.topology.names import alike, refusal
from testbed.topology.parts import link_names, routers_of, stub_name
from testbed.topology.source import TopologySource

MAX_ROUTERS = 500
MAX_MEMBERS = 250


def check(source: TopologySource, where: Where, whole: bool = True) -> list[InputError]:
    """All that is wrong, each with its place. An empty list means the topology can be resolved.

    Of a source that is not `whole`, only what does not depend on the missing parts is judged.
    """
    findings = Findings(where)
    routers = routers_of(source)
    if whole and not 2 <= len(routers) <= MAX_ROUTERS:
        findings.wrong(
            f"{len(routers)} router{'' if len(routers) == 1 else 's'}", "links", allowed=f"2 to {MAX_ROUTERS} routers"
        )
    named = _names(source, routers, findings, whole)
    _links(source, findings)
    _lans(source, findings)
    _ospf(source, findings)
    check_addresses(source, findings)
    if whole and named and len(routers) > 1:
        check_graph(source, routers, findings)
    return findings.errors


def _names(source: TopologySource, routers: list[str], findings: Findings, whole: bool) -> bool:
    """Whether every name of a router that is used is one, and no name is used for two things."""
    unknown = False

    def known(name: str, *path: Any) -> None:
        nonlocal unknown
        if name not in routers and whole:
            unknown = True
            findings.wrong(f"unknown router {name!r}{nearest(name, routers)}", *path, allowed=some(routers))

    taken = dict.fromkeys(routers, "router")
    for index, link in enumerate(source.links):
        for end, name in enumerate(link.between):
            known(name, "links", index, "between", end)
    for name, lan in source.lans.items():
        for member in lan.routers:
            known(member, "lans", name, "routers", member)
        for key in ("costs", "addresses"):
            for member in getattr(lan, key) or ():
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
    if source.pim is not None:
        known(source.pim.rp, "pim", "rp")
    return not unknown


def _meanings(source: TopologySource, routers: list[str], findings: Findings) -> None:
    """Names that mean something else, and names that files and hosts do not tell apart."""
    places = {
        name: (section, what)
        for section, what, names in (
            ("lans", "LAN", source.lans),
            ("hosts", "host", source.hosts),
            ("routers", "router", routers),
        )
        for name in names
    }
    twins = alike([*routers, *source.hosts, *source.lans])
    for name, (section, what) in places.items():
        place = _first_use(source, section, name)
        if (reason := refusal(name, node=section != "lans")) is not None:
            findings.wrong(f"a {what} named {name!r}", *place, allowed=f"another name: {reason}")
        if name in twins:
            findings.wrong(
                f"{what} {name!r} differs from {places[twins[name]][1]} {twins[name]!r} in letter case only",
                *place,
                allowed="names that differ in more: host names have no letter case (RFC 4343)",
            )


def _segments(source: TopologySource, findings: Findings) -> None:
    """Names with two hyphens in a row can make two segments of one name, or one with the name of a node."""
    taken = {name: "that name" for name in (*routers_of(source), *source.hosts, *source.lans)}
    made: list[tuple[str, tuple[Any, ...]]] = [
        (name, ("links", index)) for index, name in enumerate(link_names(source))
    ]
    made += [(stub_name(host.on, name), ("hosts", name)) for name, host in source.hosts.items()]
    for name, place in made:
        if name in taken:
            findings.wrong(
                f"this segment would be called {name!r}, as {taken[name]} is", *place, allowed="names without '--'"
            )
        taken[name] = "another segment"


def _first_use(source: TopologySource, section: str, name: str) -> tuple[Any, ...]:
    """Where a name stands first in the file."""
    if section != "routers" or name in source.routers:
        return (section, name)
    for index, link in enumerate(source.links):
        if name in link.between:
            return ("links", index, "between", link.between.index(name))
    lan = next(lan for lan, told in source.lans.items() if name in told.routers)
    return ("lans", lan, "routers", name)


def _links(source: TopologySource, findings: Findings) -> None:
    for index, link in enumerate(source.links):
        one, other = link.between
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


def _ospf(source: TopologySource, findings: Findings) -> None:
    ospf = source.ospf
    if len(set(ospf.versions)) != len(ospf.versions):
        findings.wrong(f"ospf versions {ospf.versions}", "ospf", "versions", allowed="[2], [3] or [2, 3]")
    if ospf.dead <= ospf.hello:
        findings.wrong(
            f"dead {ospf.dead:g} s is not above hello {ospf.hello:g} s",
            *("ospf", "dead"),
            allowed=f"more than {ospf.hello:g}s, usually 4 times hello",
        )
