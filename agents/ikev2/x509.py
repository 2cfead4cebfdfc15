"""X.509 certificates of peers (CERT encoding 4): an `authenticate` that trusts given authorities.

A certificate must be issued by one of the authorities directly, be valid now, and name the identity
that the peer claims. Longer chains and revocation lists are not read: remove an authority instead.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agents.ikev2.codec.payloads import Identification
from agents.ikev2.errors import UnsupportedAlgorithm
from agents.ikev2.model import Authenticate, PeerAddress, PeerCredential, PeerKey
from agents.ikev2.registry import CertEncoding, IdType


def trust_authorities(
    authorities: Sequence[bytes], clock: Callable[[], datetime.datetime], permitted: Callable[[Identification], bool]
) -> Authenticate:
    """An `authenticate` for IkeEndpoint. `authorities`: DER certificates with CA set, ValueError otherwise.

    `clock` gives the present time with a time zone; `permitted` says which identities may come at all.
    """
    anchors = [x509.load_der_x509_certificate(item) for item in authorities]
    if not all(_is_authority(item) for item in anchors):
        raise ValueError("a trusted certificate is not one of an authority")

    def authenticate(ident: Identification, credential: PeerCredential | None, peer: PeerAddress) -> PeerKey | None:
        if credential is None or credential.encoding != CertEncoding.X509_SIGNATURE or not permitted(ident):
            return None
        try:
            leaf = x509.load_der_x509_certificate(credential.data)
            now = clock()
            issued = any(_valid(anchor, now) and _issued(leaf, anchor) for anchor in anchors)
            if not issued or not _valid(leaf, now) or not _may_sign(leaf) or not _names(leaf, ident):
                return None
            spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return PeerKey.from_spki(spki)
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            return None  # unreadable, or with a key that we do not take

    return authenticate


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _valid(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _issued(leaf: x509.Certificate, anchor: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(anchor)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _may_sign(certificate: x509.Certificate) -> bool:
    """Key Usage, if there is one, allows signatures; critical extensions that we do not know forbid all use."""
    known = (x509.BasicConstraints, x509.KeyUsage, x509.SubjectAlternativeName, x509.ExtendedKeyUsage)
    if any(item.critical and not isinstance(item.value, known) for item in certificate.extensions):
        return False
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature)
    except x509.ExtensionNotFound:
        return True


def _names(certificate: x509.Certificate, ident: Identification) -> bool:
    """Whether the certificate is for this identity: subject for a DN, else a subjectAltName (RFC 7296 §3.5)."""
    if ident.type == IdType.DER_ASN1_DN:
        return certificate.subject.public_bytes() == ident.data
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    if ident.type in (IdType.IPV4_ADDR, IdType.IPV6_ADDR) and len(ident.data) in (4, 16):
        return ip_address(ident.data) in names.get_values_for_type(x509.IPAddress)
    text = str(ident)
    if ident.type == IdType.FQDN:
        return text in names.get_values_for_type(x509.DNSName)
    if ident.type == IdType.RFC822_ADDR:
        return text in names.get_values_for_type(x509.RFC822Name)
    return False
