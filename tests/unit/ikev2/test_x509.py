"""Peers with X.509 certificates and with raw public keys in CERT payloads."""

from __future__ import annotations

import datetime
import random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from simnet import Net, Node, ed25519_key, p256_key

from agents.ikev2 import (
    Authenticate,
    Closed,
    Established,
    Identification,
    IkeConfig,
    IkeEndpoint,
    LocalIdentity,
    PeerAddress,
    PeerCredential,
    PeerKey,
)
from agents.ikev2.registry import CertEncoding, IdType
from agents.ikev2.x509 import trust_authorities

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
CA_KEY, OTHER_KEY = p256_key(1001), p256_key(1002)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    key: Any, subject: str, *, signer: Any = CA_KEY, issuer: str = "ca", ca: bool = False, dns: str | None = None,
    start: datetime.datetime = NOW - DAY,
) -> bytes:  # fmt: skip
    from cryptography.hazmat.primitives import hashes

    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + 2 * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if dns is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


CA = certificate(CA_KEY, "ca", ca=True)
PEER = PeerAddress("192.0.2.1", 500)


def checker(permitted: bool = True) -> Authenticate:
    return trust_authorities([CA], lambda: NOW, lambda ident: permitted)


def check(der: bytes, ident: str = "a.example", *, permitted: bool = True) -> PeerKey | None:
    credential = PeerCredential(CertEncoding.X509_SIGNATURE, der)
    return checker(permitted)(Identification.fqdn(ident), credential, PEER)


def test_a_certificate_of_a_trusted_authority_gives_its_key() -> None:
    key = ed25519_key(5)
    der = certificate(key, "a", dns="a.example")
    assert check(der) == PeerKey(key.public_key())
    subject = Identification(IdType.DER_ASN1_DN, name("a").public_bytes())
    assert checker()(subject, PeerCredential(4, der), PEER) is not None


def test_everything_else_is_refused() -> None:
    key = ed25519_key(5)
    good = certificate(key, "a", dns="a.example")
    assert check(good, "b.example") is None, "another name"
    assert check(good, permitted=False) is None, "not one of ours"
    assert check(certificate(key, "a", dns=None)) is None, "no name"
    assert check(certificate(key, "a", dns="a.example", signer=OTHER_KEY)) is None, "another signer"
    assert check(certificate(key, "a", dns="a.example", issuer="x")) is None, "another issuer"
    assert check(certificate(key, "a", dns="a.example", start=NOW + DAY)) is None, "not yet"
    assert check(certificate(key, "a", dns="a.example", start=NOW - 5 * DAY)) is None, "no more"
    assert check(good[:-5]) is None and check(b"") is None
    assert checker()(Identification.fqdn("a.example"), None, PEER) is None
    assert checker()(Identification.fqdn("a.example"), PeerCredential(15, good), PEER) is None
    with pytest.raises(ValueError):
        trust_authorities([good], lambda: NOW, lambda ident: True)


def party(net: Net, text: str, key: Any, credential: PeerCredential, authenticate: Authenticate) -> Node:
    identity = LocalIdentity(Identification.fqdn(text), key, credential)
    source = random.Random(text).randbytes
    endpoint = IkeEndpoint(identity, authenticate, random=source, config=IkeConfig(send_credential=True))
    node = Node(net, text, f"192.0.2.{len(net.nodes) + 1}", endpoint)
    net.nodes[node.ip] = node
    return node


def test_two_parties_with_certificates_establish_an_sa() -> None:
    net = Net()
    a_key, b_key = ed25519_key(5), p256_key(6)
    a, b = (
        party(net, text, key, PeerCredential(4, certificate(key, text, dns=text)), checker())
        for text, key in (("a.example", a_key), ("b.example", b_key))
    )
    a.endpoint.connect(a.address_of(b), Identification.fqdn("b.example"), [], net.now)
    net.flush(a)
    net.run(5)
    assert a.all(Established) and b.all(Established) and not a.all(Closed)


def test_raw_public_keys_come_in_cert_payloads_and_are_compared_with_the_pinned_ones() -> None:
    net, seen = Net(), []
    keys = {"a.example": ed25519_key(5), "b.example": p256_key(6)}

    def spki(key: Any) -> bytes:
        return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def pinned(ident: Identification, credential: PeerCredential | None, peer: PeerAddress) -> PeerKey | None:
        seen.append(credential)
        return PeerKey(keys[str(ident)].public_key())

    a, b = (party(net, text, key, PeerCredential(15, spki(key)), pinned) for text, key in keys.items())
    a.endpoint.connect(a.address_of(b), Identification.fqdn("b.example"), [], net.now)
    net.flush(a)
    net.run(5)
    assert a.all(Established) and b.all(Established)
    assert seen == [PeerCredential(15, spki(keys["a.example"])), PeerCredential(15, spki(keys["b.example"]))]
    assert PeerKey.from_spki(spki(keys["b.example"])).spki == spki(keys["b.example"])
