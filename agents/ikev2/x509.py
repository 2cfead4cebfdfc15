"""X.509 certificates of peers (CERT encoding 4): an `authenticate` that trusts given authorities.

A peer's certificate must lead to one of the authorities, directly or by authorities whose certificates the peer sends
along, be valid now like all of them, and name the identity that the peer claims (RFC 5280 §6, RFC 4945 §5.1).
Revocation lists are not read: remove an authority instead.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agents.ikev2.codec.payloads import Identification
from agents.ikev2.errors import UnsupportedAlgorithm
from agents.ikev2.model import Authenticate, PeerAddress, PeerCredential, PeerKey
from agents.ikev2.registry import CertEncoding
from agents.ikev2.x509_names import allowed_by, named

MAX_INTERMEDIATES = 4
"""Certificates between a peer's own and a trusted one. What a peer sends beyond that is not looked at."""


def trust_authorities(
    authorities: Sequence[bytes], clock: Callable[[], datetime.datetime], permitted: Callable[[Identification], bool]
) -> Authenticate:
    """An `authenticate` for IkeEndpoint. `authorities`: DER certificates with CA set, ValueError otherwise.

    `clock` gives the present time with a time zone; `permitted` says which identities may come at all. Give
    `authority_hashes(authorities)` to IkeConfig.certificate_authorities, so that peers know what to send.
    """
    anchors = [x509.load_der_x509_certificate(item) for item in authorities]
    if not all(_constraints(item) is not None for item in anchors):
        raise ValueError("a trusted certificate is not one of an authority")

    def authenticate(ident: Identification, credential: PeerCredential | None, peer: PeerAddress) -> PeerKey | None:
        if credential is None or credential.encoding != CertEncoding.X509_SIGNATURE or not permitted(ident):
            return None
        try:
            leaf = x509.load_der_x509_certificate(credential.data)
            now = clock()
            if not _valid(leaf, now) or not _may_sign(leaf) or not named(leaf, ident):
                return None
            others = [x509.load_der_x509_certificate(item) for item in credential.chain[:MAX_INTERMEDIATES]]
            if not _leads_to(anchors, [leaf], others, now):
                return None
            spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return PeerKey.from_spki(spki)
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            return None  # unreadable, or with a key that we do not take

    return authenticate


def authority_hashes(authorities: Sequence[bytes]) -> bytes:
    """What CERTREQ says of DER certificates: SHA-1 of each one's SubjectPublicKeyInfo (RFC 7296 §3.7). It names
    authorities and proves nothing."""
    keys = (x509.load_der_x509_certificate(item).public_key() for item in authorities)
    encoded = (key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys)
    return b"".join(hashlib.sha1(item, usedforsecurity=False).digest() for item in encoded)


def _leads_to(
    anchors: Sequence[x509.Certificate],
    below: Sequence[x509.Certificate],
    others: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> bool:
    """Whether a path goes on from the last of `below` (the peer's own first) to an anchor, by certificates of
    `others`, each once."""
    if any(_issues(anchor, below, now) for anchor in anchors):
        return True
    return any(
        _issues(each, below, now) and _leads_to(anchors, [*below, each], [*others[:n], *others[n + 1 :]], now)
        for n, each in enumerate(others)
    )


def _issues(authority: x509.Certificate, below: Sequence[x509.Certificate], now: datetime.datetime) -> bool:
    """Whether this authority may stand above these certificates, and signed the last of them (RFC 5280 §6.1.4)."""
    constraints = _constraints(authority)
    if constraints is None or not _valid(authority, now) or not _known(authority):
        return False
    length = constraints.path_length
    # Certificates that authorities issue to themselves do not count; none of those is taken here.
    if length is not None and len(below) - 1 > length:
        return False
    if not _may_certify(authority) or not all(allowed_by(authority, each) for each in below):
        return False
    try:
        below[-1].verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    """The Basic Constraints of an authority, None for others."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None
    return found if found.ca else None


def _valid(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _known(certificate: x509.Certificate) -> bool:
    """A critical extension that is not understood forbids all use."""
    known = (
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.SubjectAlternativeName,
        x509.ExtendedKeyUsage,
        x509.NameConstraints,
    )
    return not any(item.critical and not isinstance(item.value, known) for item in certificate.extensions)


def _usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _may_sign(certificate: x509.Certificate) -> bool:
    """Key Usage, if there is one, allows signatures."""
    usage = _usage(certificate)
    return _known(certificate) and (usage is None or bool(usage.digital_signature))


def _may_certify(certificate: x509.Certificate) -> bool:
    usage = _usage(certificate)
    return usage is None or bool(usage.key_cert_sign)
