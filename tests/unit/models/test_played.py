"""The counterexamples of the model of generations, played on the code by machine: what Spin's run does to the parties
is done to simulated ones, and the code, which has the defence that the model had not, comes to no harm.

A run says `STEP` for what is done from outside: starts, power failures, cuts, files put back, rekeys, newer policy.
What the protocol does between is the code's own affair.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from agents.ipsec.protection import RoutingProtocol
from agents.lks.retained import COUNTERS, Retained
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.runtime.control import CommandRefused
from models.spin import verifier
from models.table import BEYOND, WITHOUT, Expected
from testbed.simulation.network import Network
from testbed.simulation.wires import Passing
from testbed.soak import witness

SHARED = Settings(
    validity_s=1 << 33,
    issuer="dks",
    lifetimes=Lifetimes(group_s=3600),
    reconnect=Reconnect(first_min_s=1, first_max_s=3, max_s=5),
)
ALONE = SHARED.model_copy(update={"issuer": "lks"})
_STEP = re.compile(r"^\s*STEP (\w+)$", re.MULTILINE)
_SETTLES_S = 60.0
"""Much less than the life of a key, so that no rekey for its age mends anything."""
BROKEN = [each for each in (*WITHOUT, *BEYOND) if each.model == "epochs" and not each.holds]
PARTIES = {"s": "a", "r": "b", "d": "dks"}
"""The speaker, its receiver, and the DKS of the model."""


class Play:
    """One run on the code."""

    def __init__(self, settings: Settings) -> None:
        network = self.network = Network(
            {"a--b": ("a", "b")}, protocols=(RoutingProtocol.OSPF,), settings=settings, dks=True
        )
        network.wires.tap = self._pass
        self._first = dict(network.nodes["a"].files)
        self._without_dks = False
        self._floors: dict[str, tuple[int, int]] = {}
        self.restored = False

    def _pass(self, passing: Passing) -> Passing | None:
        return None if self._without_dks and "dks" in (passing.sender, passing.receiver) else passing

    def step(self, name: str) -> None:
        """Do it, and let the parties go on for a moment."""
        network = self.network
        what, _, who = name.rpartition("_")
        match what or name:
            case "boot":
                if network.nodes[PARTIES[who]].core is None:
                    network.power_on(PARTIES[who])
            case "crash":
                network.power_off(PARTIES[who])
            case "cut" | "heal":
                if who == "d":
                    self._without_dks = what == "cut"
                else:
                    network.wires.cut = {"a--b"} if what == "cut" else set()
            case "rollback":
                if who == "s":
                    network.nodes["a"].files = dict(self._first)
                    self.restored = True
                else:
                    network.ledger._connection.execute("DELETE FROM marks")
                    network.ledger._connection.execute("DELETE FROM set_aside")
            case "rekey":
                if network.nodes["a"].core is not None:
                    with contextlib.suppress(CommandRefused):
                        network.command("a", "rekey")
            case "publish":
                network.renew()
            case "over":
                self.mend()
            case "use" | "lose":
                network.run(network.now + 1)
            case _:
                raise ValueError(f"the run does {name}, which nobody here can play")
        network.run(network.now + 0.3)
        self._look()

    def mend(self) -> None:
        """No more faults."""
        self._without_dks, self.network.wires.cut = False, set()
        for name in PARTIES.values():
            if self.network.nodes[name].core is None:
                self.network.power_on(name)

    def _look(self) -> None:
        """A receiver takes no lower generation than it has had."""
        record = self.network.nodes["b"].files.get(COUNTERS)
        if record is None:
            return
        for group, pair in witness.kept(record).floors.items():
            before = self._floors.get(group, (0, 0))
            assert pair[1] >= before[1], f"{group}: {before} became {pair}"
            self._floors[group] = pair

    def end(self) -> None:
        """Whatever was done, all ends well."""
        self.mend()
        network = self.network
        for _second in range(int(_SETTLES_S)):
            network.run(network.now + 1)
            self._look()
        assert network.all_keyed()
        self._one_key_each()

    def _one_key_each(self) -> None:
        """A generation has one key; of a speaker whose folder was put back, at each party that had it."""
        keys: dict[object, set[bytes]] = defaultdict(set)
        for node in self.network.nodes.values():
            for _when, kernel in node.kernels:
                for sa in kernel.sas:
                    whose = (node.name, node.boots if sa.outbound else 0) if self.restored else ()
                    keys[whose, sa.speaker, sa.destination, sa.generation].add(sa.keymat)
        assert keys and (self.restored or all(len(each) == 1 for each in keys.values()))
        heard = [each for (whose, *_rest), each in keys.items() if whose[:1] == ("b",)]  # type: ignore[misc]
        assert all(len(each) == 1 for each in heard)


def steps_of(expected: Expected) -> Iterator[str]:
    verdict = verifier(expected.model, expected.switches).check(expected.claim, trace=True)
    assert not verdict.holds
    yield from _STEP.findall(verdict.trace)


@pytest.mark.parametrize("expected", BROKEN, ids=str)
def test_what_breaks_the_model_of_generations_does_the_code_no_harm(expected: Expected) -> None:
    play = Play(ALONE if "LKS_ONLY" in expected.switches else SHARED)
    steps = list(steps_of(expected))
    assert {"boot_s", "boot_r", "use"} <= set(steps)
    for each in steps:
        play.step(each)
    play.end()


@pytest.mark.parametrize(
    ("switches", "claim", "method", "broken"),
    [
        (("NO_RESERVE", "FAULTS=1"), "one_key_used", "reserve", lambda _self, _generation, _block: None),
        (("NO_SHOWN", "ROLLBACK_S", "FAULTS=2"), "all_keyed", "signed_state", lambda _self, _group: None),
    ],
    ids=["NO_RESERVE", "NO_SHOWN"],
)
def test_a_code_without_the_defence_comes_to_the_harm_that_the_model_tells_of(
    monkeypatch: pytest.MonkeyPatch, switches: tuple[str, ...], claim: str, method: str, broken: object
) -> None:
    monkeypatch.setattr(Retained, method, broken)
    play = Play(SHARED)
    with pytest.raises(AssertionError):
        for each in steps_of(Expected("epochs", switches, claim)):
            play.step(each)
        play.end()


def test_what_is_no_step_of_a_party_is_an_error_of_the_player() -> None:
    with pytest.raises(ValueError, match="nobody here can play"):
        Play(SHARED).step("magic")
