"""The domain: its checks, its edits, the documents made of it, and the layout of SPIs."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Address, ip_address
from types import ModuleType

import pytest

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import edit
from agents.policy.compile import compile_documents
from agents.policy.difference import difference
from agents.policy.document import PolicyDocument, decode_document, encode_document
from agents.policy.domain import Domain
from agents.policy.errors import PolicyError
from agents.policy.keys import spki
from agents.policy.problems import problems, validate
from agents.policy.spi import SaSlot, sa_slots

OSPF = RoutingProtocol.OSPF


def lan_domain(samples: ModuleType, size: int = 3) -> Domain:
    """Routers r1…rN on one LAN, all approved and allowed."""
    names = [f"r{n}" for n in range(1, size + 1)]
    domain: Domain = samples.domain(*names)
    for number, name in enumerate(names, 1):
        address = IPv4Interface(f"10.1.0.{number}/24"), IPv6Address(f"fe80::{number}")
        domain = edit.add_interface(domain, name, "eth0", *address, "lan", tuple(RoutingProtocol), Mode.REQUIRED)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            domain = edit.allow(domain, (one, "eth0"), (other, "eth0"))
    return domain


def without_ipv4(domain: Domain, *names: str, protocols: tuple[str, ...] = ("ospf6",)) -> Domain:
    """The same with these routers' interfaces of IPv6 alone."""
    wanted = tuple(RoutingProtocol(each) for each in protocols)
    for name in names:
        entry = domain.router(name)
        bare = entry.interfaces[0].model_copy(update={"address": None, "protocols": wanted})
        entry = entry.model_copy(update={"interfaces": (bare,)})
        domain = domain.model_copy(update={"routers": {**domain.routers, name: entry}})
    return domain


def test_a_link_without_ipv4_has_documents_that_say_link_local_addresses_alone(samples: ModuleType) -> None:
    document = compile_documents(without_ipv4(lan_domain(samples, 2), "r1", "r2"), 1, 0)["r1"]
    (interface,) = document.interfaces
    assert interface.between(interface.neighbors[0]) == (IPv6Address("fe80::1"), IPv6Address("fe80::2"))
    assert interface.addresses == {IPv6Address("fe80::1")}
    octets = encode_document(document)
    assert decode_document(octets) == document and b"subnet" not in octets and b"10.1.0." not in octets


def test_ike_goes_over_ipv4_only_where_both_ends_have_it(samples: ModuleType) -> None:
    whole = without_ipv4(lan_domain(samples, 3), "r1", "r2", "r3")
    entry = lan_domain(samples, 3).router("r1").interfaces[0].model_copy(update={"protocols": (RoutingProtocol.OSPF6,)})
    mixed = {**whole.routers, "r1": whole.router("r1").model_copy(update={"interfaces": (entry,)})}
    document = compile_documents(whole.model_copy(update={"routers": mixed}), 1, 0)["r1"]
    assert {document.interfaces[0].between(each)[0] for each in document.interfaces[0].neighbors} == {
        IPv6Address("fe80::1")
    }


@pytest.mark.parametrize("protocols", [("ospf",), ("ospf6", "pim")])
def test_a_protocol_of_ipv4_on_a_link_without_ipv4_is_refused_by_name(
    samples: ModuleType, protocols: tuple[str, ...]
) -> None:
    bad = without_ipv4(lan_domain(samples, 2), "r1", "r2", protocols=protocols)
    with pytest.raises(PolicyError, match=rf"r1:eth0 has no IPv4 address, which {protocols[-1]} needs"):
        compile_documents(bad, 1, 0)


def test_two_ends_of_a_link_with_one_link_local_address_are_refused(samples: ModuleType) -> None:
    bad = without_ipv4(lan_domain(samples, 2), "r1", "r2")
    entry = bad.router("r2").interfaces[0].model_copy(update={"address6": IPv6Address("fe80::1")})
    twin = bad.router("r2").model_copy(update={"interfaces": (entry,)})
    with pytest.raises(PolicyError, match="both ends have the link-local address fe80::1"):
        compile_documents(bad.model_copy(update={"routers": {**bad.routers, "r2": twin}}), 1, 0)


def all_places(document: PolicyDocument) -> list[SaSlot]:
    """Every SA that a router may have as a speaker."""
    return [
        place
        for interface in document.interfaces
        for protocol in interface.protocols
        for place in sa_slots(interface, protocol)
    ]


def spi_for(document: PolicyDocument, interface: str, protocol: object, destination: object, generation: int) -> int:
    (spi,) = [
        place.spi(document.spi, generation)
        for place in all_places(document)
        if (place.interface, place.protocol, place.destination) == (interface, protocol, destination)
    ]
    return spi


def test_no_two_sas_of_a_domain_have_one_spi_in_any_generation(samples: ModuleType) -> None:
    documents = compile_documents(lan_domain(samples, 6), 1, 0)
    spis = [
        place.spi(document.spi, generation)
        for document in documents.values()
        for place in all_places(document)
        for generation in range(1 << document.spi.generation_bits)
    ]
    assert len(set(spis)) == len(spis) and min(spis) >= 256


def test_an_spi_stays_with_its_sa_when_neighbours_go(samples: ModuleType) -> None:
    domain = lan_domain(samples)
    before = compile_documents(domain, 1, 0)["r1"]
    after = compile_documents(edit.remove_router(domain, "r2"), 2, 0)["r1"]
    for destination in ("224.0.0.5", "10.1.0.3"):
        where = ("eth0", OSPF, ip_address(destination), 5)
        assert spi_for(before, *where) == spi_for(after, *where)
    assert all(place.destination != ip_address("10.1.0.2") for place in all_places(after))


def test_generations_wrap_inside_their_own_row(samples: ModuleType) -> None:
    document = compile_documents(lan_domain(samples), 1, 0)["r1"]
    where = ("eth0", OSPF, ip_address("224.0.0.5"))
    rows = 1 << document.spi.generation_bits
    assert spi_for(document, *where, 3) == spi_for(document, *where, 3 + rows) != spi_for(document, *where, 4)


def test_a_removed_routers_spi_block_is_not_given_to_another(samples: ModuleType) -> None:
    domain = lan_domain(samples)
    old = domain.router("r3").spi
    domain = edit.add_router(edit.remove_router(domain, "r3"), "r4", spki(samples.private_key("r4")))
    assert domain.router("r4").spi.base >= old.base + old.size


def test_a_router_that_is_not_approved_is_in_nobodys_document(samples: ModuleType) -> None:
    domain = lan_domain(samples)
    domain = domain.model_copy(
        update={"routers": {**domain.routers, "r2": domain.router("r2").model_copy(update={"approved": False})}}
    )
    documents = compile_documents(domain, 1, 0)
    assert set(documents) == {"r1", "r3"}
    assert [each.router for each in documents["r1"].interfaces[0].neighbors] == ["r3"]


def test_only_documents_with_other_content_get_the_new_version(samples: ModuleType) -> None:
    domain = lan_domain(samples)
    first = compile_documents(domain, 1, 100)
    second = compile_documents(edit.deny(domain, ("r1", "eth0"), ("r2", "eth0")), 2, 200, first)
    assert {name: each.version for name, each in second.items()} == {"r1": 2, "r2": 2, "r3": 1}


def test_approving_under_another_key_is_refused(samples: ModuleType) -> None:
    domain = edit.add_router(lan_domain(samples), "r9", spki(samples.private_key("r9")))
    with pytest.raises(PolicyError, match="a different key"):
        edit.approve_router(domain, "r9", spki(samples.private_key("r8")))


def test_every_inconsistency_is_named_before_anything_is_signed(samples: ModuleType) -> None:
    domain = lan_domain(samples)
    assert problems(domain) == []
    r1, r2 = domain.router("r1"), domain.router("r2")
    eth0 = r1.interfaces[0]

    def having(router: object) -> Domain:
        return domain.model_copy(update={"routers": {**domain.routers, router.name: router}})  # type: ignore[attr-defined]

    def on_eth0(**changes: object) -> Domain:
        return having(r1.model_copy(update={"interfaces": (eth0.model_copy(update=changes),)}))

    for wrong, words in (
        (having(r2.model_copy(update={"key": r1.key})), "same key"),
        (having(r2.model_copy(update={"spi": r1.spi})), "overlap"),
        (on_eth0(address=IPv4Interface("10.1.0.2/24")), "same address"),
        (on_eth0(address=IPv4Interface("10.2.0.1/24")), "different subnets"),
        (on_eth0(address6=IPv6Address("fd00::1")), "link-local"),
        (on_eth0(link="p2p"), "point-to-point"),
        (on_eth0(protocols=(OSPF,)), "different protocols"),
        (on_eth0(mode=Mode.CLEAR), "cannot understand each other"),
        (having(r1.model_copy(update={"interfaces": ()})), "there is no r1:eth0"),
    ):
        with pytest.raises(PolicyError, match=words):
            validate(wrong)
        with pytest.raises(PolicyError):
            compile_documents(wrong, 1, 0)


def test_a_difference_says_each_change_once(samples: ModuleType) -> None:
    domain = lan_domain(samples)
    changed = edit.set_mode(edit.deny(domain, ("r1", "eth0"), ("r2", "eth0")), "r3", "eth0", Mode.PERMISSIVE)
    assert difference(domain, domain) == []
    assert difference(domain, changed) == [
        "~ interface r3:eth0: mode required -> permissive",
        "- adjacency r1:eth0 -- r2:eth0",
    ]


def test_a_domain_comes_back_from_json(samples: ModuleType) -> None:
    domain = lan_domain(samples)
    assert Domain.model_validate_json(domain.model_dump_json()) == domain


def test_two_routers_are_not_told_apart_by_letter_case_alone(samples: ModuleType) -> None:
    domain = lan_domain(samples)
    for name, match in (("R1", "only in letter case"), ("DKS", "cannot be a router's name"), ("r1", "already")):
        with pytest.raises(PolicyError, match=match):
            edit.add_router(domain, name, spki(samples.private_key("other")))
