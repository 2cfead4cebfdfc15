"""The key log: one line of Wireshark's `ikev2_decryption_table` per IKE SA, and a comment with its key-wrap key.

For experiments only: it holds secrets. Wireshark skips the comments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.ikev2.keys import IkeKeys
from agents.ikev2.protect import Protection, make_protection
from agents.ikev2.registry import Encr, Integ
from agents.ikev2.suites import IkeSuite

_INTEGRITY = {
    Integ.NONE: "NONE [RFC4306]",
    Integ.HMAC_SHA2_256_128: "HMAC_SHA2_256_128 [RFC4868]",
    Integ.HMAC_SHA2_384_192: "HMAC_SHA2_384_192 [RFC4868]",
    Integ.HMAC_SHA2_512_256: "HMAC_SHA2_512_256 [RFC4868]",
}
_ENCRYPTION: dict[tuple[int, int | None], str] = {
    **{(Encr.AES_GCM_16, bits): f"AES-GCM-{bits} with 16 octet ICV [RFC5282]" for bits in (128, 192, 256)},
    **{(Encr.AES_CBC, bits): f"AES-CBC-{bits} [RFC3602]" for bits in (128, 192, 256)},
    (Encr.CHACHA20_POLY1305, None): "CHACHA20_POLY1305 [RFC7634]",
}
_INTEGRITY_NUMBERS = {name: number for number, name in _INTEGRITY.items()}
_ENCRYPTION_NUMBERS = {name: numbers for numbers, name in _ENCRYPTION.items()}
_KEY_WRAP = "# key-wrap "


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One line of the table. For a Rekey SA, both directions have GSK_e."""

    spi_i: bytes
    spi_r: bytes
    encr: int
    key_bits: int | None
    integ: int
    sk_ei: bytes = field(repr=False)
    sk_er: bytes = field(repr=False)
    sk_ai: bytes = field(default=b"", repr=False)
    sk_ar: bytes = field(default=b"", repr=False)

    def line(self) -> str:
        """The line, without an end of line."""
        encryption, integrity = _ENCRYPTION[self.encr, self.key_bits], _INTEGRITY[Integ(self.integ)]
        parts = (self.spi_i.hex(), self.spi_r.hex(), self.sk_ei.hex(), self.sk_er.hex(), f'"{encryption}"',
                 self.sk_ai.hex(), self.sk_ar.hex(), f'"{integrity}"')  # fmt: skip
        return ",".join(parts)

    def protection(self, from_initiator: bool) -> Protection:
        """Opens the messages of this side. UnsupportedAlgorithm for keys of a wrong length."""
        key_e, key_a = (self.sk_ei, self.sk_ai) if from_initiator else (self.sk_er, self.sk_ar)
        return make_protection(self.encr, self.key_bits, self.integ, key_e, key_a, _no_random)


@dataclass(frozen=True, slots=True)
class KeyWrapEntry:
    """GSK_w of an SA, which wraps the keys in KD."""

    spi_i: bytes
    spi_r: bytes
    key: bytes = field(repr=False)

    def line(self) -> str:
        """The comment, without an end of line."""
        return f"{_KEY_WRAP}{self.spi_i.hex()},{self.spi_r.hex()},{self.key.hex()}"


def _no_random(_count: int) -> bytes:
    raise ValueError("a key log opens messages and seals none")


def decryption_table_line(spi_i: bytes, spi_r: bytes, suite: IkeSuite, keys: IkeKeys) -> str:
    """The line of an IKE SA, without an end of line."""
    return TableEntry(
        spi_i, spi_r, suite.encr, suite.key_bits, suite.integ, keys.sk_ei, keys.sk_er, keys.sk_ai, keys.sk_ar
    ).line()


def parse_line(line: str) -> TableEntry | KeyWrapEntry | None:
    """The content of a line; None for an empty line and for other comments. ValueError for any other text."""
    if line.startswith(_KEY_WRAP):
        parts = line[len(_KEY_WRAP) :].split(",")
        if len(parts) != 3:
            raise ValueError("a key-wrap line has two SPIs and a key")
        wrap = KeyWrapEntry(_spi(parts[0]), _spi(parts[1]), bytes.fromhex(parts[2]))
        if len(wrap.key) not in (16, 24, 32):
            raise ValueError(f"a key-wrap key of {len(wrap.key)} octets")
        return wrap
    if not line or line.startswith("#"):
        return None
    parts = line.split(",")
    if len(parts) != 8:
        raise ValueError(f"{len(parts)} fields, not the 8 of an ikev2_decryption_table")
    try:
        encr, bits = _ENCRYPTION_NUMBERS[parts[4].strip('"')]
        integ = _INTEGRITY_NUMBERS[parts[7].strip('"')]
    except KeyError as error:
        raise ValueError(f"unknown algorithm {error.args[0]!r}") from error
    ei, er, ai, ar = (bytes.fromhex(parts[index]) for index in (2, 3, 5, 6))
    return TableEntry(_spi(parts[0]), _spi(parts[1]), encr, bits, integ, ei, er, ai, ar)


def _spi(text: str) -> bytes:
    octets = bytes.fromhex(text)
    if len(octets) != 8:
        raise ValueError(f"an SPI of {len(octets)} octets")
    return octets
