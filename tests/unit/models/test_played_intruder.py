"""Counterexamples of the symbolic models, played on the code by machine, where what the intruder sends was signed by
somebody: policy documents, and rekey messages to all. What it gives a party, it gives the real one.

What it composes of its own secrets in a handshake is played by hand (test_traces.py).
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from cbor2 import loads

from agents.gikev2.rekey import KEYMAT_OCTETS, RekeyReceiver, RekeySa, RekeySender
from agents.ikev2 import IntegrityFailure, NotifyPayload
from agents.lks import core as lks_core
from agents.lks.core import LksCore
from agents.lks.retained import Retained
from agents.policy.cose import Verifier
from agents.policy.document import sign_document, verify_document
from agents.policy.revocation import make_list, sign_list
from models.symbolic import search
from models.table import SYMBOLIC, Secure
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER, key

MISLED = [each for each in SYMBOLIC if each.goal == "misled"]
ALL = [each for each in SYMBOLIC if each.scenario == "multicast"]
BEGIN = 2
"""The version that the model's router acts on at first."""
IN_FORCE, HEARD = re.compile(r"\bpolicy\(a, (\d+), \d+\)"), re.compile(r"\ball\(a, (\d+), \d+, \d+\)")


def numbers(each: Secure, what: re.Pattern[str]) -> list[int]:
    """The number of each message that the party takes on the way to the bad state."""
    found = search(each.scenario, each.goal, each.without)
    assert found.bad and found.steps
    return [int(match[1]) for term in found.terms if (match := what.search(term)) is not None]


class Router:
    """Router a, and what was ever signed in the model, by its number there."""

    def __init__(self) -> None:
        network = self._network = Network({"a--b": ("a", "b")})
        network.power_on("a")

        def document(router: str, version: int, by: Any = POLICY_SERVER) -> bytes:
            return sign_document(network.documents[router].model_copy(update={"version": version}), by)

        self._known = {
            1: document("a", 1), 3: document("a", 3), 4: document("b", 4),
            5: sign_list(make_list("example", 5, 0, ()), POLICY_SERVER),
        }  # fmt: skip
        self._of_dks = document("a", 3, key("dks"))
        self._give(document("a", BEGIN))
        assert self._at() == ("a", BEGIN)

    def _at(self) -> tuple[str, int]:
        document = self._network.lks("a").document
        return document.router, document.version

    def _give(self, signed: bytes) -> None:
        network, core = self._network, self._network.lks("a")
        core.take_document(signed, network.now)
        core.tick(network.now)
        network.after(network.nodes["a"])

    def play(self, each: Secure) -> None:
        for number in numbers(each, IN_FORCE):
            before = self._at()
            self._give(self._of_dks if "root" in each.without else self._known[number])
            assert self._at() == before, f"{number} is in force in place of {before}"


@pytest.mark.parametrize("each", MISLED, ids=str)
def test_no_policy_that_only_a_missing_defence_lets_in_comes_into_force(each: Secure) -> None:
    Router().play(each)


def _payload(_self: object, _label: str, data: bytes, _key: object) -> bytes:
    return bytes(loads(data).value[2])


def _loose(**named: Any) -> Any:
    return lambda *words, **given: verify_document(*words, **{**given, **named})


WITHOUT_IT: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    "router": ((lks_core, "verify_document", _loose(router=None)),),
    "version": (
        (lks_core, "verify_document", _loose(minimum_version=0)), (LksCore, "policy_wanted", 0),
        (Retained, "acts_on", lambda _self, _version, _signer=b"": None),
    ),
    "root": ((Verifier, "verify", _payload),),
}  # fmt: skip
"""By defence of the model, what of the code is otherwise without it. A list is no document even without its label."""


@pytest.mark.parametrize("each", [each for each in MISLED if each.without[0] in WITHOUT_IT], ids=str)
def test_a_code_without_the_defence_acts_on_it(monkeypatch: pytest.MonkeyPatch, each: Secure) -> None:
    router = Router()
    for one in WITHOUT_IT[each.without[0]]:
        monkeypatch.setattr(*one)
    with pytest.raises(AssertionError, match="is in force in place of"):
        router.play(each)


@pytest.mark.parametrize("each", ALL, ids=str)
def test_of_the_rekeys_to_all_the_last_that_only_a_missing_defence_lets_in_is_refused(each: Secure) -> None:
    sa = RekeySa(bytes(range(1, 17)), bytes(KEYMAT_OCTETS))
    server = RekeySender(sa, key("dks"), lambda count: bytes(count))
    sent = {number: server.message([NotifyPayload(40965)]) for number in (1, 2, 3)}
    member = RekeySender(sa, key("e"), lambda count: bytes(count))
    sent[4] = [member.message([NotifyPayload(40965)]) for _time in range(4)][-1]
    receiver = RekeyReceiver(sa, key("dks").public_key())
    # The receiver's state says which message it waits for next.
    *taken, last = [number - 1 for number in numbers(each, HEARD)]
    for number in taken:
        assert receiver.open(sent[number])
    with pytest.raises(IntegrityFailure):
        receiver.open(sent[last])
