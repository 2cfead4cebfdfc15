"""The DKS and what its members may say: nothing of it ends the DKS, and a key that is gone counts no more."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest

import testbed.simulation.network as soak
from agents.dks.core import POLL_S
from agents.dks.store import GenerationLedger
from agents.gikev2 import notifies
from agents.policy.document import Lifetimes, Reconnect, sign_document
from agents.policy.domain import Settings
from agents.policy.group import MAX_COUNTER, MOST_AHEAD, GroupState, sign_group_state
from agents.policy.keys import spki
from agents.policy.names import GroupId
from agents.policy.revocation import Revoked, key_hash, make_list, sign_list
from testbed.simulation.network import Network
from tests.unit.dks import test_core as core

BEYOND = (MAX_COUNTER, MAX_COUNTER - 1, MOST_AHEAD + 1, 1 << 62)


@pytest.mark.parametrize("generation", BEYOND)
@pytest.mark.parametrize("issue", [False, True])
def test_a_report_beyond_belief_is_not_written_down_and_costs_nobody_its_keys(generation: int, issue: bool) -> None:
    options = {}
    if issue:
        made = {n: core.samples.document(n, version=3, issuer="dks", local_key_server=True) for n in ("r1", "r2")}
        options = {"documents": {n: (sign_document(d, core.samples.SERVER), d) for n, d in made.items()}}
    ledger = GenerationLedger(":memory:")
    r1, r2 = core.Member("r1"), core.Member("r2")
    domain = core.Domain(r1, r2, ledger=ledger, **options)
    group = core.GROUPS["r1"]
    state = sign_group_state(GroupState.of(group, 3, generation, "lks"), core.samples.private_key("r1"))
    r1.connect(GroupId.control("example", "r1"), extra=[notifies.group_report(state)])
    domain.run()
    assert ledger.last(group) == (0, 0)
    if issue:
        r1.ask(group, sender=True, extra=[notifies.group_report(state)])
    else:
        r2.connect(group)
    domain.run()
    assert ledger.last(group)[1] < 1 << 40 and (issue or r2.keys)


@pytest.mark.parametrize("list_first", [False, True])
def test_a_replaced_key_has_nothing_more_whatever_comes_first_document_or_list(list_first: bool) -> None:
    lists: list[bytes | None] = [None]
    thief, r2 = core.Member("r1"), core.Member("r2")
    domain = core.Domain(thief, r2, poll_list=lambda: lists[0])
    r2.connect(core.GROUPS["r2"], sender=True)
    domain.run()
    thief.connect(core.GROUPS["r2"])
    domain.run()
    known = domain.documents.of("r1")
    assert known is not None
    old, new = known.identity, spki(core.samples.private_key("r1 after the theft"))
    changed = {}
    for name, (_signed, document) in core.documents().items():
        update: dict[str, object] = {"version": 9}
        if name == "r1":
            update["identity"] = new
        changed[name] = document.model_copy(update=update)
    signed = {n: (sign_document(d, core.samples.SERVER), d) for n, d in changed.items()}
    revoked = sign_list(make_list("example", 1, 0, [Revoked(name="r1", key=key_hash(old))]), core.samples.SERVER)
    steps = [lambda: domain.publish(signed), lambda: lists.__setitem__(0, revoked)]
    for number, step in enumerate(reversed(steps) if list_first else steps):
        step()
        domain.dks.tick(10.0 + number * POLL_S)
        domain.run(10.0 + number * POLL_S)
        if number == 0 and not list_first:
            assert thief.closed
    before = len(thief.keys)
    domain.dks.tick(5000.0)
    domain.run(5000.0)
    assert thief.closed and len(thief.keys) == before


@pytest.mark.parametrize(("links", "revoked"), [(8, 400), (14, 400), (1, 400), (1, 0)])
def test_document_and_list_each_have_a_message_of_their_own(links: int, revoked: int) -> None:
    quick = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=1, first_max_s=2, max_s=2))
    segments = {f"lan{n}": ("hub", *(f"r{n:02}x{i:02}" for i in range(15))) for n in range(links)}
    network = Network(segments, settings=quick, dks=True, protocols=soak.PROTOCOLS[:1], room=64)
    gone = tuple(
        Revoked(name=f"gone{i:03}" + "x" * 50, key=hashlib.sha256(str(i).encode()).digest()) for i in range(revoked)
    )
    if gone:
        network.publish(network.domain.model_copy(update={"revoked_routers": gone}))
    network.power_on("dks")
    network.power_on("hub")
    network.run(12)
    assert network.seen("dks_contact", "hub", ok=True) and not network.seen("dks_contact", "hub", ok=False)
    assert bool(network.seen("revocation", "hub", version=revoked)) is bool(revoked) or not revoked


class RefusingBook(GenerationLedger):
    """Its disk is full, its file locked or damaged, while `error` is set."""

    error: sqlite3.Error | None = None
    ALL = ("last", "next", "reported", "revocation", "keep_revocation", "entries")

    def __getattribute__(self, name: str) -> object:
        if name in RefusingBook.ALL and (error := RefusingBook.error) is not None:
            raise error
        return super().__getattribute__(name)


REFUSALS = {
    "full": sqlite3.OperationalError("database or disk is full"),
    "locked": sqlite3.OperationalError("database is locked"),
    "read-only": sqlite3.OperationalError("attempt to write a readonly database"),
    "damaged": sqlite3.DatabaseError("database disk image is malformed"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_a_ledger_that_refuses_is_the_error_of_each_operation_and_all_goes_on_once_it_writes(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifetimes = Lifetimes(group_s=100)
    reconnect = Reconnect(first_min_s=1, first_max_s=3, max_s=10)
    settings = Settings(
        validity_s=1 << 33, issuer="dks", local_key_server=False, lifetimes=lifetimes, reconnect=reconnect
    )
    network = Network({"lan": ("a", "b", "c")}, settings=settings, dks=True)
    network.ledger = RefusingBook(":memory:")
    network.record.faults_wanted = True
    network.power_on_all()
    assert network.run(20, network.all_keyed)
    monkeypatch.setattr(RefusingBook, "error", REFUSALS[why])
    signed = network.remove("c")
    network.run(network.now + 2 * POLL_S)
    core_ = network.nodes["dks"].core
    assert core_ is not None and network.command("dks", "status")["revocation_version"] == 1
    assert network.command("dks", "status")["connected"] == ["a", "b"], "who is removed is out though the ledger is not"
    network.run(network.now + 130)  # keys have ended meanwhile: no number was to be had
    assert network.nodes["dks"].core is core_ and [each for each in network.events if each.node == "dks"]
    monkeypatch.setattr(RefusingBook, "error", None)
    network.run(network.now + 2 * POLL_S)
    assert network.ledger.revocation() == signed
    assert network.run(network.now + 60, network.all_keyed)
    assert not network.hears("a", "c") and not network.hears("b", "c")
