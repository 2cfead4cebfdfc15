"""Child SAs as values: the wanted SA, the agreed SA, and its keys.

Knows nothing of messages or of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agents.ikev2.codec.payloads import Identification, TrafficSelector
from agents.ikev2.codec.transforms import Transform
from agents.ikev2.model import PeerAddress
from agents.ikev2.registry import Protocol


@dataclass(frozen=True, slots=True)
class ChildOffer:
    """A Child SA that we propose, or would agree to.

    `offers`: alternatives, each a list of transforms (ENCR, INTEG, SN, KE for forward secrecy).
    `local`, `remote`: traffic selectors seen from us. `spi`: our inbound SPI; random when None.
    """

    offers: tuple[tuple[Transform, ...], ...]
    local: tuple[TrafficSelector, ...]
    remote: tuple[TrafficSelector, ...]
    transport: bool = True
    protocol: int = Protocol.ESP
    spi: bytes | None = None


@dataclass(frozen=True, slots=True)
class ChildKeys:
    """The keys of one direction; a cipher's salt follows its key."""

    encryption: bytes = field(repr=False)
    integrity: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChildSa:
    """An agreed pair of SAs. SPIs have four octets; selectors are seen from us."""

    protocol: int
    spi_in: bytes
    spi_out: bytes
    transforms: tuple[Transform, ...]
    transport: bool
    local: tuple[TrafficSelector, ...]
    remote: tuple[TrafficSelector, ...]
    initiator: bool
    keys_in: ChildKeys
    keys_out: ChildKeys

    def transform_id(self, kind: int) -> int | None:
        """The agreed transform of a type, or None."""
        return next((item.id for item in self.transforms if item.type == kind), None)

    def key_bits(self, kind: int) -> int | None:
        """The agreed Key Length in bits of a transform type, if it has one."""
        return next((item.key_bits for item in self.transforms if item.type == kind), None)


# Called when a peer wants a Child SA, with its identity and address, and its selectors as (our side, its side). None
# refuses it; otherwise the result is the SA that we would agree to.
ChildPolicy = Callable[
    [Identification, PeerAddress, tuple[TrafficSelector, ...], tuple[TrafficSelector, ...]], "ChildOffer | None"
]
