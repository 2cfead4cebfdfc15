"""Key derivation, RFC 7296 §2.14, §2.17, §2.18 and RFC 9370 §2.2.2.

Knows nothing of messages or state.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.ikev2.child import ChildKeys
from agents.ikev2.suites import IkeSuite, PrfFunction

KEY_WRAP_LABEL = b"Key Wrap for G-IKEv2"


@dataclass(frozen=True, slots=True)
class IkeKeys:
    """The seven keys of an IKE SA; SK_e* hold the cipher's salt too."""

    sk_d: bytes = field(repr=False)
    sk_ai: bytes = field(repr=False)
    sk_ar: bytes = field(repr=False)
    sk_ei: bytes = field(repr=False)
    sk_er: bytes = field(repr=False)
    sk_pi: bytes = field(repr=False)
    sk_pr: bytes = field(repr=False)

    def without_proof(self) -> IkeKeys:
        """The same keys without SK_p*, which have no use after authentication."""
        return IkeKeys(self.sk_d, self.sk_ai, self.sk_ar, self.sk_ei, self.sk_er, b"", b"")


def _expand(suite: IkeSuite, skeyseed: bytes, seed: bytes) -> IkeKeys:
    prf, a, e = suite.prf.length, suite.integrity_key, suite.encryption_key
    octets = suite.prf.plus(skeyseed, seed, 3 * prf + 2 * a + 2 * e)
    parts, offset = [], 0
    for length in (prf, a, a, e, e, prf, prf):
        parts.append(octets[offset : offset + length])
        offset += length
    return IkeKeys(*parts)


def initial_keys(suite: IkeSuite, secret: bytes, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes) -> IkeKeys:
    """The keys after IKE_SA_INIT (§2.14)."""
    return _expand(suite, suite.prf(ni + nr, secret), ni + nr + spi_i + spi_r)


def rekeyed_keys(
    old_prf: PrfFunction,
    old_sk_d: bytes,
    suite: IkeSuite,
    secret: bytes,
    ni: bytes,
    nr: bytes,
    spi_i: bytes,
    spi_r: bytes,
    further: bytes = b"",
) -> IkeKeys:
    """The keys after a rekey of the IKE SA (§2.18); the old SA's PRF makes SKEYSEED. `further`: the secrets of
    IKE_FOLLOWUP_KE, in order (RFC 9370 §2.2.4)."""
    return _expand(suite, old_prf(old_sk_d, secret + ni + nr + further), ni + nr + spi_i + spi_r)


def additional_keys(
    suite: IkeSuite, sk_d: bytes, secret: bytes, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes
) -> IkeKeys:
    """The keys after one more key exchange in IKE_INTERMEDIATE (RFC 9370 §2.2.2)."""
    return _expand(suite, suite.prf(sk_d, secret + ni + nr), ni + nr + spi_i + spi_r)


def key_wrap_key(suite: IkeSuite, sk_d: bytes) -> bytes:
    """GSK_w of a unicast IKE SA, RFC 9838 §3.1.1."""
    return suite.prf.plus(sk_d, KEY_WRAP_LABEL, suite.kwa_key_length)


def child_keys(
    prf: PrfFunction, sk_d: bytes, secret: bytes, ni: bytes, nr: bytes, encryption: int, integrity: int
) -> tuple[ChildKeys, ChildKeys]:
    """The keys of the initiator's and of the responder's outbound SA (§2.17); lengths in octets."""
    one = encryption + integrity
    octets = prf.plus(sk_d, secret + ni + nr, 2 * one)
    return (
        ChildKeys(octets[:encryption], octets[encryption:one]),
        ChildKeys(octets[one : one + encryption], octets[one + encryption :]),
    )
