"""A protected sub-region through weeks of virtual time: agents on three routers in a row, beside a clear side.

    python -m testbed.simulation.weeks [--days 28] [--seed 1] [--keep FILE]

The links are those that the experiment `sub_region` protects in `areas`. Both ends of the row have a link in clear too,
over which the DKS is reached, and on which an intruder sends what it heard and what it makes. Links are cut in
silence, routers and the clear side lose their power, the DKS is dead for a third of the time, and the Policy Server
signs documents anew. Who hears nothing of a peer asks after `LIVENESS_S` and not after 20 s, and the DKS looks at its
folder every `POLL_S` and not every 2 s, so that weeks take a minute: both are slower to notice. Knows no routing.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Address
from pathlib import Path
from typing import Any

from agents.ikev2 import Datagram
from agents.ikev2.model import PeerAddress
from agents.ipsec.protection import Mode
from agents.lks.context import Liveness
from agents.policy import edit
from agents.policy.document import Lease
from agents.policy.domain import Settings
from agents.runtime.effects import Effect, Event, Kernel
from testbed.domains.drawn import PROTOCOLS
from testbed.simulation.network import Network
from testbed.simulation.simulation import Node
from testbed.simulation.wires import ON_LINK, PORT, ROUTED, Passing
from testbed.whole import put

HOUR_S, DAY_S = 3600.0, 86_400.0
LEASE_S = 30 * 86_400
LIVENESS_S, POLL_S = 1800.0, 300.0
LINKS = {"b2--x2": ("b2", "x2"), "x1--x2": ("x1", "x2")}
BORDER = ("b2", "x1")
SETTLED_S = 120.0
GRACE_S = 10.0
"""How long after a fault of its own an adjacency may take to be keyed again."""
LOOK_S = 600.0
RENEWED_S = 10 * DAY_S
FAULT_S = 8 * HOUR_S
"""Between two faults, on average."""
HEARD = 24
"""How many datagrams of others the intruder keeps."""


@dataclass
class Outcome:
    """What happened, and what must not. `silent`: adjacencies that were not keyed both ways, with neither end off nor
    their link cut within GRACE_S; `open`: times that a kernel had another mode than `required` on a protected link;
    `twice`: generations of a group with two keys; `moved`: datagrams of the intruder that made a router send, write or
    change its kernel."""

    faults: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    intruded: int = 0
    silent: list[str] = field(default_factory=list)
    open: int = 0
    twice: int = 0
    moved: int = 0


class Weeks:
    """One domain, one seed. `lease_s`: how long a router acts without a word of the DKS."""

    def __init__(self, days: float, seed: int, lease_s: int = LEASE_S) -> None:
        self.seed = seed
        settings = Settings(lease=Lease(seconds=lease_s, at_end="close"))
        liveness = Liveness(neighbor_s=LIVENESS_S, dks_s=LIVENESS_S)
        self.network = network = Network(
            LINKS, settings=settings, dks=True, seed=seed, liveness=liveness, dks_poll_s=POLL_S
        )
        self.end_s, self.outcome = days * DAY_S, Outcome()
        self.dks_dead_s, self.dks_back_s = self.end_s / 4, self.end_s * 7 / 12
        self._chance = random.Random(f"weeks {seed}")
        self._heard: deque[Passing] = deque(maxlen=HEARD)
        self._keys: dict[tuple[object, ...], bytes] = {}
        self._mended: dict[str, float] = {}
        """When a link or router last came to be as it should."""
        self._off: set[str] = set()
        self._dks_away: Counter[str] = Counter()
        self._clear: dict[str, str] = {}
        for number, name in enumerate(BORDER, 1):
            self._clear[name] = f"{name}-clear"
            address = IPv4Interface(f"10.255.{number}.1/24")
            network.domain = edit.add_interface(
                network.domain, name, self._clear[name], address, IPv6Address(f"fe80::ff:{number}"), "p2p", PROTOCOLS,
                Mode.CLEAR,
            )  # fmt: skip
            network.nodes[name].interfaces[self._clear[name]] = (str(address.ip), f"clear {name}")
        network.compile()
        for name in network.routers:
            network.nodes[name].files["policy.cose"] = network.signed[name]
        network.wires.tap = self._tap
        network.observers = [self]

    def run(self) -> Outcome:
        """All of it."""
        network = self.network
        network.power_on_all()
        network.run(SETTLED_S)
        self._draw()
        while network.now < self.end_s:
            network.run(min(self.end_s, network.now + LOOK_S))
            self._look()
            self._intrude()
        return self.outcome

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """The timeline: faults at random, none while the one before lasts; the DKS's death; documents anew."""
        network, chance = self.network, self._chance
        when = network.now
        while (when := when + chance.expovariate(1 / FAULT_S)) < self.end_s - DAY_S / 2:
            kind = chance.choice(("link cut", "router off", "all off", "clear side off"))
            lasts = chance.choice((20.0, 300.0, HOUR_S, 6 * HOUR_S))
            who = chance.choice(list(LINKS) if kind == "link cut" else network.routers)
            network.at(when, lambda kind=kind, who=who, lasts=lasts: self._fault(kind, who, lasts))  # type: ignore[misc]
            when += lasts
        network.at(self.dks_dead_s, lambda: self._dks(False))
        network.at(self.dks_back_s, lambda: self._dks(True))
        for number in range(1, int(self.end_s // RENEWED_S) + 1):
            network.at(number * RENEWED_S, network.renew)

    def _fault(self, kind: str, who: str, lasts: float) -> None:
        network = self.network
        self.outcome.faults[kind] += 1
        if kind == "link cut":
            network.wires.cut.add(who)
        elif kind == "clear side off":
            self._dks_away[kind] += 1
        else:
            for name in [who] if kind == "router off" else network.routers:
                network.power_off(name)
                self._off.add(name)
        network.at(network.now + lasts, lambda: self._mend(kind, who))

    def _mend(self, kind: str, who: str) -> None:
        network, now = self.network, self.network.now
        if kind == "link cut":
            network.wires.cut.discard(who)
            self._mended[who] = now
        elif kind == "clear side off":
            self._dks_away[kind] -= 1
        else:
            for name in [who] if kind == "router off" else network.routers:
                self._off.discard(name)
                self._mended[name] = now
                network.power_on(name)

    def _dks(self, alive: bool) -> None:
        self.outcome.faults["DKS dead"] += not alive
        (self.network.power_on if alive else self.network.power_off)("dks")

    def _tap(self, passing: Passing) -> Passing | None:
        """The clear side is the way to the DKS."""
        if "dks" in (passing.sender, passing.receiver):
            self._heard.append(passing)
            return None if +self._dks_away else passing
        return passing

    # -- who is on the clear side ------------------------------------------------------------------------------------

    def _intrude(self) -> None:
        """What somebody on a clear link may send to its router: what passed there, altered, in the names of protected
        neighbours and of the DKS, from the link itself and through it."""
        network, chance = self.network, self._chance
        for name in BORDER:
            node = network.nodes[name]
            if node.core is None or not self._heard:
                continue
            heard = chance.choice(list(self._heard))
            octets = bytearray(heard.datagram.data)
            if chance.random() < 0.5:
                octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
            others = [address for other in network.routers if other != name
                      for address, _segment in network.nodes[other].interfaces.values()]  # fmt: skip
            own = next(iter(node.interfaces.values()))[0]
            hops = chance.choice((ON_LINK, ROUTED))
            peer = PeerAddress(own, PORT, chance.choice(others), self._clear[name], PORT)
            node.core.receive(Datagram(bytes(octets), peer, hops), network.now)
            effects = node.core.take()
            self.outcome.intruded += 1
            self.outcome.moved += any(not isinstance(each, Event) for each in effects)
            for each in effects:
                network.do(node, each)
            network.after(node)

    # -- what must hold ----------------------------------------------------------------------------------------------

    def saw(self, node: Node, effect: Effect) -> None:
        """As Observer."""
        if isinstance(effect, Event):
            if effect.kind == "fault":
                raise RuntimeError(f"{node.name}: {dict(effect.fields)}")
            self.outcome.events[effect.kind] += 1
        elif isinstance(effect, Kernel):
            protected = [each for each in effect.interfaces if each.name not in self._clear.values()]
            self.outcome.open += any(each.mode is not Mode.REQUIRED for each in protected)
            for sa in effect.sas:
                key = (sa.speaker, sa.destination, sa.protocol, sa.generation)
                self.outcome.twice += self._keys.setdefault(key, sa.keymat) != sa.keymat
            if self.network.now > SETTLED_S:
                self._look(node.name)

    def _look(self, of: str | None = None) -> None:
        """Whether each adjacency, or each of one router, is keyed both ways, or has a reason not to be."""
        network, now = self.network, self.network.now
        for link, ends in LINKS.items():
            excused = link in network.wires.cut or any(each in self._off for each in ends)
            recent = max(self._mended.get(each, 0.0) for each in (link, *ends)) > now - GRACE_S
            if (of is None or of in ends) and not excused and not recent:
                a, b = ends
                if not (network.hears(a, b) and network.hears(b, a)):
                    self.outcome.silent.append(f"{link} at {now:.1f} s")


def summary(weeks: Weeks) -> dict[str, Any]:
    """What came of it, in numbers fit for JSON."""
    outcome = weeks.outcome
    return {
        "days": weeks.end_s / DAY_S,
        "seed": weeks.seed,
        "liveness_s": LIVENESS_S,
        "dks_poll_s": POLL_S,
        "faults": dict(sorted(outcome.faults.items())),
        "dks_dead_days": round((weeks.dks_back_s - weeks.dks_dead_s) / DAY_S, 1),
        "happened": {
            "new generations": outcome.events["rekeyed"],
            "boots of routers": outcome.events["started"],
            "documents that came into force": outcome.events["policy"],
            "visits to the DKS": outcome.events["dks_contact"],
            "datagrams of the intruder": outcome.intruded,
        },
        "must_not": {
            "adjacencies without keys, but for a fault of their own": len(outcome.silent),
            "protected interfaces in another mode than required": outcome.open,
            "generations with two keys": outcome.twice,
            "datagrams of the intruder that moved a router": outcome.moved,
        },
    }


def play(days: float, seed: int, lease_s: int = LEASE_S) -> Weeks:
    """So many days, computed."""
    weeks = Weeks(days, seed, lease_s)
    weeks.run()
    return weeks


def main(words: Sequence[str]) -> int:
    """Print what came of it; exit code 1 when something was that must not be."""
    parser = argparse.ArgumentParser(prog="python -m testbed.simulation.weeks")
    parser.add_argument("--days", type=float, default=28.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FILE")
    asked = parser.parse_args(words)
    said = summary(play(asked.days, asked.seed))
    text = json.dumps(said, indent=1) + "\n"
    print(text, end="")
    if asked.keep is not None:
        put(asked.keep, text)
    return int(any(said["must_not"].values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
