"""Our Rekey SAs with the DKS, for its messages about groups while there is no IKE SA (RFC 9838 §2.4.1).

One for each group that we registered at. A message is valid when it is sealed under the SA, signed by the DKS, and
later than the last one. Knows nothing of a message's content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.gikev2.rekey import RekeyReceiver
from agents.gikev2.rekey_sa import RekeyGrant
from agents.ikev2 import MalformedMessage, Payload
from agents.ikev2.codec.header import parse_header
from agents.ikev2.registry import ExchangeType
from agents.policy.names import GroupId

RENEW_FRACTION = (0.8, 0.9)
"""The fraction of its lifetime at which an expiring Rekey SA causes a new registration (RFC 9838 §2.4.1.4)."""
Uniform = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class Opened:
    """The payloads of one message of the DKS to one group, and the key that wraps the keys in it."""

    group: GroupId
    payloads: tuple[Payload, ...]
    key_wrap_key: bytes


@dataclass(slots=True)
class _Held:
    group: GroupId
    grant: RekeyGrant
    receiver: RekeyReceiver
    renew_at: float
    expires_at: float
    last: bytes = b""


class RekeySas:
    """All Rekey SAs of one router. `key`: the DKS's, as policy has it."""

    def __init__(self, key: Ed25519PublicKey, uniform: Uniform) -> None:
        self._key, self._uniform = key, uniform
        self._held: dict[bytes, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def take(self, group: GroupId, grant: RekeyGrant | None, now: float) -> None:
        """The Rekey SA of a registration, or None: earlier knowledge is void (RFC 9838 §2.3.3)."""
        self.drop(group)
        if grant is None:
            return
        receiver = RekeyReceiver(grant.sa, self._key, grant.initial_message_id)
        renew_at = now + grant.lifetime_s * self._uniform(*RENEW_FRACTION)
        self._held[grant.sa.spi] = _Held(group, grant, receiver, renew_at, now + grant.lifetime_s)

    def drop(self, group: GroupId) -> None:
        """We are not a member of this group."""
        for spi in [spi for spi, held in self._held.items() if held.group == group]:
            del self._held[spi]

    @staticmethod
    def is_message(datagram: bytes) -> bool:
        """True for a GSA_REKEY, which no IKE SA carries."""
        try:
            return parse_header(datagram).exchange == ExchangeType.GSA_REKEY
        except MalformedMessage:
            return False

    def open(self, datagram: bytes, now: float) -> Opened | None:
        """The content of the message; None for a copy of the last one, and for a message of no SA of ours.

        IntegrityFailure for a message that is not from the DKS, or a replay; MalformedMessage.
        """
        header = parse_header(datagram)
        held = self._held.get(header.spi_i + header.spi_r)
        if held is None or held.expires_at <= now:
            return None
        mark = hashlib.sha256(datagram).digest()
        if mark == held.last:
            return None
        payloads = held.receiver.open(datagram)
        held.last = mark
        return Opened(held.group, tuple(payloads), held.grant.sa.key_wrap_key)

    def due(self, now: float) -> list[GroupId]:
        """The groups to register at again because their Rekey SA is about to expire; each is reported once."""
        groups = []
        for spi, held in list(self._held.items()):
            if held.renew_at <= now:
                held.renew_at = held.expires_at
                groups.append(held.group)
            if held.expires_at <= now:
                del self._held[spi]
        return groups

    def next_timer(self) -> float | None:
        """When something is due."""
        return min((held.renew_at for held in self._held.values()), default=None)
