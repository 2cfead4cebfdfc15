"""The name of an IKE SA for the layer above, which stays the same through rekeys.

Knows the questions that an SA answers, not how it works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.ikev2 import key_exchange
from agents.ikev2.codec.payloads import Identification
from agents.ikev2.model import PeerAddress

if TYPE_CHECKING:
    from agents.ikev2.child import ChildSa
    from agents.ikev2.sa import IkeSa


class SaHandle:
    """One IKE SA. Compared and hashed by identity; `number` is unique in its endpoint."""

    __slots__ = ("_sa", "number")

    def __init__(self, number: int, sa: IkeSa) -> None:
        self.number = number
        self._sa = sa

    def move(self, sa: IkeSa) -> None:
        """Stand for this IKE SA from now on."""
        self._sa = sa

    @property
    def current(self) -> IkeSa:
        """The SA itself; for this package only."""
        return self._sa

    def __repr__(self) -> str:
        return f"<IKE SA {self.number} {self.spi_i.hex()}:{self.spi_r.hex()} {self.state}>"

    @property
    def state(self) -> str:
        """The name of the SA's state (SaState)."""
        return str(self._sa.state.value)

    @property
    def established(self) -> bool:
        return self._sa.is_established

    @property
    def answered(self) -> bool:
        """True if an answer to IKE_SA_INIT is being followed up. AUTH will prove whose answer it is."""
        return self.established or self._sa.handler.poked(self._sa)[0] is not self._sa

    @property
    def initiator(self) -> bool:
        """True if we began the present IKE SA."""
        return self._sa.initiator

    @property
    def answer_within_s(self) -> float:
        """The longest measured time, in seconds, that this peer takes to answer; 0 without a measurement."""
        return self._sa.way.timeout_s or 0.0

    @property
    def patience_s(self) -> float:
        """The seconds after which a request made now over this SA is given up, and the SA with it."""
        return self._sa.timing().patience_s

    @property
    def peer(self) -> PeerAddress:
        return self._sa.peer

    @property
    def peer_id(self) -> Identification | None:
        """The peer's identity: authenticated once established, before that the expected one."""
        return self._sa.peer_id

    @property
    def spi_i(self) -> bytes:
        return self._sa.spi_i

    @property
    def spi_r(self) -> bytes:
        return self._sa.spi_r

    @property
    def kwa(self) -> int | None:
        """The key wrap algorithm agreed in IKE_SA_INIT (Kwa), or None."""
        return self._sa.suite.kwa if self._sa.suite else None

    @property
    def key_exchange(self) -> str | None:
        """The methods of its key exchanges, such as "x25519+mlkem768"; None before they are agreed."""
        suite = self._sa.suite
        return None if suite is None else "+".join(key_exchange.name(each) for each in (suite.ke, *suite.additional_ke))

    @property
    def established_at(self) -> float | None:
        """The time of its establishment, in the driver's seconds."""
        return self._sa.established_at

    @property
    def children(self) -> tuple[ChildSa, ...]:
        return tuple(record.sa for record in self._sa.children.values())

    def derive(self, label: bytes, length: int) -> bytes:
        """prf+(SK_d, label), truncated to `length` octets. It changes when the IKE SA is rekeyed."""
        return self._sa.derive(label, length)

    def key_wrap_key(self) -> bytes:
        """GSK_w = prf+(SK_d, "Key Wrap for G-IKEv2") of the KWA's key length (RFC 9838 §3.1.1).

        Raises UnsupportedAlgorithm when no KWA was agreed.
        """
        return self._sa.key_wrap_key()
