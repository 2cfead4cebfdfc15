"""Pairs for unicast PIM: who gets one with whom, which addresses it has, and what is refused."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from itertools import pairwise
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import edit
from agents.policy.compile import compile_documents
from agents.policy.difference import difference
from agents.policy.document import (
    PairPolicy,
    PolicyDocument,
    decode_document,
    encode_document,
    sign_document,
    verify_document,
)
from agents.policy.domain import Domain
from agents.policy.errors import PolicyError
from agents.policy.keys import spki
from agents.policy.problems import problems
from agents.policy.revocation import Revocations, Revoked, key_hash, make_list, sign_list

A = IPv4Address


@pytest.fixture
def line(samples: ModuleType) -> Domain:
    """r1 – r2 – r3 – r4, with PIM but for r4, a link with sources at r1, and r3 the rendezvous point."""
    names = ["r1", "r2", "r3", "r4"]
    domain: Domain = samples.domain(*names)
    for number, (one, other) in enumerate(pairwise(names)):
        pim = (RoutingProtocol.PIM,) if other != "r4" else (RoutingProtocol.OSPF,)
        for host, name, interface in ((1, one, "right"), (2, other, "left")):
            address = IPv4Interface(f"10.0.{number}.{host}/30"), IPv6Address(f"fe80::{number}:{host}")
            domain = edit.add_interface(domain, name, interface, *address, "p2p", pim)
        domain = edit.allow(domain, (one, "right"), (other, "left"))
    stub = IPv4Interface("10.1.0.1/24"), IPv6Address("fe80::99")
    domain = edit.add_interface(domain, "r1", "stub", *stub, "lan", (RoutingProtocol.PIM,), Mode.CLEAR)
    return edit.set_point(domain, "r3", A("10.3.3.3"))


def documents(domain: Domain) -> dict[str, PolicyDocument]:
    return compile_documents(domain, 1, 0)


def test_every_pim_router_has_a_pair_with_the_rendezvous_point_and_it_with_each(line: Domain) -> None:
    found = documents(line)
    assert {name: [each.router for each in document.pairs] for name, document in found.items()} == {
        "r1": ["r3"],
        "r2": ["r3"],
        "r3": ["r1", "r2"],
        "r4": [],
    }
    assert found["r4"].points == () and [each.own for each in found["r3"].points] == [True]


def test_both_ends_of_a_pair_say_the_same_and_one_of_them_begins(line: Domain) -> None:
    found = documents(edit.set_point(line, "r2", A("10.2.2.2")))
    for document in found.values():
        for pair in document.pairs:
            there = next(each for each in found[pair.router].pairs if each.router == document.router)
            assert (there.local, there.remote, there.mode) == (pair.remote, pair.local, pair.mode)
            assert there.initiator is not pair.initiator
            assert pair.key == found[pair.router].identity


def test_a_router_registers_from_its_links_without_neighbours_unless_it_is_told_others(line: Domain) -> None:
    assert documents(line)["r1"].pairs[0].local == (A("10.1.0.1"),)
    assert documents(line)["r2"].pairs[0].local == (A("10.0.0.2"),)
    told = edit.set_sources(line, "r1", [A("10.1.0.1"), A("10.1.1.1")])
    assert documents(told)["r3"].pairs[0].remote == (A("10.1.0.1"), A("10.1.1.1"))
    assert "~ router r1: registers from none -> 10.1.0.1, 10.1.1.1" in difference(line, told)


def test_a_peers_index_stays_when_routers_go_and_no_two_have_one(line: Domain) -> None:
    before = {each.router: each.index for each in documents(line)["r3"].pairs}
    after = {each.router: each.index for each in documents(edit.remove_router(line, "r1"))["r3"].pairs}
    assert len(set(before.values())) == 2 and after == {"r2": before["r2"]}


def test_a_router_that_is_not_approved_gets_no_pair(line: Domain, samples: ModuleType) -> None:
    entry = line.routers["r2"].model_copy(update={"approved": False})
    shut = line.model_copy(update={"routers": {**line.routers, "r2": entry}})
    assert [each.router for each in documents(shut)["r3"].pairs] == ["r1"]


def test_a_revoked_router_has_no_pair_but_the_point_stays_closed(line: Domain, samples: ModuleType) -> None:
    document = documents(line)["r3"]
    revoked = make_list("example", 1, 0, [Revoked(name="r1", key=key_hash(spki(samples.private_key("r1"))))])
    held = Revocations("example", samples.SERVER.public_key())
    held.take(sign_list(revoked, samples.SERVER))
    acted_on = held.without_revoked(document)
    assert [each.router for each in acted_on.pairs] == ["r2"] and acted_on.points == document.points


def test_the_signed_document_carries_pairs(line: Domain, samples: ModuleType) -> None:
    document = documents(line)["r1"]
    assert decode_document(encode_document(document)) == document
    signed = sign_document(document, samples.SERVER)
    assert verify_document(signed, samples.SERVER.public_key(), domain="example").pairs == document.pairs


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda domain: edit.set_point(domain, "r2", A("10.3.3.3")), "is repeated"),
        (lambda domain: edit.set_point(domain, "r3", A("224.0.0.13")), "not the address of a host"),
        (lambda domain: edit.set_point(domain, "r3", A("10.0.0.1")), "both have the address"),
        (lambda domain: edit.set_sources(domain, "r2", [A("10.1.0.1")]), "both have the address"),
        (lambda domain: edit.set_point(edit.set_sources(domain, "r2", [A("10.0.1.1")]), "r3", A("10.0.1.2")), "face"),
    ],
)
def test_a_domain_whose_pairs_are_ambiguous_is_not_signed(line: Domain, change: object, problem: str) -> None:
    wrong = change(line)  # type: ignore[operator]
    expected = "this link's two addresses" if problem == "face" else problem
    assert any(expected in each for each in problems(wrong)), problems(wrong)
    with pytest.raises(PolicyError):
        documents(wrong)


def test_the_mode_of_rendezvous_points_goes_one_step_at_a_time(line: Domain) -> None:
    with pytest.raises(PolicyError, match="more than one step"):
        edit.set_points_mode(line, Mode.CLEAR)
    eased = edit.set_points_mode(line, Mode.PERMISSIVE)
    assert documents(eased)["r1"].pairs[0].mode is Mode.PERMISSIVE
    assert difference(line, eased) == ["~ rendezvous points: mode required -> permissive"]


@given(
    local=st.lists(st.integers(0, (1 << 32) - 1), max_size=10),
    remote=st.lists(st.integers(0, (1 << 32) - 1), max_size=10),
)
def test_a_pair_holds_hosts_addresses_each_once_or_is_refused(local: list[int], remote: list[int]) -> None:
    fields = {"router": "r2", "key": bytes(44), "index": 2, "mode": "required", "initiator": True}
    try:
        pair = PairPolicy.model_validate(fields | {"local": local, "remote": remote})
    except ValidationError:
        return
    both = [*pair.local, *pair.remote]
    assert len(set(both)) == len(both) and 1 <= len(pair.local) <= 8 and 1 <= len(pair.remote) <= 8
    assert not any(each.is_multicast or each.is_loopback or each.is_unspecified for each in both)
