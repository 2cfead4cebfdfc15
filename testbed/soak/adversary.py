"""The faults of a run, drawn from a seed, and how each is done to a simulated domain.

A fault is a value, so that a run can be done again with fewer. Knows nothing of what must hold.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, replace
from enum import StrEnum

from agents.lks.retained import COUNTERS, DOCUMENT
from agents.policy import edit
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.policy.errors import PolicyError
from agents.policy.names import GroupId
from agents.policy.revocation import FILE as REVOCATION
from agents.runtime.control import CommandRefused
from agents.runtime.effects import Effect, Event, Kernel, Persist
from agents.runtime.simulation import Node, Passing
from agents.runtime.storage import CorruptRecord
from testbed.soak.invariants import Invariants, Violated
from testbed.soak.network import Network

SEGMENTS = {"a--b": ("a", "b"), "lan": ("b", "c", "x")}
REMOVED = "x"
ISSUERS = ("lks", "dks", "central")
BEGIN_S, END_S = 15.0, 150.0


class Kind(StrEnum):
    NOISE = "loss, duplicates, overtaking"
    CUT = "silent cut"
    DKS_CUT = "DKS out of reach"
    CRASH = "power lost at an effect"
    LOST_WRITE = "power lost between write and fsync"
    OUTAGE = "power lost everywhere"
    TORN = "restart with torn counters"
    OLD_FILES = "restart with an older document or list"
    DKS_CRASH = "DKS restarted"
    OLD_BOOK = "DKS restarted with an older book"
    CLOCK = "wall clock jumps"
    POLICY = "new documents"
    DENY = "adjacency denied, and allowed again"
    REMOVE = "router removed"
    REKEY = "rekey ordered"
    REPLAY = "datagrams replayed"
    FORGE = "datagrams altered"
    FALSE_LIST = "altered revocation list given"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `who`: a router or a segment; `size`: seconds, an effect or a number, as the kind says."""

    at_s: float
    kind: Kind
    who: str
    size: float


def settings_of(seed: int) -> Settings:
    """The policy of this seed's domain: issuers take turns."""
    issuer = ISSUERS[seed % 3]
    return Settings(
        validity_s=1 << 33,
        issuer="lks" if issuer == "lks" else "dks",
        local_key_server=issuer != "central",
        lifetimes=Lifetimes(group_s=60),
        reconnect=Reconnect(first_min_s=1, first_max_s=3, max_s=5),
    )


def faults_of(seed: int) -> tuple[Fault, ...]:
    """Some faults, in the order of time."""
    chance = random.Random(f"faults {seed}")
    found = []
    kinds = [kind for kind in Kind if kind is not Kind.REMOVE]
    if ISSUERS[seed % 3] == "central":
        kinds.remove(Kind.OLD_BOOK)  # a known weakness: docs/security.md
    if chance.random() < 0.6:
        found.append(Fault(chance.uniform(BEGIN_S, END_S), Kind.REMOVE, REMOVED, 0))
    for _each in range(chance.randint(5, 12)):
        kind = chance.choice(kinds)
        who = chance.choice(list(SEGMENTS)) if kind is Kind.CUT else chance.choice(["a", "b", "c"])
        found.append(Fault(round(chance.uniform(BEGIN_S, END_S), 3), kind, who, round(chance.uniform(0, 25), 3)))
    return tuple(sorted(found, key=lambda each: each.at_s))


class World(Network):
    """A domain whose every effect is judged, and to which faults are done."""

    def __init__(self, seed: int) -> None:
        super().__init__(SEGMENTS, settings=settings_of(seed), dks=True, seed=seed)
        self.chance = random.Random(f"doing {seed}")
        self.steps = 0
        self.judge = Invariants(self)
        self.removed_at: float | None = None
        self.before_removal = self.domain
        self._passed: list[Passing] = []
        self._lose: set[str] = set()
        self._cuts: dict[str, int] = {}
        self._kept_documents: dict[str, bytes] = {}
        self.tap = self._tap

    def _tap(self, passing: Passing) -> Passing | None:
        if len(self._passed) < 2000:
            self._passed.append(passing)
        else:
            self._passed[self.chance.randrange(2000)] = passing
        return None if self.unreached and "dks" in (passing.sender, passing.receiver) else passing

    def _do(self, node: Node, effect: Effect) -> None:
        if node.name in self._lose and isinstance(effect, Persist):
            self._lose.discard(node.name)  # written, not synced: the older file is there after the failure
            self.power_off(node.name)
            self._later(node.name, 3.0)
            return
        if node.core is None and node.name != "dks":
            return  # it lost its power among these effects
        self.steps += 1
        super()._do(node, effect)
        if isinstance(effect, Persist):
            self.judge.persisted(node, effect.name)
        elif isinstance(effect, Kernel):
            self.judge.enforced(node, effect)
        elif isinstance(effect, Event):
            self.judge.event(node, effect)

    def _on(self, name: str) -> None:
        if self.nodes[name].core is None:
            self.power_on(name)

    def _later(self, name: str, after_s: float) -> None:
        self.at(self.now + after_s, lambda: self._on(name))

    def _forget_cut(self, segment: str) -> None:
        self._cuts[segment] -= 1
        if not self._cuts[segment]:
            self.cut.discard(segment)

    def stop_faults(self) -> None:
        """Everything works again, and everybody has power."""
        self.loss = self.duplicate = self.overtake = 0.0
        self.cut.clear()
        self._lose.clear()
        for node in self.nodes.values():
            node.crash_at = None
            self._on(node.name)

    # -- faults -------------------------------------------------------------------------------------------------------

    def do(self, fault: Fault) -> None:
        """Let it happen now."""
        getattr(self, f"_{fault.kind.name.lower()}")(fault.who, fault.size)

    def _noise(self, _who: str, size: float) -> None:
        self.loss, self.duplicate, self.overtake = 0.3, 0.2, 0.2

        def calm() -> None:
            self.loss = self.duplicate = self.overtake = 0.0

        self.at(self.now + size, calm)

    def _cut(self, who: str, size: float) -> None:
        self.cut.add(who)
        self._cuts[who] = self._cuts.get(who, 0) + 1
        self.at(self.now + 3 * size, lambda: self._forget_cut(who))

    def _dks_cut(self, _who: str, size: float) -> None:
        self.unreached += 1

        def heal() -> None:
            self.unreached = max(0, self.unreached - 1)

        self.at(self.now + 3 * size, heal)

    def _crash(self, who: str, size: float) -> None:
        node = self.nodes[who]
        if node.core is not None:
            node.crash_at = node.effects + int(size)
            self.command(who, "status")
            for seconds in range(1, 15):
                self._later(who, 3.0 * seconds)

    def _lost_write(self, who: str, _size: float) -> None:
        self._lose.add(who)
        if self.nodes[who].core is not None:
            self._rekey(who, 0)

    def _outage(self, _who: str, size: float) -> None:
        for name in self.nodes:
            self.power_off(name)
            self._later(name, 1 + self.chance.uniform(0, size / 5))

    def _torn(self, who: str, size: float) -> None:
        files = self.nodes[who].files
        whole = files[COUNTERS]
        self._refuses(who, COUNTERS, whole[: int(len(whole) * size / 26)])

    def _old_files(self, who: str, size: float) -> None:
        old = self._kept_documents.get(who)
        if old is not None and old != self.nodes[who].files[DOCUMENT]:
            self._refuses(who, DOCUMENT, old)
        elif REVOCATION in self.nodes[who].files:
            self._refuses(who, REVOCATION, None)

    def _refuses(self, who: str, name: str, wrong: bytes | None) -> None:
        """A router with this in place of a file must not start; then the administrator puts the right one back."""
        files = self.nodes[who].files
        right = files[name]
        self.power_off(who)
        if wrong is None:
            del files[name]
        else:
            files[name] = wrong
        self.judge.checked["refuses to start with older or torn files"] += 1
        try:
            self.power_on(who)
        except (CorruptRecord, PolicyError):
            self.nodes[who].core = None
        else:
            raise Violated("refuses to start with older or torn files", self.now, f"{who} started with another {name}")
        files[name] = right
        self._later(who, 2.0)

    def _dks_crash(self, _who: str, size: float) -> None:
        self.power_off("dks")
        self._later("dks", size)

    def _old_book(self, _who: str, size: float) -> None:
        self.power_off("dks")
        for name, (version, generation) in self.book.entries().items():
            if self.chance.random() < 0.5:
                self.book._set(GroupId.decode(name.encode()), version, max(1, generation - 2), "made")
        self._later("dks", size / 5)

    def _clock(self, _who: str, size: float) -> None:
        self.wall_offset += 1000.0 * (size - 12.0)

    def _policy(self, _who: str, size: float) -> None:
        self._keep()
        changed = self.domain.settings.model_copy(update={"lifetimes": Lifetimes(group_s=60, dtd_s=5 + int(size) % 3)})
        self.publish(edit.with_settings(self.domain, changed))

    def _keep(self) -> None:
        for name in self.routers:
            self._kept_documents.setdefault(name, self.nodes[name].files[DOCUMENT])

    def _deny(self, _who: str, size: float) -> None:
        self._keep()
        whole = self.domain
        self.publish(edit.deny(whole, ("a", "a-e0"), ("b", "b-e0")))
        self.at(self.now + 2 + size, lambda: self.publish(edit.allow(self.domain, ("a", "a-e0"), ("b", "b-e0"))))

    def _remove(self, who: str, _size: float) -> None:
        self._keep()
        self.before_removal = self.domain
        self.remove(who)
        self.removed_at = self.now

    def _rekey(self, who: str, _size: float) -> None:
        if self.nodes[who].core is not None:
            with contextlib.suppress(CommandRefused):  # where the DKS makes its keys
                self.command(who, "rekey")

    def _replay(self, _who: str, size: float) -> None:
        for passing in self.chance.sample(self._passed, min(len(self._passed), 1 + int(size))):
            self.deliver(passing.receiver, passing.datagram)

    def _forge(self, _who: str, size: float) -> None:
        for passing in self.chance.sample(self._passed, min(len(self._passed), 1 + int(size))):
            data = bytearray(passing.datagram.data)
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
            self.deliver(passing.receiver, replace(passing.datagram, data=bytes(data)))

    def _false_list(self, who: str, _size: float) -> None:
        if self.lists and self.nodes[who].core is not None:
            altered = bytearray(self.lists[0])
            altered[self.chance.randrange(len(altered))] ^= 1
            try:
                self.hand_over(who, bytes(altered))
            except CommandRefused:
                return
            raise Violated("no forged list is taken", self.now, f"{who} took an altered revocation list")
