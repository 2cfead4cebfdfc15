"""Networks without OSPFv2: what IPv6 alone makes of addresses, paths, documents and what is judged."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest

from agents.ipsec.protection import RoutingProtocol
from agents.policy.compile import compile_documents
from agents.policy.domain import Settings
from testbed.analysis import adjacency
from testbed.analysis.convergence import converged_at, wanted
from testbed.domains.build import domain_of
from testbed.domains.keys import keys_of
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.keying.agents import commissioning_routes
from testbed.runner.experiment import find, names
from testbed.runner.simulated import Simulated
from testbed.topology.load import load
from testbed.topology.paths import expected_paths, segments_between
from testbed.topology.resolved import of_stub

OFFICE = load("office", "3")


def test_other_versions_of_ospf_than_the_topology_s_own_are_asked_for_by_number_and_told_by_the_name() -> None:
    assert (OFFICE.name, OFFICE.family, OFFICE.bare, OFFICE.pim) == ("office-ospf3", 6, True, None)
    both = load("ring:4", "2,3")
    assert (both.name, both.family, both.bare) == ("ring-4-ospf23", 4, False) and both.pim is not None
    assert load("ring:4", "2").family == 4
    with pytest.raises(InputError, match="unknown version of OSPF '4'"):
        load("ring:4", "4")


def test_routes_lead_to_ipv6_loopbacks_and_the_dks_over_link_local_addresses() -> None:
    table = expected_paths(OFFICE)["r4"]
    behind = OFFICE.routers["r1"].interface("r1-eth0").ipv6_link_local
    loopbacks = {OFFICE.routers[name].loopback6.network for name in ("r1", "r2", "r3")}
    dks = of_stub(6, OFFICE.dks.ipv4).network
    assert table == dict.fromkeys((*loopbacks, dks), frozenset({behind}))
    assert segments_between(OFFICE)["r4", "r2"] == {"r1--r4", "office"}
    assert set(wanted(OFFICE, expected_paths(OFFICE))) == {
        (one, OFFICE.routers[other].loopback6.network)
        for one in OFFICE.routers
        for other in OFFICE.routers
        if one != other
    }


@pytest.mark.parametrize("name", ["areas", "abilene", "grid:3x3", "lan", "nsfnet"])
def test_its_paths_lead_over_the_same_links_as_those_of_ospfv2(name: str) -> None:
    assert segments_between(load(name, "3")) == segments_between(load(name, "2"))


def test_a_stub_area_has_a_default_route_of_ipv6(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "ospf: {versions: [3], areas: {1: totally-stubby}}\nlinks: [a-b, {between: [b, c], area: 1}]\n"
    )
    topology = load(str(tmp_path / "t.yaml"))
    assert ip_network("::/0") in expected_paths(topology)["c"]
    assert segments_between(topology)["c", "a"] == {"b--c", "a--b"}


def test_links_have_no_ipv4_address_and_stubs_have_both() -> None:
    for router in OFFICE.routers.values():
        for each in router.interfaces:
            has = {address.version for address in OFFICE.addresses(each)}
            assert has == ({4, 6} if each.kind == "stub" else set()), each.label
    assert {address.version for address in load("office").addresses(router.interfaces[0])} == {4}


def test_documents_name_no_ipv4_address_of_a_link_and_the_dks_by_its_ipv6_address() -> None:
    address = OFFICE.dks.address_of(OFFICE.family)
    documents = compile_documents(domain_of(OFFICE, keys_of(1), address, Settings(validity_s=1 << 33)), 1, 0)
    for document in documents.values():
        assert document.dks.addresses == (address,) and not document.pairs
        for interface in document.interfaces:
            assert interface.address is interface.subnet is None and interface.protocols == (RoutingProtocol.OSPF6,)
            for neighbor in interface.neighbors:
                assert all(each.is_link_local for each in interface.between(neighbor))


def test_static_routes_of_the_first_power_on_are_of_ipv6() -> None:
    routes = list(commissioning_routes(OFFICE, OFFICE.routers["r4"]))
    assert len(routes) == 4 and all(each.startswith("fd0") and " via fe80::" in each for each in routes)


def test_adjacencies_and_convergence_are_those_of_ospfv3() -> None:
    ends = sorted(adjacency.expected(OFFICE))

    def told(daemon: str) -> list[dict[str, object]]:
        return [
            {"t": 7, "node": each.router, "source": "frr", "kind": "adjacency", "daemon": daemon, "state": "Full",
             "ifname": each.interface, "neighbor": str(OFFICE.routers[each.neighbor].router_id)}
            for each in ends
        ]  # fmt: skip

    assert (adjacency.up_at_end(OFFICE, told("ospf6d")), adjacency.up_at_end(OFFICE, told("ospfd"))) == (8, 0)
    first = ends[0]
    down = {"t": 9, "node": first.router, "source": "link", "kind": "down", "ifname": first.interface}
    assert adjacency.up_at_end(OFFICE, [*told("ospf6d"), down]) == 7, "ospf6d says nothing of it"
    routes = [
        {"t": 5 + number, "node": router, "source": "route", "kind": "add", "dst": str(prefix),
         "nexthops": [{"via": str(hop), "dev": "x"} for hop in hops]}
        for number, ((router, prefix), hops) in enumerate(wanted(OFFICE, expected_paths(OFFICE)).items())
    ]  # fmt: skip
    assert converged_at(OFFICE, routes, expected_paths(OFFICE)) == routes[-1]["t"]
    assert all(isinstance(ip_address(str(each["nexthops"][0]["via"])), IPv6Address) for each in routes)
    assert converged_at(OFFICE, routes[1:], expected_paths(OFFICE)) is None


@pytest.mark.parametrize("name", [each for each in names() if not isinstance(find(each), Simulated)])
def test_every_experiment_has_a_plan_for_ospfv3_alone_or_says_what_it_needs(name: str) -> None:
    experiment = find(name)
    topology = load(experiment.topology, "3")
    refused = {"pim_storm": "PIM"}
    if name in refused:
        with pytest.raises(InputError, match=refused[name]):
            experiment.plan(topology, "lks", 1, {})
        return
    plan = experiment.plan(topology, "lks", 1, {})
    check_plan(plan)
    assert not plan.streams
