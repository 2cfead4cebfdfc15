"""Keys end without us: each SA has an end in the kernel, and one that others took out is not put back."""

from __future__ import annotations

import math
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from agents.ipsec.messages import Message
from agents.ipsec.model import UNLIMITED, SaDirection, Wanted
from agents.ipsec.plan import GRACE_S, wanted_state
from agents.ipsec.port import ChangeKind, SasLost
from agents.ipsec.protection import GroupSa, Mode, ProtectedInterface, RoutingProtocol, Suite
from agents.ipsec.reconciler import Reconciler
from tests.unit.ipsec.memory_kernel import MemoryKernel

INTERFACE = ProtectedInterface(
    "eth0", RoutingProtocol.OSPF, Mode.REQUIRED, "p2p",
    ip_address("10.0.0.1"), ip_network("10.0.0.0/30"), (ip_address("10.0.0.2"),),
)  # fmt: skip


def key(outbound: bool, until: float = math.inf, keymat: int = 1, spi: int = 0x1000) -> GroupSa:
    return GroupSa(
        spi=spi + (0 if outbound else 0x100), suite=Suite.default(), keymat=bytes([keymat]) * 48,
        speaker=ip_address("10.0.0.1" if outbound else "10.0.0.2"), destination=ip_address("224.0.0.5"),
        protocol=RoutingProtocol.OSPF, interface="eth0", outbound=outbound, generation=1, until=until,
    )  # fmt: skip


def wanted(until: float = math.inf, *, now: float = 100.0, keymat: int = 1) -> Wanted:
    return wanted_state([INTERFACE], [key(True, until, keymat), key(False, until, keymat)], now)


@pytest.fixture
def kernel() -> MemoryKernel:
    return MemoryKernel()


@pytest.fixture
def reconciler(kernel: MemoryKernel) -> Reconciler:
    return Reconciler(kernel, wall=lambda: float(kernel.wall_s))


def ends(kernel: MemoryKernel) -> set[int]:
    """Seconds from now after which the kernel ends its SAs."""
    return {sa.added_s + sa.lifetime.hard_add_s - kernel.wall_s for sa in kernel.sas.values()}


def test_a_dead_agent_leaves_no_key_in_use_beyond_its_end_and_every_policy(
    kernel: MemoryKernel, reconciler: Reconciler
) -> None:
    reconciler.apply(wanted(until=160.0))
    assert ends(kernel) == {60 + GRACE_S}
    kernel.wall_s += 60 + GRACE_S
    assert kernel.dump_sas() == []
    assert set(kernel.policies.values()) == set(wanted().policies), "what needs a key is dropped, not sent in clear"


def test_a_key_that_is_over_already_goes_within_the_grace(kernel: MemoryKernel, reconciler: Reconciler) -> None:
    reconciler.apply(wanted(until=20.0))
    assert ends(kernel) == {GRACE_S}


def test_keys_without_a_planned_end_have_none_in_the_kernel() -> None:
    assert {each.lifetime for each in wanted().associations} == {UNLIMITED}


def test_an_end_that_is_as_planned_is_left_alone_however_late_it_is_looked_at(
    kernel: MemoryKernel, reconciler: Reconciler
) -> None:
    reconciler.apply(wanted(until=160.0))
    for later in (1, 30, 59):
        kernel.wall_s = 1_000_000 + later
        assert reconciler.apply(wanted(until=160.0, now=100.4 + later)) == []


@pytest.mark.parametrize(("before", "after"), [(160.0, 300.0), (300.0, 160.0), (math.inf, 160.0)])
def test_a_changed_end_changes_the_sa_in_its_place(
    kernel: MemoryKernel, reconciler: Reconciler, before: float, after: float
) -> None:
    reconciler.apply(wanted(until=before))
    kernel.counted(0x1000, 4711)
    kernel.wall_s += 20
    kernel.requests.clear()
    assert {each.kind for each in reconciler.apply(wanted(until=after, now=120.0))} == {ChangeKind.REPLACED}
    assert kernel.requests == [Message.UPDSA] * 2
    assert ends(kernel) == {after - 120 + GRACE_S}
    assert 4711 in {sa.sequence for sa in kernel.sas.values()}
    assert reconciler.apply(wanted(until=after, now=120.0)) == []


def test_an_end_that_is_planned_no_more_is_taken_away(kernel: MemoryKernel, reconciler: Reconciler) -> None:
    reconciler.apply(wanted(until=160.0))
    reconciler.apply(wanted())
    assert {sa.lifetime for sa in kernel.sas.values()} == {UNLIMITED}
    assert reconciler.apply(wanted()) == []


@pytest.mark.parametrize("step_s", [-40, 40])
def test_after_a_step_of_the_wall_clock_the_end_is_as_planned_again(
    kernel: MemoryKernel, reconciler: Reconciler, step_s: int
) -> None:
    reconciler.apply(wanted(until=160.0))
    kernel.wall_s += step_s
    reconciler.apply(wanted(until=160.0))
    assert ends(kernel) == {60 + GRACE_S}


def test_an_sa_that_others_took_out_is_not_put_back_and_the_rest_is_mended(
    kernel: MemoryKernel, reconciler: Reconciler
) -> None:
    reconciler.apply(wanted())
    kernel.counted(0x1000, 4711)
    kernel.sas.clear()
    kernel.policies.clear()
    for _ in range(2):  # as long as it is wanted
        with pytest.raises(SasLost, match="2 SAs"):
            reconciler.apply(wanted())
        assert kernel.sas == {}
        assert set(kernel.policies.values()) == set(wanted().policies)
    other = wanted(keymat=2)
    reconciler.apply(other)
    assert set(kernel.sas.values()) == set(other.associations), "other keys have counters of their own"


def test_an_sa_whose_key_others_changed_is_taken_out(kernel: MemoryKernel, reconciler: Reconciler) -> None:
    reconciler.apply(wanted())
    for place, sa in kernel.sas.items():
        assert sa.integrity is not None
        kernel.sas[place] = replace(sa, integrity=replace(sa.integrity, key=bytes(32)))
    with pytest.raises(SasLost):
        reconciler.apply(wanted())
    assert kernel.sas == {}


def test_an_sa_that_was_taken_out_by_plan_and_comes_back_goes_on_counting(
    kernel: MemoryKernel, reconciler: Reconciler
) -> None:
    reconciler.apply(wanted())
    kernel.counted(0x1000, 4711)
    kernel.counted(0x1100, 815)
    reconciler.apply(wanted_state([INTERFACE], []))  # a lease that ended, an interface that went
    assert kernel.sas == {}
    reconciler.apply(wanted())
    found = {sa.direction: sa.sequence for sa in kernel.sas.values()}
    assert found == {SaDirection.OUT: 4711, SaDirection.IN: 815}
