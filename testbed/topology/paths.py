"""The routes OSPF should have: shortest paths over interface costs, with all equal-cost next hops.

Those of OSPFv2 or, in a network without it, of OSPFv3, which computes them in the same way (RFC 5340 §4.8).

An independent computation (networkx, not FRR), so that a record can be compared with it. A segment of several
routers is a transit network: it costs what the sender's interface costs, and nothing to leave it (RFC 2328 §16.1).
Within an area paths are shortest; between areas they go through the backbone, from border router to border router
(§16.2), and a path within an area goes first even when one around it is shorter (§11). Into a stub area its border
routers announce a default route, FRR's also into one that is not so stubby, and into a totally stubby one nothing else
(§12.4.3.1, RFC 3101 §2.7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from ipaddress import ip_network

import networkx

from testbed.topology.adjacent import transits
from testbed.topology.resolved import BACKBONE, Family, Interface, IPAddress, IPNetwork, Router, Topology

DEFAULTS: dict[Family, IPNetwork] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
DEFAULT_COST = 1
"""What FRR's border routers ask for the default route that they announce into an area that is not normal."""
WITHOUT_SUMMARIES = frozenset({"totally-stubby", "totally-nssa"})

Hops = frozenset[IPAddress]
Routes = dict[str, dict[IPNetwork, Hops]]


@dataclass(frozen=True)
class Path:
    """What a prefix costs from a router, and through whom."""

    cost: int
    hops: Hops


def best(paths: Iterable[Path]) -> Path | None:
    """The cheapest, with the next hops of all that are as cheap."""
    known = list(paths)
    if not known:
        return None
    least = min(path.cost for path in known)
    return Path(least, frozenset().union(*(path.hops for path in known if path.cost == least)))


@dataclass
class _Area:
    """One area: who is in it, what they announce into it, and the shortest paths between them."""

    graph: networkx.DiGraph = field(default_factory=networkx.DiGraph)
    announced: dict[IPNetwork, dict[str, int]] = field(default_factory=dict)
    trees: dict[str, dict[str, Path]] = field(default_factory=dict)

    def intra(self, router: str) -> dict[IPNetwork, Path]:
        """The paths of a router in this area to what is announced in it."""
        tree, paths = self.trees[router], {}
        for prefix, owners in self.announced.items():
            path = best(Path(tree[name].cost + cost, tree[name].hops) for name, cost in owners.items() if name in tree)
            if path is not None:
                paths[prefix] = path
        return paths


def home_area(router: Router) -> str:
    """The area of a router's loopback: the backbone if it is there, else that of its first interface."""
    areas = [interface.area for interface in router.interfaces]
    return BACKBONE if not areas or BACKBONE in areas else areas[0]


def expected_paths(topology: Topology, down: Set[str] = frozenset()) -> Routes:
    """Per router, every prefix it should have learned and the addresses of its next hops.

    `down` names routers, segments, or interfaces as "router:interface", which are without carrier; at the far end of
    a point-to-point link so is the neighbour's interface. A router's own loopback and the subnets it is connected to
    are not in its table, since OSPF does not install them.
    """
    family = topology.family
    alive = {name: router for name, router in topology.routers.items() if name not in down}
    ends = {end for router in topology.routers.values() for end in router.interfaces}
    lit = {end for end in ends if end.router in alive and has_carrier(topology, end, down)}
    unlit = ends - lit
    areas: dict[str, _Area] = {}
    connected: dict[str, set[IPNetwork]] = {}
    for name, router in alive.items():
        home = areas.setdefault(home_area(router), _Area())
        home.graph.add_node(name)
        home.announced.setdefault(router.loopback_of(family).network, {})[name] = 0
        connected[name] = {router.loopback_of(family).network}
        for interface in router.interfaces:
            if interface in lit:
                _announce(areas.setdefault(interface.area, _Area()), interface, family)
                connected[name].update(interface.networks(family))
    for segment in topology.segments.values():
        for number, together in enumerate(transits(topology, segment, unlit)):
            _join(areas, together, ("segment", segment.name, number))
    for area in areas.values():
        area.trees = {name: _tree(topology, area.graph, name) for name in area.graph if isinstance(name, str)}
    tables = _tables(areas, alive, family)
    return {
        name: {prefix: path.hops for prefix, path in table.items() if prefix not in connected[name]}
        for name, table in tables.items()
    }


def hops_to(table: Mapping[IPNetwork, Hops], address: IPAddress) -> Hops:
    """The next hops of the most special route to an address; none without a route."""
    prefixes = [each for each in table if address in each]
    return table[max(prefixes, key=lambda each: each.prefixlen)] if prefixes else frozenset()


def segments_between(topology: Topology) -> dict[tuple[str, str], frozenset[str]]:
    """For each two routers the links and LANs that the shortest paths from the first to the other's loopback lead over.
    Those that no path joins are left out."""
    tables, used = expected_paths(topology), dict[tuple[str, str], frozenset[str]]()
    near = {
        (name, topology.routers[node].interface(end).hop(topology.family)): (each.segment, node)
        for name, router in topology.routers.items()
        for each in router.interfaces
        for node, end in topology.segments[each.segment].members
        if node in topology.routers and node != name
    }
    for other, router in topology.routers.items():
        steps = networkx.DiGraph()
        for name, table in tables.items():
            for hop in hops_to(table, router.loopback_of(topology.family).ip) if name != other else ():
                segment, node = near[name, hop]
                steps.add_edge(name, node)
                steps[name][node].setdefault("segments", set()).add(segment)
        for name in reversed(list(networkx.topological_sort(steps))):
            onward = (used.get((node, other), frozenset()) | each["segments"] for node, each in steps[name].items())
            if ways := frozenset[str]().union(*onward):
                used[name, other] = ways
    return used


def has_carrier(topology: Topology, interface: Interface, down: Set[str]) -> bool:
    """Whether an interface has carrier; `down` as for expected_paths."""
    segment = topology.segments[interface.segment]
    ends = segment.members if segment.kind == "p2p" else ((interface.router, interface.name),)
    return segment.name not in down and not any(node in down or f"{node}:{end}" in down for node, end in ends)


def _announce(area: _Area, interface: Interface, family: Family) -> None:
    area.graph.add_node(interface.router)
    for network in interface.networks(family):
        area.announced.setdefault(network, {})[interface.router] = interface.cost


def _join(areas: Mapping[str, _Area], together: Set[Interface], node: tuple[str, str, int]) -> None:
    """Routers that a segment joins: it costs what the sender's interface costs, and nothing to leave it."""
    for interface in sorted(together, key=lambda each: each.name):
        graph = areas[interface.area].graph
        graph.add_edge(interface.router, node, weight=interface.cost)
        graph.add_edge(node, interface.router, weight=0)


def _tables(
    areas: Mapping[str, _Area], alive: Mapping[str, Router], family: Family
) -> dict[str, dict[IPNetwork, Path]]:
    """Every router's table: within its areas, then through the backbone, then from the borders into other areas."""
    tables: dict[str, dict[IPNetwork, Path]] = {name: {} for name in alive}
    for area in areas.values():
        for name in area.trees:
            for prefix, path in area.intra(name).items():
                known = tables[name].get(prefix)
                better = path if known is None else best([known, path])
                tables[name][prefix] = better or path
    backbone = areas.get(BACKBONE)
    if backbone is None or len(areas) == 1:
        return tables
    borders = {name for name in backbone.trees if any(name in a.trees for k, a in areas.items() if k != BACKBONE)}
    inside = {name: dict(tables[name]) for name in borders}
    for name in backbone.trees:
        for prefix, path in _through(backbone.trees[name], borders - {name}, inside).items():
            tables[name].setdefault(prefix, path)
    summaries = {name: dict(tables[name]) for name in borders}
    for key, area in areas.items():
        for name in area.trees:
            if key != BACKBONE and name not in borders:
                summarised = {
                    border: _summarised(alive[border], key, summaries[border], family)
                    for border in borders & area.trees.keys()
                }
                for prefix, path in _through(area.trees[name], summarised.keys(), summarised).items():
                    tables[name].setdefault(prefix, path)
    return tables


def _summarised(
    border: Router, area: str, summaries: Mapping[IPNetwork, Path], family: Family
) -> Mapping[IPNetwork, Path]:
    """What a border router announces into an area, by the type that it takes the area for."""
    kind = border.area_types.get(area, "normal")
    default = {DEFAULTS[family]: Path(DEFAULT_COST, frozenset())} if kind != "normal" else {}
    return default if kind in WITHOUT_SUMMARIES else {**summaries, **default}


def _through(
    tree: Mapping[str, Path], borders: Set[str], tables: Mapping[str, Mapping[IPNetwork, Path]]
) -> dict[IPNetwork, Path]:
    """The paths to what border routers announce into an area, over the area's own shortest paths to them."""
    offers: dict[IPNetwork, list[Path]] = {}
    for border in borders:
        if border in tree:
            for prefix, path in tables[border].items():
                offers.setdefault(prefix, []).append(Path(tree[border].cost + path.cost, tree[border].hops))
    return {prefix: shortest for prefix, paths in offers.items() if (shortest := best(paths)) is not None}


def _tree(topology: Topology, graph: networkx.DiGraph, source: str) -> dict[str, Path]:
    """The shortest paths from a router to every other in its area."""
    before, distance = networkx.dijkstra_predecessor_and_distance(graph, source)
    hops: dict[object, Hops] = {source: frozenset()}
    for node in sorted(distance, key=lambda node: (distance[node], isinstance(node, str))):
        if node == source:
            continue
        addresses: set[IPAddress] = set()
        for parent in before[node]:
            if isinstance(node, str) and source in before[parent]:
                # The segment is attached to the source: the next hop is the router on it itself (RFC 2328 §16.1.1,
                # second case), also when the segment is as near by way of another router.
                addresses.add(_on(topology, node, parent[1]).hop(topology.family))
            else:
                addresses |= hops[parent]
        hops[node] = frozenset(addresses)
    return {node: Path(cost, hops[node]) for node, cost in distance.items() if isinstance(node, str)}


def _on(topology: Topology, router: str, segment: str) -> Interface:
    return next(i for i in topology.routers[router].interfaces if i.segment == segment)
