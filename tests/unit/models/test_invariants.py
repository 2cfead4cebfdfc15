"""Generations, floors and versions without bounds, and the runs that show what each defence is for: played on the code,
step by step, they come to a step that the code does not take.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks.store import GenerationLedger
from agents.lks.context import Context
from agents.lks.retained import COUNTERS, Retained
from agents.policy.errors import PolicyError
from agents.policy.group import GroupState, Issuer, SignedState
from agents.policy.keys import spki
from agents.policy.names import GroupId
from agents.policy.revocation import key_hash
from agents.runtime.effects import Effect, Persist
from models.invariants import FLOORS, GENERATIONS, SYSTEMS, VERSIONS, Taken, broken, counterexample, run_without
from models.table import UNBOUNDED
from testbed.simulation.network import Network
from testbed.simulation.parties import key

GROUP = GroupId("example", "b", "b-e0", "ospf")
OFTEN = 4


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_step_keeps_the_invariant_and_it_gives_each_claim(name: str) -> None:
    assert broken(SYSTEMS[name]) == []


def test_the_table_has_every_defence() -> None:
    assert {name: tuple(system.defences) for name, system in SYSTEMS.items()} == UNBOUNDED


@pytest.mark.parametrize(
    ("name", "defence"), [(name, defence) for name, system in SYSTEMS.items() for defence in system.defences]
)
def test_with_all_defences_no_run_of_that_length_breaks_the_claim_and_without_this_one_some_do(
    name: str, defence: str
) -> None:
    claim, steps = SYSTEMS[name].defences[defence]
    found = counterexample(SYSTEMS[name], defence)
    assert found is not None and len(found) <= steps
    assert run_without(SYSTEMS[name], claim, (), len(found)) is None


# -- floors: Retained.check ---------------------------------------------------------------------------


class Receiver:
    """One router's marks. Keys of the run are the speaker's own and, as a second one, the DKS's."""

    ISSUERS: tuple[Issuer, ...] = ("lks", "dks")

    def __init__(self) -> None:
        self.own, self.files = 1, dict[str, bytes]()
        self._keys: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        self.kept = Retained(self.files.get(COUNTERS), self._persist, self)

    def _persist(self, effect: Persist) -> None:
        self.files[effect.name] = effect.data

    def signers(self, _group: GroupId) -> Mapping[Issuer, bytes]:
        return {issuer: spki(key(issuer)) for issuer in self.ISSUERS}

    def newest_version(self) -> int:
        return self.own

    def revoked(self, _key: bytes) -> bool:
        return False

    def take(self, of: str, v: int, g: int) -> bool:
        """Whether the state is taken."""
        number = self._keys.setdefault(of, len(self._keys))
        assert number < len(self.ISSUERS), "runs of more keys than a group has at a time are not for this player"
        said = GroupState.of(GROUP, v, g, self.ISSUERS[number])
        try:
            self.kept.check(said)
        except PolicyError:
            return False
        self.kept.took(SignedState.sign(said, key(said.issuer)))
        return True


def played_on_receivers(run: Iterable[Taken]) -> Iterable[bool]:
    receivers: dict[object, Receiver] = {}
    for step in run:
        receiver = receivers.setdefault(step.choices["r"], Receiver())
        if step.name == "take":
            yield receiver.take(str(step.choices["k"]), int(step.choices["v"]), int(step.choices["g"]))
        elif step.name == "restart":
            receiver.start()
        elif step.name == "policy":
            receiver.own = int(step.choices["v"])


@pytest.mark.parametrize("defence", FLOORS.defences)
def test_a_state_that_only_a_missing_defence_lets_in_is_refused(defence: str) -> None:
    run = counterexample(FLOORS, defence)
    assert run is not None
    taken = list(played_on_receivers(run))
    assert not taken[-1] and all(taken[:-1]), run


# -- generations: Context.next_generation, GenerationLedger.next ----------------------------------------


class Maker:
    """One router's LKS and its disk."""

    def __init__(self) -> None:
        network = Network({"a--b": ("a", "b")})
        network.power_on("a")
        self._document = network.lks("a").document
        self.files = dict[str, bytes]()
        self._context: Context | None = None

    def boot(self) -> None:
        effects: list[Effect] = []
        self._context = Context(
            self._document, key("a"), self.files.get(COUNTERS), effects, random=bytes, sequence=lambda _spi, _to: 0
        )

    def crash(self) -> None:
        self._context = None

    def choose(self) -> int:
        """The number, reserved as the driver does it: before anything else."""
        assert self._context is not None
        number = self._context.next_generation()
        for effect in self._context.effects:
            if isinstance(effect, Persist):
                self.files[effect.name] = effect.data
        self._context.effects.clear()
        return number


@pytest.mark.parametrize("defence", GENERATIONS.defences)
def test_a_number_that_only_a_missing_defence_makes_twice_is_made_once(defence: str, tmp_path: Path) -> None:
    """Over and over, so that one power failure follows another; each process of the DKS has the ledger open."""
    run = counterexample(GENERATIONS, defence)
    assert run is not None
    maker, ledgers, used, ready = Maker(), dict[str, GenerationLedger](), list[int](), dict[str, list[int]]()
    for step in (step for _time in range(OFTEN) for step in run):
        match step.name:
            case "boot":
                maker.boot()
            case "crash":
                maker.crash()
            case "choose":
                used.append(maker.choose())
            case "ledger":
                process = str(step.choices["p"])
                ledger = ledgers.setdefault(process, GenerationLedger(tmp_path / "ledger"))
                ready.setdefault(process, []).append(ledger.next(GROUP, 1))
            case "issue":
                used.append(ready[str(step.choices["p"])].pop())
    assert len(used) >= 2 * OFTEN and len(set(used)) == len(used), run


# -- versions: Retained.acts_on -----------------------------------------------------------------------


class Signers:
    """Whose policy counts at one router."""

    def __init__(self) -> None:
        self.gone = set[bytes]()
        self._keys: dict[str, Ed25519PrivateKey] = {}

    def signers(self, _group: GroupId) -> Mapping[Issuer, bytes]:
        return {}

    def newest_version(self) -> int:
        return 1

    def revoked(self, hashed: bytes) -> bool:
        return hashed in self.gone

    def key(self, name: str) -> bytes:
        return spki(self._keys.setdefault(name, Ed25519PrivateKey.generate()))


@pytest.mark.parametrize("defence", ["MARK", "DISK_FIRST"])
def test_a_version_that_only_a_missing_defence_brings_back_is_refused(defence: str) -> None:
    run = counterexample(VERSIONS, defence)
    assert run is not None
    signers, written = Signers(), list[Persist]()
    kept = Retained(None, written.append, signers)
    taken = []
    for step in run:
        match step.name:
            case "adopt":
                taken.append(_raises(kept.acts_on, int(step.choices["v"]), signers.key(str(step.choices["a"]))))
            case "tell":
                signers.gone.add(key_hash(signers.key(str(step.choices["a"]))))
            case "restart":
                kept = Retained(written[-1].data if written else None, written.append, signers)
    assert taken[-1] and not any(taken[:-1]), run


def _raises(act: Callable[..., Any], *words: Any) -> bool:
    try:
        act(*words)
    except PolicyError:
        return True
    return False


def test_a_player_takes_what_no_defence_forbids() -> None:
    honest = [Taken("take", {"r": "r", "k": "k", "v": v, "g": g}) for v, g in itertools.product((1, 2), (3, 3))]
    assert all(played_on_receivers(sorted(honest, key=lambda each: each.choices["v"])))
