"""One line of Wireshark's `ikev2_decryption_table` per IKE SA. For experiments only: it holds secrets."""

from __future__ import annotations

from agents.ikev2.keys import IkeKeys
from agents.ikev2.registry import Encr, Integ
from agents.ikev2.suites import IkeSuite

_INTEGRITY = {
    Integ.NONE: "NONE [RFC4306]",
    Integ.HMAC_SHA2_256_128: "HMAC_SHA2_256_128 [RFC4868]",
    Integ.HMAC_SHA2_384_192: "HMAC_SHA2_384_192 [RFC4868]",
    Integ.HMAC_SHA2_512_256: "HMAC_SHA2_512_256 [RFC4868]",
}


def _encryption(suite: IkeSuite) -> str:
    if suite.encr == Encr.AES_GCM_16:
        return f"AES-GCM-{suite.key_bits} with 16 octet ICV [RFC5282]"
    if suite.encr == Encr.CHACHA20_POLY1305:
        return "CHACHA20_POLY1305 [RFC7634]"
    return f"AES-CBC-{suite.key_bits} [RFC3602]"


def decryption_table_line(spi_i: bytes, spi_r: bytes, suite: IkeSuite, keys: IkeKeys) -> str:
    """The line, without an end of line."""
    encryption, integrity = _encryption(suite), _INTEGRITY[Integ(suite.integ)]
    parts = (spi_i.hex(), spi_r.hex(), keys.sk_ei.hex(), keys.sk_er.hex(), f'"{encryption}"', keys.sk_ai.hex(),
             keys.sk_ar.hex(), f'"{integrity}"')  # fmt: skip
    return ",".join(parts)
