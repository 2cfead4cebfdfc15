"""Limits fit: what the Policy Server signs is carried, registered, confirmed and kept; the rest is refused."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from agents.gikev2 import notifies
from agents.gikev2.registry import PrivateNotify
from agents.ikev2 import MalformedMessage, NotifyPayload
from agents.ipsec.protection import RoutingProtocol
from agents.lks.retained import COUNTERS, Retained
from agents.policy import carriage
from agents.policy.carriage import MAX_CARRIED, MAX_DOCUMENT, check_carried, packed, unpacked
from agents.policy.document import (
    MAX_INTERFACES,
    MAX_NEIGHBORS,
    PolicyDocument,
    Reconnect,
    SpiBlock,
    sign_document,
)  # fmt: skip
from agents.policy.domain import Settings
from agents.policy.errors import PolicyError
from agents.policy.group import GroupState, SignedState
from agents.policy.keys import spki
from agents.policy.names import GroupId
from agents.policy.store import PolicyStore
from agents.runtime.effects import Persist
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER, key

QUICK = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=1, first_max_s=2, max_s=2))


def test_a_router_of_256_interfaces_with_all_protocols_registers_and_reports_every_group() -> None:
    links = {f"l{number}": ("hub", f"r{number:03}") for number in range(MAX_INTERFACES)}
    network = Network(links, settings=QUICK, dks=True, protocols=list(RoutingProtocol), room=MAX_INTERFACES)
    groups = MAX_INTERFACES * len(RoutingProtocol)
    signed = network.signed["hub"]
    assert len(signed) > 65_535 and len(packed(signed)) < MAX_CARRIED
    check_carried(network.documents["hub"], signed)
    network.power_on("dks")
    network.power_on("hub")
    assert network.run(30, lambda: len(network.ledger.entries()) == groups), "every group's generation is in the ledger"
    assert len(network.seen("dks_contact", "hub", ok=True)) == 1 and not network.seen("dks_contact", "hub", ok=False)
    assert network.run(60, lambda: bool(network.seen("confirmed", "dks", peer="hub")))
    assert network.command("dks", "rekey", "hub")["ordered"]
    assert network.run(90, lambda: len(network.seen("rekeyed", "hub", reason="ordered")) == groups)
    assert not network.seen("error", "dks") and not network.seen("dks_contact", "hub", ok=False)


def test_lans_of_31_with_all_protocols_are_keyed_pair_keys_and_all_and_survive_a_reboot() -> None:
    network = Network(
        {"lan": tuple(f"r{number:02}" for number in range(MAX_NEIGHBORS + 1))},
        settings=QUICK, protocols=[RoutingProtocol.OSPF, RoutingProtocol.OSPF6], room=MAX_INTERFACES,
    )  # fmt: skip
    for name in ("r00", "r01", "r30"):
        network.power_on(name)
    three = [("r00", "r01"), ("r01", "r30"), ("r30", "r00")]

    def keyed() -> bool:
        return all(network.hears(*each) and network.hears(*each[::-1]) for each in three)

    assert network.run(20, keyed)
    network.power_off("r00")
    network.power_on("r00")
    assert network.run(network.now + 20, keyed)


def test_counters_of_as_many_groups_as_a_document_can_have_are_read_again() -> None:
    written: list[Persist] = []
    kept = Retained(None, lambda effect: written.append(effect) if isinstance(effect, Persist) else None)
    kept._write = lambda: None  # type: ignore[method-assign]
    for number in range(4096):
        group = GroupId("example", f"router-{number:04}" + "x" * 50, "interface-12345", "ospf6")
        state = GroupState.of(group, 1, number + 1, "lks")
        kept.took(SignedState.sign(state, key("a")))
    Retained._write(kept)
    assert len(written[-1].data) > 1 << 20 and written[-1].name == COUNTERS
    again = Retained(written[-1].data, written.append)
    assert len(again._floors) == 4096


def grown(count: int, neighbors: int = 1) -> PolicyDocument:
    """A document of so many interfaces, each with so many neighbours of long names."""
    base = Network({"l": ("hub", "r")}).documents["hub"]
    interface = base.interfaces[0]
    peer = interface.neighbors[0]
    interfaces = tuple(
        interface.model_copy(
            update={
                "name": f"eth{number}",
                "index": number,
                "neighbors": tuple(
                    peer.model_copy(
                        update={
                            "router": f"r{number:03}-{each:02}" + "x" * 55,
                            "key": spki(key(f"{number}/{each}")),
                            "index": each,
                            "spi": SpiBlock(base=0x10000 + 4096 * (number * 30 + each), size=4096, generation_bits=6),
                        }
                    )
                    for each in range(neighbors)
                ),
            }
        )
        for number in range(count)
    )
    return base.model_copy(update={"interfaces": interfaces})


@pytest.mark.parametrize(("count", "neighbors", "what"), [(256, 30, "document"), (256, 4, "confirmation")])
def test_what_no_message_carries_is_refused_with_the_number(count: int, neighbors: int, what: str) -> None:
    document = grown(count, neighbors)
    with pytest.raises(PolicyError, match=f"its {what} .* {count} interfaces with {count * neighbors} neighbours"):
        check_carried(document, sign_document(document, POLICY_SERVER))


def test_a_commit_of_what_cannot_be_carried_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriage, "MAX_CARRIED", 300)
    domain = Network({"l": ("a", "b")}).domain
    store = PolicyStore.create(tmp_path, domain)
    with pytest.raises(PolicyError, match=r"a: its document of \d+ octets"):
        store.commit("admin", "begin", 1000)
    assert store.version == 0 and store.documents() == {} and store.draft() == domain


@pytest.mark.parametrize(
    "data",
    [
        b"x", b"x\x9c", zlib.compress(bytes(MAX_DOCUMENT + 1)), zlib.compress(b"a" * 20_000)[:-1],
        zlib.compress(b"a") + b"b",
    ],
)  # fmt: skip
def test_a_document_that_is_packed_wrongly_is_a_malformed_message_and_takes_no_memory(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        notifies.find_policy_document([NotifyPayload(PrivateNotify.POLICY_DOCUMENT, data)])


def test_documents_go_packed_when_they_are_large_and_as_they_are_when_they_are_small() -> None:
    for size in (100, 16_384, 16_385, MAX_DOCUMENT):
        signed = b"\xd2" + bytes(size - 1)
        assert unpacked(packed(signed)) == signed
        assert (packed(signed) == signed) is (size <= 16_384)
