"""The fault boundary: whatever is raised behind it ends one IKE SA at most, is told with its cause, and passes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from agents.dks.carried import Carried
from agents.dks.core import PushDocument
from agents.dks.documents import Documents
from agents.dks.groups import Groups
from agents.dks.groups import PushGeneration as PushFromDks
from agents.dks.revocation import DksRevocations
from agents.dks.store import GenerationLedger
from agents.gikev2.courier import AskDocument, Courier, ShowDocuments
from agents.gikev2.member import GroupMember
from agents.gikev2.party import GroupParty, Registration
from agents.gikev2.revocation_exchange import SendRevocations, Spread
from agents.gikev2.server import KeyServer
from agents.ikev2.fragments import Reassembler
from agents.ikev2.ike_rekey import RekeyIke
from agents.ikev2.initiator import Initiator, _Accepted
from agents.ikev2.responder import Responder
from agents.lks.carrying import Carrying
from agents.lks.central import CentralGroups, CentralLink
from agents.lks.central import Register as RegisterAtDks
from agents.lks.dks_link import AtDks, DksLink, OrderGeneration, RenewLease, Report
from agents.lks.generations import Hearing, Sending
from agents.lks.link import Link
from agents.lks.listener import Listener, Register
from agents.lks.own_confirmation import Confirm, Confirming
from agents.lks.revocation import RouterRevocations
from agents.lks.speaker import PushGeneration, Speaker
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.runtime.boundary import EACH, PAUSE_S, Boundary
from agents.runtime.control import CommandRefused
from testbed.simulation.network import Network

QUICK = Settings(
    validity_s=1 << 33,
    lifetimes=Lifetimes(group_s=60, ike_s=90),
    reconnect=Reconnect(first_min_s=1, first_max_s=2, max_s=4),
)
OF_LKS = (
    Speaker,
    Listener,
    Link,
    Spread,
    DksLink,
    KeyServer,
    GroupMember,
    Hearing,
    Sending,
    Confirming,
    RouterRevocations,
)
OF_LKS += (GroupParty, Registration, Register, PushGeneration, Confirm, RenewLease, Report, AtDks, SendRevocations)
OF_LKS += (Courier, AskDocument, ShowDocuments, Carrying)
OF_IKE = (Initiator, _Accepted, Responder, RekeyIke, Reassembler)
OF_DKS = (
    Carried,
    PushDocument,
    Groups,
    GenerationLedger,
    Documents,
    DksRevocations,
    Spread,
    KeyServer,
    GroupParty,
    PushFromDks,
)
CENTRAL = (CentralGroups, CentralLink, RegisterAtDks)
UNGUARDED = {
    # Asked by the driver between inputs, or when all begins.
    "next_timer", "sas", "wanted", "take", "start", "status", "complete", "keyed", "held", "has", "groups", "stop",
    "policy_version", "close", "may_send", "_may_send", "_parts", "entries", "signed", "version", "digest", "receive",
    "tick", "on_closed", "_drain", "_timers", "closed", "expired", "begin", "wake", "set_up", "_plan",
}  # fmt: skip


def methods(*kinds: type) -> list[Any]:
    found = []
    for kind in kinds:
        for name, item in vars(kind).items():
            function = item.__func__ if isinstance(item, staticmethod) else item
            plain = inspect.isfunction(function) and not name.startswith("__")
            if plain and name not in UNGUARDED:
                found.append(pytest.param(kind, name, id=f"{kind.__name__}.{name}"))
    return found


class Once:
    """Raises when it is called for the first time after it was armed."""

    def __init__(self, patch: pytest.MonkeyPatch, kind: type, name: str) -> None:
        self.armed, self.raised = False, 0
        raw = vars(kind)[name]
        whole: Callable[..., Any] = raw.__func__ if isinstance(raw, staticmethod) else raw

        def instead(*arguments: Any, **options: Any) -> Any:
            if self.armed:
                self.armed, self.raised = False, 1
                raise ZeroDivisionError(f"{kind.__name__}.{name}")
            return whole(*arguments, **options)

        patch.setattr(kind, name, staticmethod(instead) if isinstance(raw, staticmethod) else instead)


def survives(network: Network, once: Once) -> None:
    network.record.faults_wanted = True
    network.power_on_all()
    assert network.run(20, network.all_keyed)
    once.armed = True
    network.run(network.now + 1)
    for router in network.routers:
        try:
            network.command(router, "rekey")
        except CommandRefused as refusal:
            assert "ZeroDivisionError" in str(refusal) or "DKS makes" in str(refusal)
    network.run(network.now + 70)
    network.power_off("b")
    network.run(network.now + 3)
    network.power_on("b")
    network.run(network.now + 150)
    once.armed = False
    assert network.run(network.now + 90, network.all_keyed)
    told = [each for each in network.seen("fault") if "ZeroDivisionError" in str(each.fields["cause"])]
    assert len(told) <= once.raised


def test_a_fault_while_an_interface_comes_up_passes() -> None:
    for kind, name in ((Listener, "asks"), (GroupMember, "_capabilities"), (Link, "on_closed")):
        with pytest.MonkeyPatch.context() as patch:
            network = Network({"a--b": ("a", "b")}, settings=QUICK)
            network.record.faults_wanted = True
            Once(patch, kind, name).armed = True
            network.power_on_all()
            assert network.run(60, network.all_keyed), name


@pytest.mark.parametrize(("kind", "name"), methods(*OF_LKS, *OF_IKE))
def test_what_is_raised_anywhere_in_a_local_key_server_passes(
    kind: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network({"a--b": ("a", "b")}, dks=True, settings=QUICK)
    survives(network, Once(monkeypatch, kind, name))


@pytest.mark.parametrize(("kind", "name"), methods(*OF_DKS, *CENTRAL))
def test_what_is_raised_anywhere_under_a_dks_that_makes_the_keys_passes(
    kind: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = QUICK.model_copy(update={"issuer": "dks", "local_key_server": False})
    network = Network({"a--b": ("a", "b")}, dks=True, settings=settings)
    survives(network, Once(monkeypatch, kind, name))


@pytest.mark.parametrize(("kind", "name"), methods(OrderGeneration))
def test_what_is_raised_in_an_order_to_the_dks_passes(kind: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network({"a--b": ("a", "b")}, dks=True, settings=QUICK.model_copy(update={"issuer": "dks"}))
    survives(network, Once(monkeypatch, kind, name))


def test_a_fault_is_told_with_its_cause_and_place_and_not_without_end() -> None:
    told: list[dict[str, object]] = []
    boundary = Boundary(lambda kind, **fields: told.append(fields))
    for _ in range(1000):
        assert boundary.run("datagram", lambda: 1 // 0) is None
    assert boundary.count == 1000 and EACH < len(told) < 30
    assert told[0]["cause"] == "ZeroDivisionError: integer division or modulo by zero"
    assert str(told[0]["at"]).startswith("test_boundary.py:")


def test_a_timer_that_raises_has_a_pause() -> None:
    boundary = Boundary(lambda kind, **fields: None)
    calls: list[float] = []

    def due() -> None:
        calls.append(1.0)
        raise ValueError("always")

    for now in (0.0, 0.1, 0.2, PAUSE_S):
        boundary.timer("part", due, now)
        assert boundary.due("part", 0.0) == (PAUSE_S if now < PAUSE_S else 2 * PAUSE_S)
    assert len(calls) == 2


def test_a_command_that_raises_is_refused_and_ends_nothing() -> None:
    boundary = Boundary(lambda kind, **fields: None)
    with pytest.raises(CommandRefused, match="ZeroDivisionError"):
        boundary.command(lambda: 1 // 0)
