"""Steps of deployment under `issuer: dks`: how strictly keys are used is no reason for other keys."""

from __future__ import annotations

from agents.ipsec.protection import Mode
from agents.policy import edit
from agents.policy.domain import Domain, Settings
from testbed.simulation.network import Network, ring


def everywhere(domain: Domain, mode: Mode) -> Domain:
    for router in list(domain.routers.values()):
        for interface in router.interfaces:
            domain = edit.set_mode(domain, router.name, interface.name, mode)
    return domain


def test_a_change_of_mode_alone_leaves_every_key_where_it_is() -> None:
    network = Network(ring(4), settings=Settings(validity_s=1 << 33, issuer="dks", local_key_server=False), dks=True)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    before = {name: {(sa.spi, sa.keymat) for sa in network.nodes[name].kernel.sas} for name in network.routers}
    registrations = len(network.seen("registered", "dks"))
    network.publish(everywhere(network.domain, Mode.PERMISSIVE))
    network.run(10)
    for name in network.routers:
        node = network.nodes[name]
        assert {each.mode for each in node.kernel.interfaces} == {Mode.PERMISSIVE}
        assert {(sa.spi, sa.keymat) for sa in node.kernel.sas} == before[name]
    assert len(network.seen("registered", "dks")) == registrations
