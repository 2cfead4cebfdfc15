"""Names in certificates: whether one is for an identity, and what an authority may name (RFC 7296 §3.5, RFC 5280
§4.2.1.10).

Knows nothing of signatures, paths or time.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address

from cryptography import x509

from agents.ikev2.codec.payloads import Identification
from agents.ikev2.registry import IdType


def named(certificate: x509.Certificate, ident: Identification) -> bool:
    """Whether the certificate is for this identity: its subject for a DN, else a subjectAltName."""
    if ident.type == IdType.DER_ASN1_DN:
        return certificate.subject.public_bytes() == ident.data
    names = _alternative(certificate)
    if names is None:
        return False
    if ident.type in (IdType.IPV4_ADDR, IdType.IPV6_ADDR) and len(ident.data) in (4, 16):
        return ip_address(ident.data) in names.get_values_for_type(x509.IPAddress)
    text = str(ident)
    if ident.type == IdType.FQDN:
        return text in names.get_values_for_type(x509.DNSName)
    if ident.type == IdType.RFC822_ADDR:
        return text in names.get_values_for_type(x509.RFC822Name)
    return False


def allowed_by(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether the authority's name constraints, if it has any, let this certificate have all its names.

    A constraint of a kind that we cannot compare forbids a name of that kind.
    """
    try:
        constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    permitted, excluded = constraints.permitted_subtrees or [], constraints.excluded_subtrees or []
    for name in _names(certificate):
        of_kind = [each for each in permitted if type(each) is type(name)]
        if of_kind and not any(_within(name, each) is True for each in of_kind):
            return False
        if any(_within(name, each) is not False for each in excluded if type(each) is type(name)):
            return False
    return True


def _alternative(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _names(certificate: x509.Certificate) -> Iterator[x509.GeneralName]:
    if list(certificate.subject):
        yield x509.DirectoryName(certificate.subject)
    yield from _alternative(certificate) or ()


def _within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool | None:
    """Whether the name lies in the subtree; None when we cannot tell."""
    if isinstance(name, x509.DNSName) and isinstance(subtree, x509.DNSName):
        return _domain_within(name.value, subtree.value)
    if isinstance(name, x509.IPAddress) and isinstance(subtree, x509.IPAddress):
        network = subtree.value
        if not isinstance(network, IPv4Network | IPv6Network):
            return None
        return name.value in network
    if isinstance(name, x509.RFC822Name) and isinstance(subtree, x509.RFC822Name):
        _local, _at, host = name.value.rpartition("@")
        if "@" in subtree.value:
            return name.value == subtree.value
        if subtree.value.startswith("."):
            return host.lower() != subtree.value[1:].lower() and _domain_within(host, subtree.value[1:])
        return host.lower() == subtree.value.lower()
    if isinstance(name, x509.DirectoryName) and isinstance(subtree, x509.DirectoryName):
        return list(name.value.rdns)[: len(subtree.value.rdns)] == list(subtree.value.rdns)
    return None


def _domain_within(name: str, base: str) -> bool:
    name, base = name.lower().rstrip("."), base.lower().strip(".")
    return not base or name == base or name.endswith("." + base)
