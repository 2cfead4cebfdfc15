"""Peers with X.509 certificates and with raw public keys in CERT payloads."""

from __future__ import annotations

import datetime
import hashlib
import random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
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
from agents.ikev2.handshake import certificate_request
from agents.ikev2.registry import CertEncoding, IdType
from agents.ikev2.x509 import MAX_INTERMEDIATES, authority_hashes, trust_authorities

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


# -- chains -----------------------------------------------------------------------------------------


MIDDLE_KEY, LOWER_KEY = p256_key(1003), p256_key(1004)


def authority(
    key: Any, subject: str, *, signer: Any = CA_KEY, issuer: str = "ca", path_length: int | None = None,
    certify: bool = True, ca: bool = True, start: datetime.datetime = NOW - DAY,
    constraints: x509.NameConstraints | None = None,
) -> bytes:  # fmt: skip
    from cryptography.hazmat.primitives import hashes

    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(8)
        .not_valid_before(start)
        .not_valid_after(start + 2 * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
                key_agreement=False, key_cert_sign=certify, crl_sign=False, encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


MIDDLE = authority(MIDDLE_KEY, "middle")
LOWER = authority(LOWER_KEY, "lower", signer=MIDDLE_KEY, issuer="middle")
LEAF = certificate(ed25519_key(5), "a", signer=MIDDLE_KEY, issuer="middle", dns="a.example")
LOW_LEAF = certificate(ed25519_key(5), "a", signer=LOWER_KEY, issuer="lower", dns="a.example")


def check_chain(leaf: bytes, *chain: bytes, anchor: bytes = CA) -> PeerKey | None:
    authenticate = trust_authorities([anchor], lambda: NOW, lambda ident: True)
    return authenticate(Identification.fqdn("a.example"), PeerCredential(4, leaf, chain), PEER)


def test_a_chain_that_leads_to_a_trusted_authority_is_taken_in_whatever_order_it_comes() -> None:
    wanted = PeerKey(ed25519_key(5).public_key())
    assert check_chain(LEAF, MIDDLE) == wanted
    assert check_chain(LOW_LEAF, LOWER, MIDDLE) == check_chain(LOW_LEAF, MIDDLE, LOWER) == wanted
    assert check_chain(LEAF, MIDDLE, CA) == wanted, "with the trusted one itself, which nobody needs"
    assert check_chain(LEAF, anchor=MIDDLE) == wanted, "an intermediate authority may be the trusted one"


@pytest.mark.parametrize(
    ("why", "leaf", "chain"),
    [
        ("the intermediate is missing", LEAF, ()),
        ("a link is missing", LOW_LEAF, (LOWER,)),
        ("the intermediate is no authority", LEAF, (authority(MIDDLE_KEY, "middle", ca=False),)),
        ("the intermediate may not certify", LEAF, (authority(MIDDLE_KEY, "middle", certify=False),)),
        ("the intermediate is not valid yet", LEAF, (authority(MIDDLE_KEY, "middle", start=NOW + DAY),)),
        ("another has signed the intermediate", LEAF, (authority(MIDDLE_KEY, "middle", signer=OTHER_KEY),)),
        ("another key than the issuer's has signed", LEAF, (authority(OTHER_KEY, "middle"),)),
        (
            "the path is longer than the authority allows",
            LOW_LEAF,
            (LOWER, authority(MIDDLE_KEY, "middle", path_length=0)),
        ),
        ("one of the chain is no certificate", LEAF, (MIDDLE, b"\x30\x00")),
        ("a leaf has signed it", LEAF, (certificate(MIDDLE_KEY, "middle", dns="middle.example"),)),
    ],
)
def test_a_chain_is_refused_when(why: str, leaf: bytes, chain: tuple[bytes, ...]) -> None:
    assert check_chain(leaf, *chain) is None, why


def test_a_path_of_just_the_length_that_is_allowed_is_taken() -> None:
    assert check_chain(LOW_LEAF, LOWER, authority(MIDDLE_KEY, "middle", path_length=1)) is not None


@pytest.mark.parametrize(
    ("permitted", "excluded", "taken"),
    [
        (["example"], [], True),
        (["a.example"], [], True),
        (["b.example"], [], False),
        (["xample"], [], False),
        ([], ["example"], False),
        (["example"], ["a.example"], False),
        ([], ["b.example"], True),
    ],
)
def test_name_constraints_of_an_authority_bind_what_is_below_it(
    permitted: list[str], excluded: list[str], taken: bool
) -> None:
    constraints = x509.NameConstraints(
        [x509.DNSName(each) for each in permitted] or None, [x509.DNSName(each) for each in excluded] or None
    )
    middle = authority(MIDDLE_KEY, "middle", constraints=constraints)
    assert (check_chain(LEAF, middle) is not None) is taken
    pinned = authority(MIDDLE_KEY, "middle", constraints=constraints)
    assert (check_chain(LEAF, anchor=pinned) is not None) is taken, "the pinned authority's own too"
    assert (check_chain(LOW_LEAF, LOWER, middle) is not None) is taken, "from two steps above too"


def test_a_constraint_that_cannot_be_compared_forbids_names_of_its_kind() -> None:
    constraints = x509.NameConstraints(None, [x509.UniformResourceIdentifier("example")])
    assert check_chain(LEAF, authority(MIDDLE_KEY, "middle", constraints=constraints)) is not None
    directory = x509.NameConstraints([x509.DirectoryName(name("other"))], None)
    assert check_chain(LEAF, authority(MIDDLE_KEY, "middle", constraints=directory)) is None


@given(chain=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([MIDDLE, LOWER, CA, LEAF])), max_size=12))
def test_whatever_comes_along_only_a_whole_path_counts(chain: list[bytes]) -> None:
    readable = chain[:MAX_INTERMEDIATES]
    expected = MIDDLE in readable and all(each in (MIDDLE, LOWER, CA, LEAF) for each in readable)
    assert (check_chain(LEAF, *chain) is not None) is expected


def test_chains_and_requests_for_them_travel_in_the_handshake() -> None:
    net = Net()
    a_key, b_key = ed25519_key(5), p256_key(6)
    b_leaf = certificate(b_key, "b", signer=LOWER_KEY, issuer="lower", dns="b.example")
    a = party(net, "a.example", a_key, PeerCredential(4, LEAF, (MIDDLE,)), checker())
    b = party(net, "b.example", b_key, PeerCredential(4, b_leaf, (LOWER, MIDDLE)), checker())
    a.endpoint.connect(a.address_of(b), Identification.fqdn("b.example"), [], net.now)
    net.flush(a)
    net.run(5)
    assert a.all(Established) and b.all(Established) and not a.all(Closed)


def test_a_certificate_request_names_the_authorities_by_the_hash_of_their_key() -> None:
    spki = CA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert authority_hashes([CA]) == hashlib.sha1(spki, usedforsecurity=False).digest()
    assert certificate_request(IkeConfig(certificate_authorities=authority_hashes([CA, MIDDLE])))[0].body()[0] == 4
    assert certificate_request(IkeConfig()) == []
