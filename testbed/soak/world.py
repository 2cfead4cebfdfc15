"""A simulated domain whose every effect is judged, and what faults need of it. Knows no single fault."""

from __future__ import annotations

from agents.dks.core import DksCore
from agents.lks.core import LksCore
from agents.lks.retained import DOCUMENT
from agents.policy import edit
from agents.policy.keys import spki
from agents.runtime.effects import Effect, Event, Kernel, Persist
from testbed.faults.steps import LinkAllow, RouterRemove, Step
from testbed.simulation.network import Network
from testbed.simulation.parties import key
from testbed.simulation.simulation import Files, Node
from testbed.simulation.wires import Passing
from testbed.soak.faults import PHANTOMS, REMOVED, SEGMENTS, pace_of, settings_of
from testbed.soak.invariants import Invariants
from testbed.soak.outsider import Outsider

PASSED = 2000
"""How many datagrams are kept to be replayed."""


class World(Network):
    """One seed's domain. `steps`: effects that were done."""

    def __init__(self, seed: int) -> None:
        super().__init__(SEGMENTS, settings=settings_of(seed), dks=True, seed=seed)
        for name in PHANTOMS:
            self.domain = edit.add_router(self.domain, name, spki(key(name)))
            self.domain = edit.approve_router(self.domain, name, spki(key(name)))
        self.compile()
        for name in self.routers:
            self.nodes[name].files[DOCUMENT] = self.signed[name]
        self.fresh.clear()
        self.pace = pace_of(seed)
        self.steps = 0
        self.judge = Invariants(self)
        self.removed_at: float | None = None
        self.before_removal = self.domain
        self.passed: list[Passing] = []
        self.lying: dict[str, float] = {}
        """Insiders, until when they lie."""
        self.old_documents: dict[str, bytes] = {}
        self.folders: dict[str, list[Files]] = {}
        """Copies of routers' folders, the oldest first."""
        self.outsider = Outsider(self, seed)
        self.wires.tap = self._tap
        self.observers.append(self)

    def _tap(self, passing: Passing) -> Passing:
        if len(self.passed) < PASSED:
            self.passed.append(passing)
        else:
            self.passed[self.chance.randrange(PASSED)] = passing
        self.outsider.saw(passing)
        return passing

    def saw(self, node: Node, effect: Effect) -> None:
        """As Observer: have it judged."""
        self.steps += 1
        if isinstance(effect, Persist):
            self.judge.persisted(node, effect.name)
        elif isinstance(effect, Kernel):
            self.judge.enforced(node, effect)
        elif isinstance(effect, Event):
            self.judge.event(node, effect)

    def lose_write(self, name: str) -> None:
        """This router's next write is lost with its power: written and not synced, so that the older file is there."""
        node = self.nodes[name]

        def fails(effect: Effect) -> bool:
            if isinstance(effect, Persist):
                node.fails = None
                self.later(name, 3.0)
            return isinstance(effect, Persist)

        node.fails = fails

    def deafen(self, name: str) -> None:
        """From now on this router acts on no list and no new document, as one does whose owner does not want to be
        removed."""
        node = self.nodes[name]

        def deaf(node: Node) -> LksCore:
            core = self.make_lks(node)
            _deafen(core)
            return core

        node.build = deaf
        if node.core is not None:
            _deafen(self.lks(name))

    def dks(self) -> DksCore | None:
        """The DKS, when it is there."""
        core = self.nodes["dks"].core
        assert core is None or isinstance(core, DksCore)
        return core

    def second(self) -> None:
        """Each second: judge, and sometimes keep copies of folders."""
        self.judge.second()
        if int(self.now) % 20 == 12:
            for name in self.routers:
                self.folders.setdefault(name, []).append(dict(self.nodes[name].files))

    def keep_documents(self) -> None:
        """New ones are about to come."""
        for name in self.routers:
            self.old_documents.setdefault(name, self.nodes[name].files[DOCUMENT])

    def about_to(self, step: Step) -> None:
        """This is going to be done."""
        if isinstance(step, RouterRemove | LinkAllow):
            self.keep_documents()
        if isinstance(step, RouterRemove) and step.router == REMOVED in self.domain.routers:
            self.before_removal, self.removed_at = self.domain, self.now

    def stop_faults(self) -> None:
        """Everything works again, everybody has power, and nobody lies any more."""
        wires = self.wires
        wires.loss = wires.duplicate = wires.overtake = 0.0
        wires.cut.clear()
        wires.sides = {}
        self.lying.clear()
        for node in self.nodes.values():
            node.crash_at = node.fails = None
            self.on(node.name)


def _deafen(core: LksCore) -> None:
    core.take_document = _nothing  # type: ignore[method-assign, assignment]
    core.revocation.offer = _nothing  # type: ignore[method-assign, assignment]


def _nothing(*_words: object) -> None:
    return None
