"""The DKS against members that speak G-IKEv2 over real IKE endpoints, in virtual time."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from agents.dks.core import DksCore
from agents.dks.documents import Documents
from agents.dks.groups import PLACES, REKEY_FRACTION
from agents.dks.store import GenerationLedger
from agents.gikev2 import GroupMember, notifies
from agents.gikev2.errors import GroupRefused
from agents.gikev2.keys import GroupKeys
from agents.ikev2 import (
    Closed,
    Datagram,
    Established,
    Identification,
    IkeConfig,
    IkeEndpoint,
    LocalIdentity,
    PeerAddress,
    PeerKey,
    Request,
    RequestReceived,
    ResponseReceived,
)  # fmt: skip
from agents.ikev2 import Send as IkeSend
from agents.ikev2.initiator import GRACE_S
from agents.ikev2.registry import ExchangeType, NotifyType
from agents.ipsec.protection import RoutingProtocol, Suite
from agents.policy.document import PolicyDocument, sign_document
from agents.policy.group import GroupState, sign_group_state
from agents.policy.names import GroupId, party_id
from agents.policy.spi import GENERATION_BITS
from agents.runtime.effects import Event, Send
from agents.runtime.pace import TokenBucket
from tests.unit.policy import samples

DKS = PeerAddress("10.9.0.1", 848)
GROUPS = {name: GroupId.of("example", name, f"{name}-eth0", RoutingProtocol.OSPF) for name in ("r1", "r2")}


def documents(version: int = 3, issuer: str = "dks") -> dict[str, tuple[bytes, PolicyDocument]]:
    made = {
        n: samples.document(n, version=version, issuer=issuer, local_key_server=issuer == "lks") for n in ("r1", "r2")
    }
    return {name: (sign_document(document, samples.SERVER), document) for name, document in made.items()}


class Asked(Request):
    """A registration of a member, which reads the answer."""

    def __init__(self, member: Member, group: GroupId, payloads: list) -> None:
        super().__init__(payloads)
        self.member, self.group = member, group

    def answered(self, payloads: tuple, now: float) -> None:
        self.member.read(self.group, payloads, self.member.sa)


class Member:
    """A router that registers at the DKS and does what it is told."""

    def __init__(self, name: str, seed: int = 1, key: str | None = None) -> None:
        self.name, self.address = name, PeerAddress(f"10.1.0.{name[-1]}", 848)
        identity = LocalIdentity(Identification.key_id(party_id("example", name)), samples.private_key(key or name))
        public = PeerKey(samples.private_key("dks").public_key())
        self.endpoint = IkeEndpoint(
            identity, lambda *_: public, random=random.Random(f"{name}{seed}").randbytes, config=IkeConfig(),
            auth_exchange=ExchangeType.GSA_AUTH,
        )  # fmt: skip
        self.group = GroupMember(
            [Suite.ESP_AES128_SHA256], lambda _group, _issuer: samples.private_key("dks").public_key(), lambda _: (0, 0)
        )
        self.sa = None
        self.keys: list[GroupKeys] = []
        self.refused: list[int] = []
        self.answers: list[tuple] = []
        self.closed = 0

    def connect(self, group: GroupId, **words: object) -> None:
        self.first = group
        expected = Identification.key_id(party_id("example", "dks"))
        self.endpoint.connect(DKS, expected, self.group.request(group, **words), 0.0)

    def ask(self, group: GroupId, now: float = 0.0, **words: object) -> None:
        request = Asked(self, group, self.group.request(group, **words))
        self.endpoint.request(self.sa, ExchangeType.GSA_REGISTRATION, request, now)

    def handle(self, item: object, now: float) -> None:
        if isinstance(item, Established):
            self.sa = item.sa
            self.read(self.first, item.payloads, item.sa)
        elif isinstance(item, ResponseReceived):
            item.request.answered(item.payloads, now)
        elif isinstance(item, RequestReceived):
            self.answers.append(item.payloads)
            if notifies.find_policy_document(item.payloads) is None:
                self.keys.append(self.group.rekey(item.payloads, item.sa.key_wrap_key()))
            self.endpoint.respond(item.token, [], now)
        elif isinstance(item, Closed):
            self.closed += 1

    def read(self, group: GroupId, payloads: tuple, sa: object) -> None:
        self.answers.append(payloads)
        if group.is_control:
            return
        try:
            self.keys.append(self.group.answer(group, payloads, sa.key_wrap_key()))
        except GroupRefused as refusal:
            self.refused.append(refusal.notify)


class Domain:
    """A DKS and members on a network without delay."""

    def __init__(self, *members: Member, ledger: GenerationLedger | None = None, **words: object) -> None:
        self.documents = Documents("example", samples.SERVER.public_key())
        self.fresh: list[PolicyDocument] = []
        self.publish(words.pop("documents", None) or documents())
        self.members = {member.address.ip: member for member in members}
        self.ledger = ledger or GenerationLedger(":memory:")
        self.events: list[Event] = []
        self.dks = DksCore(
            samples.private_key("dks"),
            self.documents,
            self.ledger,
            domain="example",
            name="dks",
            random=random.Random(7).randbytes,
            poll=self._poll,
            **words,
        )
        self.fresh = []
        self.dks.start(0.0)

    def publish(self, given: dict[str, tuple[bytes, PolicyDocument]]) -> None:
        added = [self.documents.add(signed) for signed, _document in given.values()]
        self.fresh = [document for document in added if document is not None]

    def _poll(self) -> list[PolicyDocument]:
        fresh, self.fresh = self.fresh, []
        return fresh

    def run(self, now: float = 0.0) -> Domain:
        busy = True
        while busy:
            busy = False
            for member in self.members.values():
                for item in member.endpoint.take():
                    busy = True
                    if isinstance(item, IkeSend):
                        self.dks.receive(Datagram(item.data, member.address), now)
                    else:
                        member.handle(item, now)
            for effect in self.dks.take():
                busy = True
                if isinstance(effect, Send):
                    self.members[effect.peer.ip].endpoint.receive(Datagram(effect.data, DKS), now)
                elif isinstance(effect, Event):
                    self.events.append(effect)
        return self

    def kinds(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]


def test_speaker_and_receiver_get_the_same_keys() -> None:
    r1, r2 = Member("r1"), Member("r2")
    domain = Domain(r1, r2)
    r1.connect(GROUPS["r1"], sender=True)
    r2.connect(GROUPS["r1"])
    domain.run()
    (first,) = {keys.generation for keys in (*r1.keys, *r2.keys)}
    assert first % (1 << GENERATION_BITS) == 2
    theirs = {sa.spi: sa.keymat for sa in r2.keys[0].sas}
    ours = {sa.spi: sa.keymat for sa in r1.keys[0].sas}
    assert theirs.items() <= ours.items() and theirs


def test_a_speaker_that_comes_back_gets_a_new_generation_and_its_receivers_too() -> None:
    r1, r2 = Member("r1"), Member("r2")
    domain = Domain(r1, r2)
    r1.connect(GROUPS["r1"], sender=True)
    r2.connect(GROUPS["r1"])
    domain.run()
    again = Member("r1", seed=2)
    domain.members[again.address.ip] = again
    again.connect(GROUPS["r1"], sender=True)
    domain.run(1.0)
    assert again.keys[-1].generation == r2.keys[-1].generation == r1.keys[0].generation + 2
    assert {sa.keymat for sa in again.keys[-1].sas}.isdisjoint(sa.keymat for sa in r1.keys[0].sas)


def test_a_receiver_that_came_first_does_not_cost_the_speaker_a_generation() -> None:
    r1, r2 = Member("r1"), Member("r2")
    domain = Domain(r1, r2)
    r2.connect(GROUPS["r1"])
    domain.run()
    r1.connect(GROUPS["r1"], sender=True)
    domain.run()
    assert r1.keys[0].generation == r2.keys[0].generation
    assert r1.keys[0].generation % (1 << GENERATION_BITS) == 2


def test_an_old_key_is_replaced_at_the_receivers_before_the_speaker() -> None:
    r1, r2 = Member("r1"), Member("r2")
    domain = Domain(r1, r2)
    r1.connect(GROUPS["r1"], sender=True)
    r2.connect(GROUPS["r1"])
    domain.run()
    due = REKEY_FRACTION * documents()["r1"][1].lifetimes.group_s
    order: list[str] = []
    for member in (r1, r2):
        rekey = member.group.rekey
        member.group.rekey = lambda *words, name=member.name, rekey=rekey: (order.append(name), rekey(*words))[1]  # type: ignore[method-assign]
    domain.dks.tick(due)
    domain.run(due)
    assert order == ["r2", "r1"]
    assert r1.keys[-1].generation == r2.keys[-1].generation == r1.keys[0].generation + 2


def test_a_router_gets_its_own_document_and_no_other() -> None:
    r1 = Member("r1")
    domain = Domain(r1)
    r1.connect(GroupId.control("example", "r1"))
    domain.run()
    assert notifies.find_policy_document(r1.answers[0]) == documents()["r1"][0]
    r1.ask(GroupId.control("example", "r2"))
    r1.group.answer = lambda *_: (_ for _ in ()).throw(GroupRefused(0))  # type: ignore[method-assign,assignment]
    domain.run()
    assert notifies.find_policy_document(r1.answers[-1]) is None


def test_a_router_without_the_right_key_gets_nothing() -> None:
    rogue = Member("r1", key="somebody else")
    domain = Domain(rogue)
    rogue.connect(GROUPS["r1"], sender=True)
    domain.run()
    for now in (GRACE_S, 2 * GRACE_S):
        rogue.endpoint.tick(now)
        domain.run(now)
    assert rogue.closed and not rogue.keys and not domain.kinds("registered")


def test_a_receiver_cannot_register_as_the_speaker() -> None:
    r2 = Member("r2")
    domain = Domain(r2)
    r2.connect(GROUPS["r1"], sender=True)
    domain.run()
    assert r2.refused == [NotifyType.AUTHORIZATION_FAILED]


def test_with_issuer_lks_the_dks_gives_policy_and_no_keys() -> None:
    r1 = Member("r1")
    domain = Domain(r1, documents=documents(issuer="lks"))
    r1.connect(GROUPS["r1"], sender=True)
    domain.run()
    assert r1.refused == [NotifyType.AUTHORIZATION_FAILED]


def test_a_crowd_is_paced_and_told_when_to_come_back() -> None:
    r1 = Member("r1")
    domain = Domain(r1, rate=1, burst=1)
    r1.connect(GROUPS["r1"], sender=True)
    domain.run()
    r1.ask(GROUPS["r2"])
    domain.run()
    assert r1.refused == [NotifyType.REGISTRATION_FAILED]
    assert notifies.find_reconnect_hint(r1.answers[-1]) == 1


def test_waits_that_are_told_grow_so_that_everybody_gets_a_turn() -> None:
    bucket = TokenBucket(rate=2, burst=1)
    assert bucket.take(0.0) and not bucket.take(0.0)
    assert [bucket.wait_s(0.0) for _ in range(6)] == [1, 1, 2, 2, 3, 3]


def test_every_request_is_an_event_and_a_repeat_is_marked() -> None:
    r1 = Member("r1")
    domain = Domain(r1)
    r1.connect(GROUPS["r1"], sender=True)
    sent = next(item for item in r1.endpoint.take() if isinstance(item, IkeSend))
    domain.dks.receive(Datagram(sent.data, r1.address), 0.0)
    domain.dks.receive(Datagram(sent.data, r1.address), 0.1)
    domain.run()
    seen = [(event.fields["exchange"], event.fields["retransmission"]) for event in domain.kinds("request")]
    assert seen == [("IKE_SA_INIT", False), ("IKE_SA_INIT", True), ("GSA_AUTH", False)]


def test_a_restart_goes_on_above_every_generation_that_was_used() -> None:
    r1 = Member("r1")
    first = Domain(r1)
    r1.connect(GROUPS["r1"], sender=True)
    first.run()
    again = Member("r1", seed=2)
    second = Domain(again, ledger=first.ledger)
    again.connect(GROUPS["r1"], sender=True)
    second.run()
    ahead = again.keys[0].generation - r1.keys[0].generation
    assert ahead in range(2, PLACES << GENERATION_BITS, 1 << GENERATION_BITS)


def test_the_ledger_keeps_the_highest_generation_through_a_restart(tmp_path: Path) -> None:
    first = GenerationLedger(tmp_path / "ledger")
    assert [first.next(GROUPS["r1"], 3) for _ in range(3)] == [2, 4, 6]
    assert first.reported(GROUPS["r1"], 3, 40)
    assert not first.reported(GROUPS["r1"], 3, 7)
    first.close()
    assert GenerationLedger(tmp_path / "ledger").next(GROUPS["r1"], 3) == 42


def test_what_an_lks_did_alone_is_taken_into_the_ledger_only_with_its_own_signature() -> None:
    def report(by: str, generation: int) -> object:
        state = GroupState.of(GROUPS["r1"], 3, generation, "lks")
        return notifies.group_report(sign_group_state(state, samples.private_key(by)))

    r1 = Member("r1")
    domain = Domain(r1)
    r1.connect(GroupId.control("example", "r1"), extra=[report("r1", 40), report("r2", 90)])
    domain.run()
    assert [event.fields["generation"] for event in domain.kinds("reported")] == [40]
    assert [event.fields["what"] for event in domain.kinds("error")] == ["report"]
    r1.ask(GROUPS["r1"], sender=True)
    domain.run()
    assert r1.keys[0].generation in range(42, PLACES << GENERATION_BITS, 1 << GENERATION_BITS)


def test_a_newer_document_is_pushed_to_the_router_that_is_connected() -> None:
    r1 = Member("r1")
    domain = Domain(r1)
    r1.connect(GroupId.control("example", "r1"))
    domain.run()
    newer = documents(version=4)
    domain.publish(newer)
    domain.dks.tick(2.0)
    domain.run(2.0)
    assert notifies.find_policy_document(r1.answers[-1]) == newer["r1"][0]


def test_a_damaged_ledger_stops_the_dks_instead_of_repeating_a_generation(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_bytes(b"no SQLite file " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        GenerationLedger(tmp_path / "ledger")
