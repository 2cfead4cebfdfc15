"""From transforms to algorithms: available algorithms, choosing a proposal, and checking the peer's choice.

Knows nothing of messages, keys in use or state.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from agents.ikev2.codec.transforms import Proposal, Transform
from agents.ikev2.errors import MalformedMessage, UnsupportedAlgorithm
from agents.ikev2.key_exchange import is_supported
from agents.ikev2.model import RandomSource
from agents.ikev2.protect import AEADS, Protection, encryption_key_length, integrity_key_length, make_protection
from agents.ikev2.registry import Integ, Kwa, Prf, TransformType

_T = TransformType
_ADDITIONAL = frozenset(range(_T.ADDKE1, _T.ADDKE7 + 1))
_KWA_OCTETS = {Kwa.KW_5649_128: 16, Kwa.KW_5649_192: 24, Kwa.KW_5649_256: 32}
_PRFS: dict[Prf, tuple[str, hashes.HashAlgorithm]] = {
    Prf.HMAC_SHA2_256: ("sha256", hashes.SHA256()),
    Prf.HMAC_SHA2_384: ("sha384", hashes.SHA384()),
    Prf.HMAC_SHA2_512: ("sha512", hashes.SHA512()),
}


class PrfFunction:
    """HMAC as prf of RFC 7296 §2.13; `length` is its output and its preferred key length in octets."""

    __slots__ = ("_hash", "_name", "id", "length")

    def __init__(self, ident: int) -> None:
        try:
            self._name, self._hash = _PRFS[Prf(ident)]
        except (ValueError, KeyError) as error:
            raise UnsupportedAlgorithm(f"PRF {ident}") from error
        self.id, self.length = ident, self._hash.digest_size

    def __call__(self, key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, self._name)

    def plus(self, key: bytes, seed: bytes, length: int) -> bytes:
        """prf+(key, seed), truncated to `length` octets; at most 255 rounds, else ValueError. RFC 5869 calls it
        HKDF-Expand."""
        return HKDFExpand(self._hash, length, seed).derive(key)


@dataclass(frozen=True, slots=True)
class IkeSuite:
    """The algorithms of one IKE SA."""

    encr: int
    key_bits: int | None
    integ: int
    prf: PrfFunction
    ke: int
    kwa: int | None
    additional_ke: tuple[int, ...]
    encryption_key: int  # octets of SK_e, salt included
    integrity_key: int

    @property
    def kwa_key_length(self) -> int:
        """Octets of GSK_w; UnsupportedAlgorithm when no KWA was agreed."""
        try:
            return _KWA_OCTETS[Kwa(self.kwa or 0)]
        except (ValueError, KeyError) as error:
            raise UnsupportedAlgorithm("no key wrap algorithm was agreed") from error

    def protection(self, key_e: bytes, key_a: bytes, random: RandomSource) -> Protection:
        return make_protection(self.encr, self.key_bits, self.integ, key_e, key_a, random)


@lru_cache(maxsize=256)
def ike_suite(transforms: tuple[Transform, ...]) -> IkeSuite:
    """The suite of one transform per type; UnsupportedAlgorithm when we lack one."""
    chosen = {item.type: item for item in transforms}
    try:
        encr, prf, method = chosen[_T.ENCR], chosen[_T.PRF], chosen[_T.KE]
    except KeyError as error:
        raise UnsupportedAlgorithm(f"no transform of type {error.args[0]}") from error
    integ = chosen[_T.INTEG].id if _T.INTEG in chosen else int(Integ.NONE)
    additional = tuple(chosen[kind].id for kind in sorted(_ADDITIONAL & chosen.keys()) if chosen[kind].id)
    for ke in (method.id, *additional):
        if not is_supported(ke):
            raise UnsupportedAlgorithm(f"key exchange method {ke}")
    return IkeSuite(
        encr=encr.id,
        key_bits=encr.key_bits,
        integ=integ,
        prf=PrfFunction(prf.id),
        ke=method.id,
        kwa=chosen[_T.KWA].id if _T.KWA in chosen else None,
        additional_ke=additional,
        encryption_key=encryption_key_length(encr.id, encr.key_bits),
        integrity_key=integrity_key_length(encr.id, integ),
    )


def proposals_from(offers: Iterable[tuple[Transform, ...]], protocol: int, spi: bytes = b"") -> tuple[Proposal, ...]:
    """Numbered proposals, one for each offer, all with the same SPI."""
    return tuple(Proposal(number, protocol, spi, offer) for number, offer in enumerate(offers, 1))


def _by_type(transforms: Iterable[Transform]) -> dict[int, list[Transform]]:
    by_type: dict[int, list[Transform]] = {}
    for item in transforms:
        by_type.setdefault(item.type, []).append(item)
    return by_type


def _match(offer: tuple[Transform, ...], proposed: tuple[Transform, ...]) -> tuple[Transform, ...] | None:
    """One transform of each type, by our order of preference, or None (RFC 7296 §3.3.6)."""
    ours, theirs = _by_type(offer), _by_type(proposed)
    chosen: list[Transform] = []
    aead = False
    for kind, candidates in ours.items():
        if kind == _T.INTEG and aead:
            continue
        others = theirs.get(kind)
        if others is None:
            if any(item.id == 0 for item in candidates) and kind in (_T.KE, _T.INTEG, *_ADDITIONAL):
                continue
            return None
        pick = next((item for item in candidates if item in others), None)
        if pick is None:
            return None
        aead = aead or (kind == _T.ENCR and pick.id in AEADS)
        chosen.append(pick)
    for kind, others in theirs.items():
        if kind in ours and not (kind == _T.INTEG and aead):
            continue
        # A type that we do not ask for is acceptable only if it is optional: value 0 is then NONE.
        none = next((item for item in others if item.id == 0), None)
        if none is None or kind not in (_T.KE, _T.INTEG, *_ADDITIONAL):
            return None
        chosen.append(none)
    return tuple(chosen)


def choose(
    offers: Sequence[tuple[Transform, ...]], proposals: Sequence[Proposal], protocol: int, spi_size: int
) -> Proposal | None:
    """The first of our offers that one of the peer's proposals meets, as the peer's proposal with one
    transform of each type; None when there is none."""
    for offer in offers:
        for proposal in proposals:
            if proposal.protocol == protocol and len(proposal.spi) == spi_size:
                chosen = _match(offer, proposal.transforms)
                if chosen is not None:
                    return Proposal(proposal.number, protocol, proposal.spi, chosen)
    return None


def check_answer(sent: Sequence[Proposal], answer: Sequence[Proposal], spi_size: int) -> Proposal:
    """The peer's choice, if it is one of our offers; otherwise MalformedMessage (RFC 7296 §3.3.6)."""
    if len(answer) != 1:
        raise MalformedMessage(f"{len(answer)} proposals in an answer")
    chosen = answer[0]
    offered = next((item for item in sent if item.number == chosen.number), None)
    if offered is None or chosen.protocol != offered.protocol or len(chosen.spi) != spi_size:
        raise MalformedMessage("answer to a proposal that we did not make")
    kinds = [item.type for item in chosen.transforms]
    types = _by_type(offered.transforms)
    if len(set(kinds)) != len(kinds) or any(item not in offered.transforms for item in chosen.transforms):
        raise MalformedMessage("answer holds transforms that we did not offer")
    aead = any(item.type == _T.ENCR and item.id in AEADS for item in chosen.transforms)
    for kind, items in types.items():
        optional = any(item.id == 0 for item in items) or (kind == _T.INTEG and aead)
        if kind not in kinds and not optional:
            raise MalformedMessage(f"answer lacks transform type {kind}")
    return chosen
