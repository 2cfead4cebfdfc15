"""The routes OSPFv2 should have: shortest paths over interface costs, with all equal-cost next hops.

An independent computation (networkx, not FRR), so that a record can be compared with it. A segment of several
routers is a transit network: it costs what the sender's interface costs, and nothing to leave it (RFC 2328 §16.1).
One area; a topology of several is refused by the check stage.
"""

from __future__ import annotations

from collections.abc import Set
from ipaddress import IPv4Address, IPv4Network

import networkx

from testbed.topology.resolved import Interface, Topology

Routes = dict[str, dict[IPv4Network, frozenset[IPv4Address]]]


def expected_paths(topology: Topology, down: Set[str] = frozenset()) -> Routes:
    """Per router, every prefix it should have learned and the addresses of its next hops.

    `down` names routers, segments, or interfaces as "router:interface". A router's own loopback and the subnets
    it is connected to are not in its table, since OSPF does not install them.
    """
    alive = {name for name in topology.routers if name not in down}
    graph = networkx.DiGraph()
    graph.add_nodes_from(alive)
    owners: dict[IPv4Network, dict[str, int]] = {}
    connected: dict[str, set[IPv4Network]] = {}
    for name in alive:
        router = topology.routers[name]
        owners.setdefault(router.loopback.network, {})[name] = 0
        connected[name] = {router.loopback.network}
        for interface in router.interfaces:
            if interface.segment in down or f"{name}:{interface.name}" in down:
                continue
            owners.setdefault(interface.ipv4.network, {})[name] = interface.cost
            connected[name].add(interface.ipv4.network)
            if not interface.passive and interface.kind != "stub":
                graph.add_edge(name, ("segment", interface.segment), weight=interface.cost)
                graph.add_edge(("segment", interface.segment), name, weight=0)
    return {name: _routes(topology, graph, name, alive, owners, connected[name]) for name in alive}


def _routes(
    topology: Topology,
    graph: networkx.DiGraph,
    source: str,
    alive: Set[str],
    owners: dict[IPv4Network, dict[str, int]],
    connected: Set[IPv4Network],
) -> dict[IPv4Network, frozenset[IPv4Address]]:
    before, distance = networkx.dijkstra_predecessor_and_distance(graph, source)
    hops: dict[object, frozenset[IPv4Address]] = {source: frozenset()}
    for node in sorted(distance, key=lambda node: (distance[node], isinstance(node, str))):
        if node == source:
            continue
        found: set[IPv4Address] = set()
        for parent in before[node]:
            if hops.get(parent):
                found |= hops[parent]
            elif isinstance(node, str) and isinstance(parent, tuple):
                found.add(_on(topology, node, parent[1]).ipv4.ip)
        hops[node] = frozenset(found)
    routes = {}
    for prefix, announced in owners.items():
        if prefix in connected:
            continue
        reachable = {name: distance[name] + cost for name, cost in announced.items() if name in distance}
        if reachable:
            best = min(reachable.values())
            routes[prefix] = frozenset().union(*(hops[name] for name, cost in reachable.items() if cost == best))
    return routes


def _on(topology: Topology, router: str, segment: str) -> Interface:
    return next(i for i in topology.routers[router].interfaces if i.segment == segment)
