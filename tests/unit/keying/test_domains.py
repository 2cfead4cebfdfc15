"""The one builder of domains: what runs in the guest is simulated too, and drawn networks are whole topologies."""

from __future__ import annotations

import pytest

from agents.ipsec.protection import RoutingProtocol
from agents.policy.compile import compile_documents
from agents.policy.domain import Settings
from testbed.domains.build import domain_of
from testbed.domains.drawn import DKS_ADDRESS, ring, wired
from testbed.domains.keys import keys_of
from testbed.simulation.network import Network
from testbed.topology.resolved import Topology

SETTINGS = Settings(validity_s=1 << 33)


def test_a_topology_of_the_guest_is_simulated_with_its_interfaces_and_its_rendezvous_point() -> None:
    topology = Topology.load("line:3")
    network = Network(topology, settings=SETTINGS)
    network.power_on_all()
    assert network.run(60, network.all_keyed)
    assert {name for node in network.nodes.values() for name in node.interfaces} == {
        end.name for segment in topology.segments for end in topology.ends(segment) if end.kind != "stub"
    }
    point = next(router.name for router in topology.routers.values() if router.pim_rp)
    others = set(topology.routers) - {point}
    assert network.run(90, lambda: {each.node for each in network.seen("pair", state="keyed")} >= others)


def test_the_documents_of_the_guest_and_of_a_simulation_differ_in_keys_and_the_address_of_the_dks_alone() -> None:
    topology = Topology.load("ring:3")
    guest = compile_documents(domain_of(topology, keys_of(7), topology.dks.address, SETTINGS), 1, 0)
    simulated = Network(topology, settings=SETTINGS).documents
    for name, document in guest.items():
        other = simulated[name]
        assert document.spi == other.spi and document.pairs and len(document.pairs) == len(other.pairs)
        for here, there in zip(document.interfaces, other.interfaces, strict=True):
            assert here.model_copy(update={"neighbors": ()}) == there.model_copy(update={"neighbors": ()})


@pytest.mark.parametrize(
    "topology", [wired({"a--b": ("a", "b"), "lan": ("b", "c", "d")}), ring(4)], ids=["wired", "ring"]
)
def test_a_drawn_network_is_a_topology_with_every_pair_on_a_segment_allowed(topology: Topology) -> None:
    domain = domain_of(topology, keys_of(1), DKS_ADDRESS, SETTINGS, points=False)
    assert len(domain.adjacencies) == topology.graph().number_of_edges() == 4
    assert set(compile_documents(domain, 1, 0)) == set(topology.routers)


def test_links_of_a_drawn_network_without_ipv4_have_no_addresses_of_it() -> None:
    domain = domain_of(wired({"l": ("a", "b")}, (RoutingProtocol.OSPF6,)), keys_of(1), DKS_ADDRESS, SETTINGS)
    assert [each.address for router in domain.routers.values() for each in router.interfaces] == [None, None]
