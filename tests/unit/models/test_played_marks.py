"""The counterexamples of the model of marks, played on the code by machine: a receiver hears words of a speaker's first
machine and of the one that replaces it, and is given policy by an administrator, who is revoked, and by the root key.

Words are checked and kept as a router keeps them (`Retained`); policy goes to a whole simulated router.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from agents.ipsec.protection import RoutingProtocol
from agents.lks import core as lks_core
from agents.lks.core import LksCore
from agents.lks.retained import Retained
from agents.policy.delegation import Delegation, join, sign_delegation
from agents.policy.document import sign_document, verify_document
from agents.policy.errors import PolicyError
from agents.policy.group import GroupState, Issuer, SignedState, sign_group_state
from agents.policy.keys import spki
from agents.policy.names import GroupId
from agents.policy.revocation import Revoked, key_hash, make_list, sign_list
from agents.runtime.effects import Persist
from models.spin import verifier
from models.table import WITHOUT, Expected
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER, key

GROUP = GroupId.of("example", "b", "b-e0", RoutingProtocol.OSPF)
MACHINES = {1: key("b"), 2: key("b, new machine")}
ADMINISTRATOR, ROOT = 1, 2
LAST_WORD, LAST_VERSION = 2, 3
"""What the second machine and the root key say last, in the model."""
FIRST = 1
"""The version that a simulated router begins with, where the model has 0."""
_STEP = re.compile(r"^\s*STEP ([a-z]+)(?:_(\d))?(?:_(\d))?$", re.MULTILINE)
BROKEN = [each for each in WITHOUT if each.model == "marks"]


class Play:
    """One run on the code."""

    def __init__(self) -> None:
        self._known, self._had = 1, dict.fromkeys(MACHINES, 0)
        self._record: bytes | None = None
        self._start()
        network = self._network = Network({"a--b": ("a", "b")})
        network.power_on("a")
        network.run(1)
        self._counting = FIRST
        """The highest version in force of whoever is not revoked."""
        self._administrator = key("an administrator")
        word = Delegation(domain="example", name="one", key=spki(self._administrator), issued_at=0, expires_at=1 << 30)
        self._delegation = sign_delegation(word, POLICY_SERVER)
        entry = Revoked(name="one", key=key_hash(spki(self._administrator)))
        self._list = sign_list(make_list("example", 1, 0, (), [entry]), POLICY_SERVER)
        self._by_root = FIRST

    # -- as Standing, of the words

    def signers(self, _group: GroupId) -> Mapping[Issuer, bytes]:
        return {"lks": spki(MACHINES[self._known])}

    def newest_version(self) -> int:
        return 1

    def revoked(self, _hashed: bytes) -> bool:
        return False

    # -- what is done

    def _start(self) -> None:
        self._kept = Retained(self._record, self._persist, self)

    def _persist(self, effect: Persist) -> None:
        self._record = effect.data

    def step(self, what: str, which: int, number: int) -> None:
        match what:
            case "word":
                self._word(number)
            case "key":
                self._known = which
            case "version":
                self._version(which, number)
            case "told":
                self._network.hand_over("a", self._list)
                self._counting = self._by_root
            case "crash":
                self._network.power_off("a")
            case "boot":
                self._start()
                self._network.power_on("a")
            case _:
                raise ValueError(f"the run does {what}, which nobody here can play")

    def _word(self, number: int) -> bool:
        said = GroupState.of(GROUP, 1, number, "lks")
        try:
            self._kept.check(said)
        except PolicyError:
            return False
        assert number >= self._had[self._known], f"{number} is taken after {self._had[self._known]}"
        self._had[self._known] = number
        self._kept.took(SignedState(said, sign_group_state(said, MACHINES[self._known])))
        return True

    def _version(self, signer: int, number: int) -> None:
        network = self._network
        anew = network.documents["a"].model_copy(update={"version": FIRST + number})
        own = join(self._delegation, sign_document(anew, self._administrator))
        core = network.lks("a")
        core.take_document(sign_document(anew, POLICY_SERVER) if signer == ROOT else own, network.now)
        core.tick(network.now)
        network.after(network.nodes["a"])
        version = core.document.version
        if version == FIRST + number:
            assert version >= self._counting, f"{version} is in force after {self._counting}"
            self._counting = version
            self._by_root = version if signer == ROOT else self._by_root

    def end(self) -> None:
        """The new machine's last word is heard, and the root key's last policy is in force."""
        self.step("key", 2, 0)
        assert self._word(LAST_WORD)
        self.step("told", 0, 0)
        self._version(ROOT, LAST_VERSION)
        assert self._network.lks("a").document.version == FIRST + LAST_VERSION


def played(expected: Expected) -> None:
    verdict = verifier(expected.model, expected.switches).check(expected.claim, trace=True)
    assert not verdict.holds
    steps = _STEP.findall(verdict.trace)
    assert {what for what, _which, _number in steps} & {"word", "version"}
    play = Play()
    for what, which, number in steps:
        play.step(what, int(which or 0), int(number or 0))
    play.end()


@pytest.mark.parametrize("expected", BROKEN, ids=str)
def test_what_breaks_the_model_of_marks_does_the_code_no_harm(expected: Expected) -> None:
    played(expected)


def _any_version(*words: Any, **named: Any) -> Any:
    return verify_document(*words, **{**named, "minimum_version": 0})


WITHOUT_IT: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    "NO_KEY": ((Retained, "_signer", lambda _self, _group, _issuer: "whoever speaks"),),
    "NO_FLOOR": ((Retained, "check", lambda _self, _state: None),),
    "NO_DISK_FIRST": ((Retained, "_write", lambda _self: None),),
    "NO_MARK": (
        (lks_core, "verify_document", _any_version), (LksCore, "policy_wanted", 0),
        (Retained, "acts_on", lambda _self, _version, _signer=b"": None),
    ),
    "NO_FORGET": ((Retained, "_is_revoked", lambda _self, _key: False),),
    "NO_AGAIN": ((LksCore, "_signed_by_revoked", lambda _self: False),),
}  # fmt: skip
"""By defence of the model, what of the code is otherwise without it."""


@pytest.mark.parametrize("expected", BROKEN, ids=lambda each: each.switches[0])
def test_a_code_without_the_defence_comes_to_the_harm_that_the_model_tells_of(
    monkeypatch: pytest.MonkeyPatch, expected: Expected
) -> None:
    for each in WITHOUT_IT[expected.switches[0]]:
        monkeypatch.setattr(*each)
    with pytest.raises(AssertionError):
        played(expected)
