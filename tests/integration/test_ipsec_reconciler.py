"""The reconciler in a kernel that others use as well, and change under its hands."""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from agents.ipsec.guard import NftGuard
from agents.ipsec.model import Direction, Policy, SecurityAssociation, Selector, Template, Wanted
from agents.ipsec.monitor import KernelMonitor
from agents.ipsec.plan import GRACE_S, wanted_state
from agents.ipsec.port import ChangeKind, SasLost
from agents.ipsec.protection import GroupSa, Mode, ProtectedInterface, RoutingProtocol, Suite
from agents.ipsec.reconciler import Reconciler
from agents.ipsec.xfrm import Xfrm, XfrmError
from tests.integration.ipsec_lab import inside, run

pytestmark = pytest.mark.guest

NAMESPACE = "reconciler-test"
INTERFACE = ProtectedInterface(
    "eth0", RoutingProtocol.OSPF, Mode.REQUIRED, "p2p",
    ip_address("10.0.0.1"), ip_network("10.0.0.0/30"), (ip_address("10.0.0.2"),),
)  # fmt: skip


def key(generation: int, outbound: bool, active: bool = True) -> GroupSa:
    return GroupSa(
        spi=0x1000 + generation + (0 if outbound else 0x100), suite=Suite.default(),
        keymat=bytes([generation]) * 48, speaker=ip_address("10.0.0.1" if outbound else "10.0.0.2"),
        destination=ip_address("224.0.0.5"), protocol=RoutingProtocol.OSPF, interface="eth0",
        outbound=outbound, generation=generation, active=active,
    )  # fmt: skip


WANTED = wanted_state([INTERFACE], [key(1, True), key(1, False)])


@pytest.fixture
def xfrm() -> Iterator[Xfrm]:
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "link", "add", "eth0", "type", "dummy"], check=True)
        with Xfrm(f"/run/netns/{NAMESPACE}") as opened:
            yield opened
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


def ip(*words: str) -> str:
    return subprocess.run(["ip", "-n", NAMESPACE, *words], check=True, capture_output=True, text=True).stdout


@contextmanager
def watching(xfrm: Xfrm) -> Iterator[KernelMonitor]:
    monitor = inside(NAMESPACE, lambda: KernelMonitor(xfrm.port))
    try:
        yield monitor
    finally:
        monitor.close()


def holds(xfrm: Xfrm, wanted: Wanted) -> bool:
    return set(xfrm.dump_policies()) == set(wanted.policies) and set(xfrm.dump_sas()) == set(wanted.associations)


def test_the_second_apply_changes_nothing(xfrm: Xfrm) -> None:
    reconciler = Reconciler(xfrm)
    changes = reconciler.apply(WANTED)
    assert {change.kind for change in changes} == {ChangeKind.ADDED}
    assert len(changes) == len(WANTED.policies) + len(WANTED.associations)
    assert holds(xfrm, WANTED)
    assert reconciler.apply(WANTED) == []


def test_what_belongs_to_others_stays(xfrm: Xfrm) -> None:
    other_sa = replace(WANTED.associations[0], reqid=7, spi=0x9999)
    other_policy = Policy(
        Selector(ip_network("10.9.0.0/16"), ip_network("10.8.0.0/16")),
        Direction.OUT, 375_423, templates=(Template(reqid=7),),
    )  # fmt: skip
    xfrm.add_sa(other_sa)
    xfrm.add_policy(other_policy)
    reconciler = Reconciler(xfrm)
    reconciler.apply(WANTED)
    reconciler.apply(Wanted())
    assert xfrm.dump_sas() == [other_sa]
    assert xfrm.dump_policies() == [other_policy]


def test_whatever_someone_else_changed_is_repaired(xfrm: Xfrm) -> None:
    reconciler = Reconciler(xfrm)
    reconciler.apply(WANTED)
    opened = next(p for p in WANTED.policies if p.templates and p.direction is Direction.OUT)
    xfrm.update_policy(replace(opened, templates=(), priority=5))
    xfrm.delete_policy(WANTED.policies[-1])
    assert len(reconciler.apply(WANTED)) == 2
    assert holds(xfrm, WANTED)
    xfrm.flush_sas()
    xfrm.flush_policies()
    with pytest.raises(SasLost, match="2 SAs"):
        reconciler.apply(WANTED)
    assert xfrm.dump_sas() == [], "what was sent under their keys nobody knows any more"
    new = wanted_state([INTERFACE], [key(2, True), key(2, False)])
    reconciler.apply(new)
    assert holds(xfrm, new)


def test_the_kernel_ends_an_sa_by_itself_at_the_end_that_was_planned_last(xfrm: Xfrm) -> None:
    reconciler = Reconciler(xfrm)
    now = time.monotonic()
    ending = [replace(key(1, outbound), until=now + 1) for outbound in (True, False)]
    with watching(xfrm) as monitor:
        reconciler.apply(wanted_state([INTERFACE], [replace(each, until=now + 3600) for each in ending], now))
        shown = ip("-s", "xfrm", "state")
        assert shown.count(f"expire add: soft 0(sec), hard {3600 + GRACE_S}(sec)") == 2
        reconciler.apply(wanted_state([INTERFACE], ending, now))
        assert ip("-s", "xfrm", "state").count(f"hard {1 + GRACE_S}(sec)") == 2
        assert [each for each in reconciler.apply(wanted_state([INTERFACE], ending, now))] == []
        assert not monitor.changed(), "all of that was ours"
        assert select.select([monitor], [], [], 60)[0] and monitor.changed(), "the kernel says that it ended them"
    while xfrm.dump_sas():
        assert time.monotonic() < now + 60
        select.select([], [], [], 0.1)
    assert set(xfrm.dump_policies()) == set(WANTED.policies), "nothing is sent in clear for it"


@pytest.mark.parametrize(
    "command",
    [
        "ip xfrm policy flush",
        "ip xfrm state flush",
        "ip xfrm state deleteall",
        "ip xfrm policy delete src 0.0.0.0/0 dst 0.0.0.0/0 proto ospf dir in",
        "nft flush ruleset",
        "nft delete table inet routing_key_guard",
    ],
)
def test_a_change_by_another_program_is_news_and_one_of_ours_is_none(xfrm: Xfrm, command: str) -> None:
    guard = NftGuard()
    with watching(xfrm) as monitor:
        Reconciler(xfrm).apply(WANTED)
        assert not monitor.changed()
        inside(NAMESPACE, lambda: guard.apply(WANTED.guards))
        assert monitor.changed(), "of nftables all is news"
        run("ip", "netns", "exec", NAMESPACE, "nft", "add", "table", "inet", "other")
        run("ip", "-n", NAMESPACE, "link", "set", "eth0", "up")
        assert not monitor.changed(), "what is not IPsec and not our table"
        run("ip", "netns", "exec", NAMESPACE, *command.split())
        assert select.select([monitor], [], [], 10)[0] and monitor.changed()


def test_a_change_between_reading_and_writing_is_seen_again(xfrm: Xfrm) -> None:
    class Raced(Xfrm):
        """Someone adds one of our SAs after the dump was read."""

        raced = False

        def dump_sas(self) -> list[SecurityAssociation]:
            before = super().dump_sas()
            if not self.raced:
                self.raced = True
                self.add_sa(WANTED.associations[0])
            return before

    with Raced(f"/run/netns/{NAMESPACE}") as raced:
        Reconciler(raced).apply(WANTED)
    assert holds(xfrm, WANTED)


def test_an_sa_made_anew_goes_on_counting(xfrm: Xfrm) -> None:
    reconciler = Reconciler(xfrm)
    reconciler.apply(WANTED)
    sending = next(sa for sa in WANTED.associations if str(sa.source) == "10.0.0.1")
    xfrm.delete_sa(sending)
    xfrm.add_sa(replace(sending, sequence=4711, selector=None))
    reconciler.apply(WANTED)
    assert holds(xfrm, WANTED)
    assert reconciler.sequence(sending.spi, sending.destination) == 4711


def test_another_key_under_the_same_spi_starts_counting_anew(xfrm: Xfrm) -> None:
    reconciler = Reconciler(xfrm)
    reconciler.apply(WANTED)
    heard = next(sa for sa in WANTED.associations if str(sa.source) != "10.0.0.1")
    assert heard.integrity is not None
    xfrm.delete_sa(heard)
    xfrm.add_sa(replace(heard, sequence=4711, integrity=replace(heard.integrity, key=bytes(32))))
    reconciler = Reconciler(xfrm)  # of an agent that was started after that
    reconciler.apply(WANTED)
    assert holds(xfrm, WANTED)
    assert reconciler.sequence(heard.spi, heard.destination) == 0


def test_an_spi_that_another_owner_holds_is_an_error_and_the_rest_is_done(xfrm: Xfrm) -> None:
    foreign = replace(WANTED.associations[0], reqid=7)
    xfrm.add_sa(foreign)
    with pytest.raises(XfrmError, match="not ours"):
        Reconciler(xfrm).apply(WANTED)
    assert foreign in xfrm.dump_sas()
    assert set(xfrm.dump_policies()) == set(WANTED.policies)
    assert WANTED.associations[1] in xfrm.dump_sas()


def test_a_missing_interface_is_an_error_and_the_others_are_protected(xfrm: Xfrm) -> None:
    gone = replace(INTERFACE, name="eth9", subnet=ip_network("10.0.9.0/30"))
    wanted = wanted_state([INTERFACE, gone], [key(1, True), key(1, False)])
    with pytest.raises(XfrmError, match="eth9"):
        Reconciler(xfrm).apply(wanted)
    there = {p for p in wanted.policies if p.selector.interface != "eth9"}
    assert set(xfrm.dump_policies()) == there


def test_policies_of_an_interface_that_vanished_are_removed(xfrm: Xfrm) -> None:
    Reconciler(xfrm).apply(WANTED)
    subprocess.run(["ip", "-n", NAMESPACE, "link", "del", "eth0"], check=True)
    Reconciler(xfrm).apply(Wanted())
    assert xfrm.dump_policies() == []
    assert xfrm.dump_sas() == []


def test_the_order_is_closed_first_inbound_before_outbound_and_new_before_old(xfrm: Xfrm) -> None:
    reconciler = Reconciler(xfrm)
    reconciler.apply(WANTED)
    new = wanted_state([INTERFACE], [key(2, True), key(2, False)])
    steps = [(c.kind, c.object, c.spi) for c in reconciler.apply(new)]
    added, replaced, removed = ChangeKind.ADDED, ChangeKind.REPLACED, ChangeKind.REMOVED
    assert steps[:3] == [
        (added, "sa", 0x1102), (added, "sa", 0x1002), (replaced, "policy", None),
    ]  # fmt: skip
    assert {step[0] for step in steps[3:]} == {removed}
