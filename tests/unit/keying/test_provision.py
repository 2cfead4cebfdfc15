"""Provisioning a small topology: keys, documents and folders as the agents will find them."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from pathlib import Path

import pytest

from agents.ipsec.protection import RoutingProtocol
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.domain import Settings
from agents.policy.keys import read_private_key, read_public_key, spki
from testbed.domains.build import domain_of
from testbed.domains.keys import keys_of, laboratory_key
from testbed.errors import InputError
from testbed.keying import agents as modes
from testbed.keying.base import keying
from testbed.keying.manual import batch_lines
from testbed.keying.options import AgentOptions, options_of
from testbed.keying.provision import AgentFiles, provision
from testbed.topology.resolved import (
    DksAttachment,
    Interface,
    Management,
    ManagementInterface,
    Ospf,
    Pim,
    Router,
    Segment,
    Topology,
)


def _interface(router: int, number: int, segment: str, kind: str, address: str) -> Interface:
    return Interface(
        name=f"r{router}-eth{number}",
        router=f"r{router}",
        segment=segment,
        kind=kind,  # type: ignore[arg-type]
        mac=f"02:00:00:00:{router:02x}:{number:02x}",
        ipv4=IPv4Interface(address),
        ipv6_link_local=IPv6Address(f"fe80::{router}:{number}"),
        cost=10,
        passive=kind == "stub",
        pim=kind == "p2p",
    )


def small_topology() -> Topology:
    """r1 -- r2 on a link, r1, r2 and r3 on a LAN, the DKS on a stub of r3."""
    interfaces = {
        1: (_interface(1, 0, "r1--r2", "p2p", "10.0.0.1/30"), _interface(1, 1, "lan", "lan", "10.0.1.1/24")),
        2: (_interface(2, 0, "r1--r2", "p2p", "10.0.0.2/30"), _interface(2, 1, "lan", "lan", "10.0.1.2/24")),
        3: (_interface(3, 0, "lan", "lan", "10.0.1.3/24"), _interface(3, 1, "keys", "stub", "10.0.2.1/24")),
    }
    routers = {
        f"r{n}": Router(
            name=f"r{n}",
            router_id=IPv4Address(f"10.255.0.{n}"),
            loopback=IPv4Interface(f"10.255.0.{n}/32"),
            loopback6=IPv6Interface(f"fd00::{n}/128"),
            interfaces=interfaces[n],
        )
        for n in interfaces
    }
    return Topology(
        name="small",
        domain="example",
        routers=routers,
        segments={
            "r1--r2": Segment(name="r1--r2", kind="p2p", members=(("r1", "r1-eth0"), ("r2", "r2-eth0"))),
            "lan": Segment(name="lan", kind="lan", members=(("r1", "r1-eth1"), ("r2", "r2-eth1"), ("r3", "r3-eth0"))),
            "keys": Segment(name="keys", kind="stub", members=(("r3", "r3-eth1"), ("dks", "dks-eth0"))),
        },
        hosts={},
        ospf=Ospf(v2=True, v3=True),
        pim=Pim(rp="r1", rp_address=IPv4Address("10.255.0.1")),
        dks=DksAttachment(
            router="r3",
            segment="keys",
            interface="dks-eth0",
            ipv4=IPv4Interface("10.0.2.9/24"),
            gateway=IPv4Address("10.0.2.1"),
            management=Management(
                subnet=IPv4Network("10.250.0.0/24"),
                address=IPv4Address("10.250.0.1"),
                routers={
                    f"r{n}": ManagementInterface(name=f"r{n}-mgmt", ipv4=IPv4Interface(f"10.250.0.1{n}/24"))
                    for n in interfaces
                },
            ),
        ),
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def provisioned(
    topology: Topology, folder: Path, settings: Settings, clear: Collection[RoutingProtocol] = ()
) -> dict[str, PolicyDocument]:
    domain = domain_of(topology, keys_of(1), topology.dks.address, settings, clear=clear)
    return provision(topology, domain, folder, 1)


def test_every_router_finds_its_identity_and_a_document_that_names_it(tmp_path: Path) -> None:
    keying("lks").prepare(small_topology(), tmp_path, 7, AgentOptions())
    server = laboratory_key(7, "policy-server").public_key()
    for name in ("r1", "r2", "r3"):
        places = AgentFiles(tmp_path / "retained" / name)
        assert places.identity.stat().st_mode & 0o777 == 0o600
        assert spki(read_public_key(places.policy_server_key)) == spki(server)
        document = verify_document(places.document.read_bytes(), server, domain="example", router=name)
        assert document.identity == spki(read_private_key(places.identity)) and document.issuer == "lks"
        copy = AgentFiles(tmp_path / "retained" / "dks").documents / f"{name}.cose"
        assert copy.read_bytes() == places.document.read_bytes()


def test_documents_hold_every_adjacency_and_protocol_and_leave_stubs_out(tmp_path: Path) -> None:
    settings = AgentOptions().settings(issuer="lks", local_key_server=True)
    documents = provisioned(small_topology(), tmp_path, settings)
    link, lan = documents["r1"].interfaces
    assert [each.router for each in link.neighbors] == ["r2"]
    assert {each.router for each in lan.neighbors} == {"r2", "r3"}
    assert link.protocols == (RoutingProtocol.OSPF, RoutingProtocol.OSPF6, RoutingProtocol.PIM)
    assert lan.protocols == (RoutingProtocol.OSPF, RoutingProtocol.OSPF6)
    assert [each.name for each in documents["r3"].interfaces] == ["r3-eth0"]


def test_one_seed_gives_the_same_files_and_another_gives_other_keys(tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        keying("lks").prepare(small_topology(), tmp_path / folder, seed, AgentOptions())
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    assert laboratory_key(1, "r1").private_bytes_raw() != laboratory_key(2, "r1").private_bytes_raw()


def test_the_central_modes_say_that_the_dks_makes_the_keys_and_where_it_is(tmp_path: Path) -> None:
    for mode, address in (("central", "10.0.2.9"), ("central-mgmt", "10.250.0.1")):
        keying(mode).prepare(small_topology(), tmp_path / mode, 1, keying(mode).options())
        data = AgentFiles(tmp_path / mode / "retained" / "r1").document.read_bytes()
        document = verify_document(data, laboratory_key(1, "policy-server").public_key(), domain="example")
        assert (document.issuer, document.local_key_server) == ("dks", False)
        assert [str(each) for each in document.dks.addresses] == [address]


def test_settings_of_the_plan_go_into_the_documents_and_bad_ones_are_named() -> None:
    given = options_of(AgentOptions, {"policy": {"lifetimes": {"group_s": 120}}})
    assert isinstance(given, AgentOptions)
    settings = given.settings(issuer="dks", local_key_server=False)
    assert (settings.lifetimes.group_s, settings.issuer, settings.local_key_server) == (120, "dks", False)
    assert given.model_dump(mode="json") == {"policy": {"lifetimes": given.policy.lifetimes.model_dump()}}
    with pytest.raises(InputError, match="lifetimes"):
        options_of(AgentOptions, {"policy": {"lifetimes": {"group_s": 1}}})


def test_commissioning_routes_lead_to_every_prefix_over_the_routers_own_links() -> None:
    topology = small_topology()
    routes = list(modes.commissioning_routes(topology, topology.routers["r1"]))
    assert any(each.startswith("10.0.2.0/24 via 10.0.1.3 dev r1-eth1 ") for each in routes)
    assert all(each.endswith("table 848") for each in routes)


def test_a_protocol_is_left_in_clear_and_the_others_are_protected(tmp_path: Path) -> None:
    topology, clear = small_topology(), options_of(AgentOptions, {"clear": "ospf,ospf6"})
    assert isinstance(clear, AgentOptions)
    documents = provisioned(topology, tmp_path, Settings(), clear.in_clear)
    for document in documents.values():
        assert {group.protocol for group in document.own_groups()} <= {"pim"}
    assert documents["r1"].own_groups()
    text = "\n".join(batch_lines(topology, topology.routers["r1"], "proto esp spi 0x100", clear.in_clear))
    assert "224.0.0.13" in text and "224.0.0.5" not in text and "proto 89" not in text
    free = provisioned(topology, tmp_path / "free", Settings(), [RoutingProtocol.PIM])
    assert {group.protocol for group in free["r1"].own_groups()} == {"ospf", "ospf6"}
