"""GSA_REKEY: one message to all members under the Rekey SA, signed by the key server (RFC 9838 §2.4.1).

Only explicit signatures (GCAUTH 2): with implicit ones any member could forge a rekey. Knows nothing of sockets,
retransmission or membership.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.gikev2.errors import UnusableGroup
from agents.ikev2 import (
    AuthPayload,
    Header,
    IntegrityFailure,
    MalformedMessage,
    Payload,
    encode_payloads,
    parse_payloads,
)
from agents.ikev2.auth import ED25519_IDENTIFIER
from agents.ikev2.codec.header import GENERIC_HEADER_LENGTH, HEADER_LENGTH, parse_header
from agents.ikev2.protect import Protection, make_protection, open_message, seal_message, signed_octets
from agents.ikev2.registry import AuthMethod, Encr, ExchangeType, Flag, Integ, PayloadType

SPI_OCTETS = 16
KEYMAT_OCTETS = 36 + 32
MAX_MESSAGE_ID = 0xFFFFFFFF

_SIGNATURE_OCTETS = 64
_BLANK = bytes((len(ED25519_IDENTIFIER),)) + ED25519_IDENTIFIER + bytes(_SIGNATURE_OCTETS)


@dataclass(frozen=True, slots=True)
class RekeySa:
    """AES-GCM-256 with KW_5649_256: keying material is GSK_e with its salt (36 octets), then GSK_w (32)."""

    spi: bytes
    keymat: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.spi) != SPI_OCTETS or not any(self.spi[:8]) or len(self.keymat) != KEYMAT_OCTETS:
            raise UnusableGroup("a Rekey SA has an SPI of 16 octets, not beginning with 8 zeros, and 68 octets of keys")

    @property
    def key_wrap_key(self) -> bytes:
        """GSK_w, which wraps the keys in a rekey message."""
        return self.keymat[36:]

    def protection(self, random: Callable[[int], bytes]) -> Protection:
        """Seals and opens this SA's messages."""
        return make_protection(Encr.AES_GCM_16, 256, Integ.NONE, self.keymat[:36], b"", random)


class RekeySender:
    """The key server's end of a Rekey SA. Message IDs count up from 0 and never repeat."""

    def __init__(self, sa: RekeySa, key: Ed25519PrivateKey, random: Callable[[int], bytes]) -> None:
        self._sa = sa
        self._key = key
        self._protection = sa.protection(random)
        self._next = 0

    def message(self, payloads: Sequence[Payload]) -> bytes:
        """One datagram with these payloads and AUTH; a retransmission is this same datagram.

        UnusableGroup when the Message IDs are used up and the group needs a new Rekey SA.
        """
        if self._next > MAX_MESSAGE_ID:
            raise UnusableGroup("the Rekey SA has used all its Message IDs")
        header = Header(
            self._sa.spi[:8], self._sa.spi[8:], PayloadType.SK, ExchangeType.GSA_REKEY, Flag.INITIATOR, self._next
        )
        blank = [*payloads, AuthPayload(AuthMethod.DIGITAL_SIGNATURE, _BLANK)]
        first, inner = encode_payloads(blank)
        signature = self._key.sign(signed_octets(header, first, inner))
        # AUTH is the last payload and the signature its last octets.
        datagram = seal_message(header, first, inner[:-_SIGNATURE_OCTETS] + signature, self._protection)
        self._next += 1
        return datagram


class RekeyReceiver:
    """A member's end of a Rekey SA."""

    def __init__(self, sa: RekeySa, key: Ed25519PublicKey, initial_message_id: int = 0) -> None:
        """`initial_message_id`: GSA_INITIAL_MESSAGE_ID; lower Message IDs are rejected."""
        self._sa = sa
        self._key = key
        self._protection = sa.protection(_no_random)
        self._lowest = initial_message_id

    def open(self, datagram: bytes) -> list[Payload]:
        """The payloads without AUTH. Checked in the order of RFC 9838 §2.4.1.3: ICV, signature, Message ID.

        IntegrityFailure for a message that is not from the key server, or a replay; MalformedMessage.
        """
        header = parse_header(datagram)
        if header.exchange != ExchangeType.GSA_REKEY or header.spi_i + header.spi_r != self._sa.spi:
            raise IntegrityFailure("not a message of this Rekey SA")
        opened = open_message(datagram, header, self._protection)
        if opened.total:
            raise MalformedMessage("fragments of a rekey message must be reassembled first")
        payloads = parse_payloads(opened.first, opened.inner)
        reserved = datagram[HEADER_LENGTH + 1] if len(datagram) > HEADER_LENGTH + GENERIC_HEADER_LENGTH else 0
        self._verify(header, opened.first, opened.inner, payloads, reserved)
        if header.message_id < self._lowest:
            raise IntegrityFailure(f"Message ID {header.message_id} is a replay, or below the first one")
        self._lowest = header.message_id + 1
        return payloads[:-1]

    def _verify(self, header: Header, first: int, inner: bytes, payloads: list[Payload], reserved: int) -> None:
        auth = payloads[-1] if payloads else None
        if not isinstance(auth, AuthPayload) or auth.method != AuthMethod.DIGITAL_SIGNATURE:
            raise IntegrityFailure("the rekey message does not end with a signature")
        if any(isinstance(item, AuthPayload) for item in payloads[:-1]) or len(auth.data) != len(_BLANK):
            raise IntegrityFailure("the rekey message has two signatures, or one of a wrong length")
        if auth.data[:-_SIGNATURE_OCTETS] != _BLANK[:-_SIGNATURE_OCTETS]:
            raise IntegrityFailure("the rekey message is signed with another algorithm")
        blank = inner[:-_SIGNATURE_OCTETS] + bytes(_SIGNATURE_OCTETS)
        try:
            self._key.verify(auth.data[-_SIGNATURE_OCTETS:], signed_octets(header, first, blank, reserved))
        except InvalidSignature as error:
            raise IntegrityFailure("the signature of the rekey message is invalid") from error


def _no_random(count: int) -> bytes:
    raise UnusableGroup("a member does not send under the Rekey SA")
