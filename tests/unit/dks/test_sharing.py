"""Two cores that are one DKS, on one simulated network: they share ledger, documents, list and confirmations."""

from __future__ import annotations

import multiprocessing
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.dks.core import POLL_S, DksCore
from agents.dks.store import GenerationLedger
from agents.ikev2 import Datagram
from agents.ikev2.codec.header import parse_header
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.policy.keys import spki
from agents.policy.names import GroupId
from agents.policy.revocation import Revoked, key_hash, make_list, sign_list
from agents.runtime.control import CommandRefused
from agents.runtime.effects import Effect, Kernel
from agents.runtime.links import LinkState
from testbed.simulation.network import Network, ring
from testbed.simulation.parties import POLICY_SERVER, key
from testbed.simulation.record import Seen

GROUP = GroupId("example", "r1", "eth0", "ospf")
SOON = Reconnect(first_min_s=1, first_max_s=3, max_s=10)
BY_DKS = Settings(validity_s=1 << 33, issuer="dks", reconnect=SOON, lifetimes=Lifetimes(group_s=100))
CENTRAL = Settings(validity_s=1 << 33, issuer="dks", reconnect=SOON, local_key_server=False)


class Divided:
    """Workers behind one port, chosen as the kernel's filter chooses them. A core to the simulation."""

    def __init__(self, workers: Sequence[DksCore]) -> None:
        self.workers = workers
        self.chosen: dict[str, set[int]] = {}

    def receive(self, datagram: Datagram, now: float) -> None:
        header = parse_header(datagram.data)
        octet = (header.spi_r if header.from_initiator else header.spi_i)[0]
        by_address = zlib.crc32(datagram.peer.ip.encode())
        number = (octet - 1 if octet else by_address) % len(self.workers)
        self.chosen.setdefault(datagram.peer.ip, set()).add(number)
        self.workers[number].receive(datagram, now)

    def start(self, now: float) -> None:
        for each in self.workers:
            each.start(now)

    def tick(self, now: float) -> None:
        for each in self.workers:
            each.tick(now)

    def stop(self, now: float) -> None:
        for each in self.workers:
            each.stop(now)

    def links(self, found: Mapping[str, LinkState], now: float) -> None:
        pass

    def enforced(self, kernel: Kernel | None, now: float) -> None:
        pass

    def command(self, words: Sequence[str], now: float) -> Mapping[str, Any]:
        raise CommandRefused("ask the workers")

    def next_timer(self) -> float | None:
        return min((due for each in self.workers if (due := each.next_timer()) is not None), default=None)

    def take(self) -> list[Effect]:
        return [effect for each in self.workers for effect in each.take()]


class Shared(Network):
    """A domain whose DKS is two workers. `lists`: what each of them finds in its folder."""

    def __init__(self, settings: Settings, routers: int = 6) -> None:
        self.kept: dict[str, bytes] = {}
        self.lists: list[bytes | None] = [None, None]
        super().__init__(ring(routers), settings=settings, dks=True)
        self.nodes["dks"].build = lambda _node: Divided([self._worker(number) for number in range(2)])

    def _worker(self, number: int) -> DksCore:
        return DksCore(
            key("dks"),
            self.held(),
            self.ledger,
            domain="example",
            name="dks",
            random=self.octets,
            poll_list=lambda: self.lists[number],
            confirmed=dict(self._on_disk(None)),
            look=self._on_disk,
            share=(number, 2),
        )

    def _on_disk(self, router: str | None) -> Mapping[str, bytes]:
        files = self.nodes["dks"].files if "dks" in self.nodes else {}
        found = {
            name.partition("/")[2].partition(".")[0]: data for name, data in files.items() if "confirmations/" in name
        }
        return found if router is None else {name: data for name, data in found.items() if name == router}

    @property
    def dks(self) -> Divided:
        core: Any = self.nodes["dks"].core
        assert isinstance(core, Divided)
        return core

    def seen_at_dks(self, kind: str) -> list[Seen]:
        return [each for each in self.events if (each.node, each.kind) == ("dks", kind)]

    def status(self, number: int) -> Mapping[str, Any]:
        return self.dks.workers[number].command(["status"], self.now)


def powered(settings: Settings) -> Shared:
    net = Shared(settings)
    net.power_on_all()
    net.run(60)
    return net


def test_every_router_is_at_one_worker_and_both_have_some() -> None:
    net = powered(BY_DKS)
    connected = [set(net.status(number)["connected"]) for number in range(2)]
    assert connected[0] | connected[1] == set(net.routers) and not connected[0] & connected[1]
    assert all(connected)
    assert all(len(numbers) == 1 for numbers in net.dks.chosen.values())


def test_generations_are_given_out_by_both_and_no_number_twice() -> None:
    net = powered(BY_DKS)
    net.run(net.now + 400)
    issued = [(each.fields["group"], each.fields["generation"]) for each in net.seen_at_dks("issued")]
    assert len(issued) > 3 * len(net.routers) and len(set(issued)) == len(issued)
    assert net.all_keyed()


def test_a_list_that_one_worker_has_is_the_other_s_at_its_next_look() -> None:
    net = Shared(BY_DKS)
    net.power_on("dks")  # alone: a router would carry the list from one to the other as well
    revoked = [Revoked(name="r9", key=key_hash(spki(key("r9"))))]
    net.lists[1] = sign_list(make_list("example", 1, 0, revoked), POLICY_SERVER)
    net.run(net.now + 2 * POLL_S)
    assert [net.status(number)["revocation_version"] for number in range(2)] == [1, 1]
    assert sorted(each.fields["origin"] for each in net.seen_at_dks("revocation")) == ["folder", "ledger"]


def test_confirmations_are_shown_whole_by_each() -> None:
    net = powered(BY_DKS)
    whole = {"complete": len(net.routers), "of": len(net.routers)}
    assert [net.status(number)["confirmed"] for number in range(2)] == [whole, whole]


def test_group_keys_for_all_members_are_refused_and_said() -> None:
    net = powered(CENTRAL)
    errors = [each.fields for each in net.seen_at_dks("error")]
    assert errors and all("workers = 1" in each["detail"] for each in errors)
    assert not net.all_keyed()
    with pytest.raises(CommandRefused, match="workers = 1"):
        net.dks.workers[0].command(["rekey", "r1"], net.now)


def test_an_older_list_does_not_replace_a_newer_one_in_the_ledger() -> None:
    ledger = GenerationLedger(":memory:")
    ledger.keep_revocation(b"two", 2)
    ledger.keep_revocation(b"one", 1)
    assert ledger.revocation() == b"two"
    ledger.keep_revocation(b"three", 3)
    assert ledger.revocation() == b"three"


def _number(path: Path, count: int, together: Any, out: Any) -> None:
    ledger = GenerationLedger(path)
    together.wait()
    try:
        out.put([ledger.next(GROUP, 3) for _time in range(count)])
    except sqlite3.Error as error:
        out.put([str(error)])
    ledger.close()


def test_processes_that_make_numbers_at_the_same_time_make_none_twice(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    GenerationLedger(path).close()
    fork = multiprocessing.get_context("fork")
    out, together = fork.Queue(), fork.Barrier(4)
    work = [fork.Process(target=_number, args=(path, 100, together, out)) for _process in range(4)]
    for each in work:
        each.start()
    found = [number for _process in work for number in out.get()]
    for each in work:
        each.join()
    assert sorted(found) == list(range(2, 801, 2))


def test_a_ledger_of_before_there_were_workers_is_taken_over(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "ledger")
    old.execute(
        "CREATE TABLE revocation (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), signed BLOB NOT NULL) STRICT"
    )
    old.execute("INSERT INTO revocation VALUES (1, ?)", (b"list",))
    old.commit()
    old.close()
    ledger = GenerationLedger(tmp_path / "ledger")
    assert ledger.revocation() == b"list"
    ledger.keep_revocation(b"newer", 1)
    assert ledger.revocation() == b"newer"
