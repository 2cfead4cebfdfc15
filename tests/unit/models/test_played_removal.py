"""The counterexamples of the model of removal, played on the code by machine: what Spin's run does to two routers is
done to simulated ones, beside the removed router, which tells them old lists and makes up new ones.

A run says `STEP` for what is done from outside; how a list spreads is the code's own affair.
"""

from __future__ import annotations

import base64
import contextlib
import re
from typing import Any

import pytest
from cbor2 import loads
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.gikev2.revocation_exchange import Spread
from agents.ipsec.protection import RoutingProtocol
from agents.lks.lease import Lease as Kept
from agents.lks.retained import COUNTERS, Retained
from agents.policy.cose import Verifier
from agents.policy.document import Lease, Reconnect
from agents.policy.domain import Settings
from agents.policy.errors import PolicyError
from agents.policy.revocation import FILE, Revocations, make_list, sign_list
from agents.runtime.control import CommandRefused
from models.spin import verifier
from models.table import BEYOND, WITHOUT, Expected
from testbed.simulation.network import Network
from testbed.simulation.parties import key
from testbed.simulation.wires import Passing

LEASE_S = 40
SETTINGS = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=1, first_max_s=2, max_s=3))
ISOLATED = SETTINGS.model_copy(update={"lease": Lease(seconds=LEASE_S)})
_STEP = re.compile(r"^\s*STEP ([a-z]+)(?:_(\d))?$", re.MULTILINE)
BROKEN = [each for each in (*WITHOUT, *BEYOND) if each.model == "removal" and not each.holds]
ROUTERS = ("a", "b")
"""The model's router 0, which alone reaches the DKS, and router 1, which has the list of it."""
REMOVED, EARLIER = "x", "y"
"""The removed router, a neighbour of both; and one that the list before names."""
OLD, NEW = 1, 2


class Play:
    """One run on the code."""

    def __init__(self, switches: tuple[str, ...]) -> None:
        self._isolated = "ISOLATED" in switches
        segments = {"a--b": ("a", "b"), "a--x": ("a", "x"), "b--x": ("b", "x"), "x--y": ("x", "y")}
        settings = ISOLATED if self._isolated else SETTINGS
        network = self.network = Network(segments, protocols=(RoutingProtocol.OSPF,), settings=settings, dks=True)
        network.wires.tap = self._pass
        if self._isolated:
            network.wires.cut = {"a--b"}
        self._cut_off, self._exempt, self._had = False, set[str](), dict.fromkeys(ROUTERS, 0)
        self._older = self._list(EARLIER)
        self._before = {name: dict(network.nodes[name].files) for name in ROUTERS}
        network.power_on("dks")
        network.power_on(REMOVED)
        network.lks(REMOVED).revocation.offer = lambda *_: None  # type: ignore[method-assign]  # it heeds no list

    def _list(self, removed: str) -> bytes:
        """The DKS has a list with this router on it; documents stay as they are, so that the list alone decides."""
        signed = self.network.remove(removed, export=False)
        self.network.revocation = signed
        return signed

    def _pass(self, passing: Passing) -> Passing | None:
        ends = {passing.sender, passing.receiver}
        return None if "dks" in ends and (self._cut_off or "a" not in ends) else passing

    def step(self, what: str, number: str) -> None:
        """Do it, and let the parties go on."""
        network, name = self.network, ROUTERS[int(number or 0)]
        match what:
            case "boot":
                self._boot(name)
            case "crash":
                network.power_off(name)
            case "cut" | "heal":
                self._cut(name, what == "cut")
            case "remove":
                self._list(REMOVED)
            case "older" | "forged":
                self._tell(name, self._older if what == "older" else sign_list(
                    make_list("example", 9, 0, ()), key(REMOVED)))  # fmt: skip
            case "putback":
                network.nodes[name].files[FILE] = self._older
            case "rollback":
                network.nodes[name].files = dict(self._before[name])
                self._had[name] = 0
            case "mend":
                self._mend(name)
            case "over":
                self._over()
            case "lease" | "ask":
                pass
            case _:
                raise ValueError(f"the run does {what}, which nobody here can play")
        self._go_on(6)

    def _boot(self, name: str) -> None:
        """A router whose list was taken away does not start."""
        with contextlib.suppress(PolicyError):
            self.network.on(name)

    def _cut(self, name: str, cut: bool) -> None:
        if name == "a":
            self._cut_off = cut
        elif not self._isolated:
            self.network.wires.cut = {"a--b"} if cut else set()

    def _tell(self, name: str, signed: bytes) -> None:
        if self.network.nodes[name].core is not None:
            with contextlib.suppress(CommandRefused):
                self.network.command(name, "revocation", base64.b64encode(signed).decode())

    def _mend(self, name: str) -> None:
        """A person sets a router right that does not start: with the newest list, and without the record of numbers."""
        files = self.network.nodes[name].files
        files.pop(COUNTERS, None)
        assert self.network.revocation is not None
        files[FILE] = self.network.revocation

    def _over(self) -> None:
        """No more faults."""
        self._cut("a", False)
        self._cut("b", False)
        for name in ROUTERS:
            self._boot(name)

    def _go_on(self, seconds: int) -> None:
        """Whoever has had the list has it for ever, and does not hear the removed router from then on."""
        self._look()
        for _time in range(2 * seconds):
            self.network.run(self.network.now + 0.5)
            self._look()

    def _look(self) -> None:
        network = self.network
        for name in ROUTERS:
            if network.nodes[name].core is None:
                continue
            version = network.lks(name).revocation.version
            assert version >= self._had[name], f"{name} had list {self._had[name]}, and has {version}"
            self._had[name] = version
            assert version < NEW or not network.hears(name, REMOVED), name

    def end(self) -> None:
        """Whatever was done, nobody accepts the removed router, and the others hear each other."""
        self._over()
        for name in ROUTERS:
            if self.network.nodes[name].core is None:
                self._mend(name)
                self._boot(name)
        self._go_on(2 * LEASE_S if self._isolated else 20)
        network = self.network
        assert not any(network.hears(name, REMOVED) for name in ROUTERS)
        told = {name: network.lks(name).revocation.version for name in ROUTERS}
        assert told["a"] == NEW and (self._isolated or told["b"] == NEW)
        assert self._isolated or (network.hears("a", "b") and network.hears("b", "a"))


def played(expected: Expected) -> None:
    verdict = verifier(expected.model, expected.switches).check(expected.claim, trace=True)
    assert not verdict.holds
    steps = _STEP.findall(verdict.trace)
    assert {("boot", "0"), ("boot", "1"), ("remove", "")} <= set(steps)
    play = Play(expected.switches)
    for each in steps:
        play.step(*each)
    play.end()


@pytest.mark.parametrize("expected", BROKEN, ids=str)
def test_what_breaks_the_model_of_removal_does_the_code_no_harm(expected: Expected) -> None:
    played(expected)


_take = Revocations.take


def _any_list(self: Revocations, signed: bytes) -> Any:
    """Revocations.take for which every list is newer."""
    if signed == self.signed:
        return None
    self._held = None
    return _take(self, signed)


def _payload(_self: object, _label: str, data: bytes, _key: Ed25519PublicKey) -> bytes:
    """What a COSE_Sign1 says, whoever signed it."""
    return bytes(loads(data).value[2])


_UNNUMBERED = (Retained, "acts_on_revocation", lambda _self, _version: None)
WITHOUT_IT: dict[str, tuple[tuple[type, str, object], ...]] = {
    "NO_SIGNATURE": ((Verifier, "verify", _payload),),
    "NO_MONOTONE": ((Revocations, "take", _any_list), _UNNUMBERED),
    "NO_DISK_FIRST": ((Retained, "revocation", lambda _self, _signed, _version: None),),
    "NO_NUMBER": (_UNNUMBERED,),
    "NO_PASS_ON": ((Spread, "with_list", Spread.hello),),
    "NO_LEASE": ((Kept, "tick", lambda _self, _now: False), (Kept, "next_timer", lambda _self: None)),
}
"""By defence of the model, what of the code is otherwise without it. An older list is refused twice: by the list that
is held, and by the number on the disk."""


@pytest.mark.parametrize(
    "expected", [each for each in BROKEN if each.switches[0] in WITHOUT_IT], ids=lambda each: each.switches[0]
)
def test_a_code_without_the_defence_comes_to_the_harm_that_the_model_tells_of(
    monkeypatch: pytest.MonkeyPatch, expected: Expected
) -> None:
    for owner, method, broken in WITHOUT_IT[expected.switches[0]]:
        monkeypatch.setattr(owner, method, broken)
    with pytest.raises(AssertionError):
        played(expected)


def test_every_defence_of_the_model_is_taken_out_of_the_code() -> None:
    named = {switch for each in BROKEN for switch in each.switches if switch.startswith("NO_")}
    assert named == set(WITHOUT_IT)


def test_what_is_no_step_of_a_party_is_an_error_of_the_player() -> None:
    with pytest.raises(ValueError, match="nobody here can play"):
        Play(()).step("magic", "")
