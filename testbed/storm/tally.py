"""What is counted of a simulated storm, second by second, while it goes on: no event of 10^5 routers is kept.

Times in seconds since the power returned. Knows nothing of how the storm is simulated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.runtime.effects import Event

EXCHANGES = ("IKE_SA_INIT", "IKE_INTERMEDIATE", "GSA_AUTH", "GSA_REGISTRATION", "INFORMATIONAL")


@dataclass
class Tally:
    """`neighbors`: how many each router has that is watched; it is keyed when it has said so of all of them. `groups`:
    the groups that these send to; `pairs`: the ends of pairs for unicast PIM."""

    neighbors: dict[str, int]
    groups: int = 0
    pairs: int = 0
    offered: Counter[int] = field(default_factory=Counter)
    """Datagrams that reached the DKS's socket, by second; those for which there was no room included."""
    lost: Counter[int] = field(default_factory=Counter)
    retransmissions: Counter[int] = field(default_factory=Counter)
    """Datagrams that routers sent to the DKS again, by second."""
    served: dict[str, Counter[int]] = field(default_factory=lambda: {each: Counter() for each in EXCHANGES})
    """Requests that the DKS took from its socket and was asked anew, by exchange and second."""
    depth: Counter[int] = field(default_factory=Counter)
    """The longest queue in each second."""
    refused: Counter[int] = field(default_factory=Counter)
    asked_to_wait: list[float] = field(default_factory=list)
    admitted: dict[str, float] = field(default_factory=dict)
    """When each router had the DKS's answer at its control group for the first time."""
    keyed: dict[str, float] = field(default_factory=dict)
    pairs_keyed: dict[tuple[str, str], float] = field(default_factory=dict)
    """When each end of a pair had its keys for the first time, by router and peer."""
    request_times: list[float] = field(default_factory=list)
    """Of every request datagram that the DKS took, in small domains."""
    errors: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    keep_times: bool = False
    _pairs: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def router(self, name: str, event: Event, now: float) -> None:
        """Something that a router put on record."""
        kind, fields = event.kind, event.fields
        if kind == "keyed" and name in self.neighbors and name not in self.keyed:
            known = self._pairs.setdefault(name, set())
            known.add((fields["interface"], fields["neighbor"]))
            if len(known) == self.neighbors[name]:
                self.keyed[name] = now
                del self._pairs[name]
        elif kind == "pair":
            if fields["state"] == "keyed":
                self.pairs_keyed.setdefault((name, fields["peer"]), now)
        elif kind == "dks_contact":
            if not fields["ok"]:
                self.closed[fields["reason"]] += 1
        elif kind == "error":
            self.errors[f"{fields['what']}: {fields.get('detail', '')}"[:60]] += 1

    def dks(self, event: Event, now: float) -> None:
        """Something that the DKS put on record."""
        kind, fields = event.kind, event.fields
        if kind == "request":
            if self.keep_times:
                self.request_times.append(now)
            if not fields["retransmission"] and fields["exchange"] in self.served:
                self.served[fields["exchange"]][int(now)] += 1
        elif kind == "paced":
            self.refused[int(now)] += 1
            self.asked_to_wait.append(float(fields["wait_s"]))
        elif kind == "registered" and not fields["generation"]:
            self.admitted.setdefault(fields["peer"], now)

    def add(self, rings: Tally) -> None:
        """What routers of rings did among themselves that were computed apart."""
        self.neighbors |= rings.neighbors
        self.groups += rings.groups
        self.pairs += rings.pairs
        self.keyed |= rings.keyed
        self.pairs_keyed |= rings.pairs_keyed
        self.errors += rings.errors
        self.closed += rings.closed

    def keep_alive(self, now: float) -> None:
        """One INFORMATIONAL request that was counted and not computed."""
        self.served["INFORMATIONAL"][int(now)] += 1

    def arrived(self, now: float, depth: int, room: bool) -> None:
        """A datagram at the DKS's socket; `depth`: how many wait with it."""
        second = int(now)
        self.offered[second] += 1
        if not room:
            self.lost[second] += 1
        if depth > self.depth[second]:
            self.depth[second] = depth

    @property
    def complete(self) -> bool:
        """Whether all that are watched are keyed."""
        return len(self.keyed) == len(self.neighbors)

    @property
    def paired(self) -> bool:
        """Whether all pairs have keys."""
        return len(self.pairs_keyed) == self.pairs


def series(counts: Mapping[int, int], seconds: int) -> list[int]:
    """A number for each second from 0 on."""
    return [counts.get(second, 0) for second in range(seconds)]


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that this share of them does not exceed; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000 * len(ordered)) // 1000) - 1))] if ordered else None
