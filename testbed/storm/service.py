"""The DKS as a place of work: a socket buffer, workers, and how long each datagram keeps one.

The core is the real one; only the time that it takes is declared, since computation costs nothing on virtual time.
Knows nothing of routers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.ikev2.model import Datagram
from agents.ikev2.registry import PayloadType
from agents.runtime.effects import Effect, Event, Send

_NEXT_PAYLOAD = 16


@dataclass(frozen=True)
class Service:
    """Milliseconds that one datagram keeps a worker. `cheap`: cookies, repeats and what is dropped."""

    init_ms: float = 0.35
    intermediate_ms: float = 0.6
    """The last fragment of an IKE_INTERMEDIATE, with ML-KEM: measured as 1.7 times an IKE_SA_INIT."""
    auth_ms: float = 0.7
    registration_ms: float = 0.5
    informational_ms: float = 0.3
    cheap_ms: float = 0.1
    document_ms: float = 0.0
    """To read and verify one router's document, when the DKS boots: measured, 0.6. By default it has read them."""
    workers: int = 1
    buffer: int = 160
    """Datagrams that wait in the socket; more are lost. Linux' default of 212,992 octets holds about so many."""

    def of(self, effects: Sequence[Effect]) -> float:
        """Seconds that a datagram with these effects took."""
        for effect in effects:
            if isinstance(effect, Event) and effect.kind == "request":
                if effect.fields["retransmission"]:
                    break
                match effect.fields["exchange"]:
                    case "IKE_SA_INIT":
                        return (self.init_ms if _accepted(effects) else self.cheap_ms) / 1000
                    case "IKE_INTERMEDIATE":
                        return self.intermediate_ms / 1000
                    case "GSA_AUTH":
                        return self.auth_ms / 1000
                    case "GSA_REGISTRATION":
                        return self.registration_ms / 1000
                    case "INFORMATIONAL":
                        return self.informational_ms / 1000
        return self.cheap_ms / 1000


def _accepted(effects: Sequence[Effect]) -> bool:
    """Whether an IKE_SA_INIT was answered with keys: its answer begins with an SA payload, a cookie does not."""
    return any(isinstance(each, Send) and each.data[_NEXT_PAYLOAD] == PayloadType.SA for each in effects)


@dataclass
class Queue:
    """First in, first out, to the first worker that is free. None is a keep-alive that is counted and not computed."""

    workers: int
    buffer: int
    waiting: deque[Datagram | None] = field(default_factory=deque)
    busy: int = 0
    lost: int = 0
    longest: int = 0

    def offer(self, work: Datagram | None) -> bool:
        """Whether there was room."""
        if len(self.waiting) >= self.buffer:
            self.lost += 1
            return False
        self.waiting.append(work)
        self.longest = max(self.longest, len(self.waiting))
        return True

    @property
    def ready(self) -> bool:
        """Whether a worker is free and there is work for it."""
        return self.busy < self.workers and bool(self.waiting)
