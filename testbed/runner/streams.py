"""The usual multicast streams of a topology, by a rule that uses the topology only.

Ends are hosts if the topology has two or more of them, else routers. Sources are far from the rendezvous point and from
each other, receivers as far apart as possible: so trees have branches, and the shared tree differs from the source
trees. Knows nothing of experiments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testbed.analysis.links import ends_of
from testbed.record.plan import Stream
from testbed.topology.rendezvous import costs
from testbed.topology.resolved import Topology

SOURCES = 2
RECEIVERS = 4
RATE_PPS = 5.0
ANY_SOURCE, SOURCE_SPECIFIC = "239.1.1", "232.1.1"


def usual_streams(
    topology: Topology,
    since_s: float = 0.0,
    until_s: float | None = None,
    *,
    rate_pps: float = RATE_PPS,
    sources: int = SOURCES,
    receivers: int = RECEIVERS,
) -> list[Stream]:
    """For each of `sources` nodes an any-source stream `any-1`, … (239.1.1.1, …) and a source-specific one,
    `specific-1`, … (232.1.1.1, …), all with the same receivers. Fewer where nodes are few; none without PIM. Seconds as
    in a plan."""
    return streams_of(*ends(topology, sources, receivers), since_s, until_s, rate_pps=rate_pps)


def streams_of(
    senders: Sequence[str],
    listeners: Sequence[str],
    since_s: float = 0.0,
    until_s: float | None = None,
    *,
    rate_pps: float = RATE_PPS,
) -> list[Stream]:
    """The same streams from and to these nodes."""
    return [
        Stream(
            name=f"{kind}-{number}",
            source=source,
            group=f"{groups}.{number}",
            receivers=tuple(listeners),
            rate_pps=rate_pps,
            since_s=since_s,
            until_s=until_s,
            specific=kind == "specific",
        )
        for number, source in enumerate(senders, 1)
        for kind, groups in (("any", ANY_SOURCE), ("specific", SOURCE_SPECIFIC))
    ]


def streams_over(topology: Topology, link: str) -> list[Stream]:
    """Multicast streams from one end of a link to the other, and to the usual receivers. None without PIM."""
    one, other = ends_of(topology, link)
    _senders, usual = ends(topology)
    listeners = [other, *(name for name in usual if name not in (one, other))]
    return streams_of([one], listeners) if topology.pim is not None else []


def ends(topology: Topology, sources: int = SOURCES, receivers: int = RECEIVERS) -> tuple[list[str], list[str]]:
    """The sources and receivers. The rendezvous point is neither, unless there is no other node."""
    if topology.pim is None:
        return [], []
    away, point = costs(topology), topology.pim.rp
    router = _routers_of_hosts(topology)
    if len(router) < 2:
        router = {name: name for name in topology.routers if name in away[point]}
    if len(router) > 2:
        router = {name: behind for name, behind in router.items() if behind != point}
    chosen: list[str] = []

    def furthest(known: Iterable[str]) -> str:
        """The node with the greatest least cost from the known ones; of several, the first name."""
        near = {
            name: min(away[each].get(behind, 0) for each in known)
            for name, behind in router.items()
            if name not in chosen
        }
        return min(near, key=lambda name: (-near[name], name))

    while len(chosen) < min(sources + receivers, len(router)):
        chosen.append(furthest([router[name] for name in chosen] or [point]))
    many = min(sources, len(chosen) // 2)
    return chosen[:many], sorted(chosen[many : many + receivers])


def _routers_of_hosts(topology: Topology) -> dict[str, str]:
    """Every host whose router speaks PIM towards it, and that router."""
    behind = {
        interface.segment: interface.router
        for router in topology.routers.values()
        for interface in router.interfaces
        if interface.pim
    }
    return {name: behind[host.segment] for name, host in topology.hosts.items() if host.segment in behind}
