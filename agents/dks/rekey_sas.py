"""Members' Rekey SAs: how the DKS reaches a member whose IKE SA is gone (RFC 9838 §2.4.1).

One SA for each member of each group, in memory only: a DKS that restarts has none, and its members register again.
Messages go to the member's last address, a few times, since they are not acknowledged. Knows nothing of who may be a
member, nor of the messages' content.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.gikev2.rekey import KEYMAT_OCTETS, SPI_OCTETS, RekeySa, RekeySender
from agents.gikev2.rekey_sa import RekeyGrant
from agents.ikev2 import Payload, PeerAddress
from agents.policy.names import GroupId
from agents.runtime.effects import Send

COPIES_S = (0.0, 0.5, 1.5)
"""When a message is sent, from its first transmission: the same octets each time, so that it counts once."""
Maker = Callable[[bytes], Sequence[Payload]]
"""The payloads of a message whose keys are wrapped with this GSK_w."""


@dataclass(slots=True)
class _Member:
    sa: RekeySa
    sender: RekeySender
    expires_at: float


class RekeySas:
    """The Rekey SAs of all groups. `emit`: takes the effects."""

    def __init__(self, key: Ed25519PrivateKey, random: Callable[[int], bytes], emit: Callable[[Send], None]) -> None:
        self._key, self._random, self._emit = key, random, emit
        self._members: dict[tuple[GroupId, str], _Member] = {}
        self._copies: list[tuple[float, int, Send]] = []
        self._number = itertools.count()

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The key that signs the messages."""
        return self._key.public_key()

    def grant(self, group: GroupId, router: str, lifetime_s: int, now: float) -> RekeyGrant:
        """A new SA for a member that registers; its earlier SA is void (RFC 9838 §2.3.3)."""
        # The first half is the initiator's SPI in IKE's header, and that is never 0.
        spi = b"\x80" + self._random(SPI_OCTETS - 1)
        sa = RekeySa(spi, self._random(KEYMAT_OCTETS))
        sender = RekeySender(sa, self._key, self._random)
        self._members[group, router] = _Member(sa, sender, now + lifetime_s)
        return RekeyGrant(sa, lifetime_s)

    def holds(self, group: GroupId, router: str, now: float) -> bool:
        """True if this member can be reached without an IKE SA."""
        member = self._members.get((group, router))
        if member is not None and member.expires_at <= now:
            del self._members[group, router]
            return False
        return member is not None

    def forget(self, group: GroupId, router: str) -> None:
        """It is no longer a member, or can no longer be reached."""
        self._members.pop((group, router), None)

    def send(self, group: GroupId, router: str, peer: PeerAddress, payloads: Maker, now: float) -> bool:
        """Send one message to this member, and its copies later. False when it has no Rekey SA, or no longer."""
        if not self.holds(group, router, now):
            return False
        member = self._members[group, router]
        datagram = member.sender.message(payloads(member.sa.key_wrap_key))
        for wait_s in COPIES_S:
            copy = Send(datagram, peer, retransmission=wait_s > 0)
            heapq.heappush(self._copies, (now + wait_s, next(self._number), copy))
        self.tick(now)
        return True

    def tick(self, now: float) -> None:
        """Send the copies that are due."""
        while self._copies and self._copies[0][0] <= now:
            self._emit(heapq.heappop(self._copies)[2])

    def next_timer(self) -> float | None:
        """When a copy is due. Nothing needs to be done when an SA expires."""
        return self._copies[0][0] if self._copies else None
