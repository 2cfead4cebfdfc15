"""strongSwan's charon and we with certificates of two different intermediate authorities under one root, both ways."""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

sys.path.insert(0, str(Path(__file__).parent))
import charon_lab as lab

from agents.ikev2 import Closed, Established, IkeConfig, IkeEndpoint, LocalIdentity, PeerCredential
from agents.ikev2.x509 import authority_hashes, trust_authorities

pytestmark = pytest.mark.guest

CONNECTION = """
connections { us {
  version = 2
  local_addrs = %(charon)s
  remote_addrs = %(us)s
  mobike = no
  childless = force
  send_cert = %(options)s
  proposals = %(ike)s
  local { auth = pubkey
          id = charon.example
          certs = charon.pem }
  remote { auth = pubkey
           id = us.example
           cacerts = root.pem }
} }
"""


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(subject: str, own: Any, issuer: str, signer: Any, *, ca: bool, length: int | None = None) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (subject, issuer)]
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
    parent = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        x509.CertificateBuilder(names[1], names[0], own.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca, length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(parent, critical=False)
    )
    if not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


class Authorities:
    """A root, an intermediate authority for each party, and the parties' certificates."""

    def __init__(self) -> None:
        root, ours, theirs, self.us_key, self.charon_key = (key() for _ in range(5))
        self.root = certificate("root", root, "root", root, ca=True)
        self.our_authority = certificate("ours", ours, "root", root, ca=True, length=0)
        self.their_authority = certificate("theirs", theirs, "root", root, ca=True, length=0)
        self.us = certificate("us.example", self.us_key, "ours", ours, ca=False)
        self.charon = certificate("charon.example", self.charon_key, "theirs", theirs, ca=False)


class Charon(lab.Charon):
    """With certificates in place of raw keys. It has not got our intermediate authority's."""

    def __init__(self, authorities: Authorities, send: str) -> None:
        self._authorities = authorities
        super().__init__(authorities.us_key, authorities.charon_key, connection=send)

    def _files(self, our_key: Any, charon_key: Any, daemon: str, connection: str, ike: str, esp: str) -> None:
        swanctl, found = self.folder / "swanctl", self._authorities
        for folder, name, der in (
            ("x509", "charon", found.charon),
            ("x509ca", "root", found.root),
            ("x509ca", "theirs", found.their_authority),
        ):
            (swanctl / folder).mkdir(parents=True, exist_ok=True)
            (swanctl / folder / f"{name}.pem").write_bytes(
                x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
            )
        (swanctl / "private").mkdir()
        octets = charon_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (swanctl / "private" / "charon.pem").write_bytes(octets)
        values = {"charon": lab.CHARON, "us": lab.US, "options": connection, "ike": ike}
        (swanctl / "swanctl.conf").write_text(CONNECTION % values)
        (self.folder / "strongswan.conf").write_text(
            lab.PRELUDE % {"folder": self.folder, "options": daemon, "plugins": lab.PLUGINS}
        )


Start = Callable[..., tuple[lab.Us, Charon]]


@pytest.fixture
def start() -> Iterator[Start]:
    stops: list[Callable[[], None]] = []

    def begin(*, ask: bool = True, with_chain: bool = True, send: str = "ifasked") -> tuple[lab.Us, Charon]:
        found = Authorities()
        charon = Charon(found, send)
        stops.append(charon.stop)
        us = lab.Us(found.us_key, found.charon_key)
        stops.append(us.stop)
        us.endpoint = IkeEndpoint(
            LocalIdentity(
                lab.OUR_ID, found.us_key, PeerCredential(4, found.us, (found.our_authority,) if with_chain else ())
            ),
            trust_authorities(
                [found.root], lambda: datetime.datetime.now(datetime.UTC), lambda ident: ident == lab.CHARON_ID
            ),
            random=os.urandom,
            config=IkeConfig(
                send_credential=True, certificate_authorities=authority_hashes([found.root]) if ask else b""
            ),
        )
        return us, charon

    yield begin
    for stop in reversed(stops):
        stop()


def test_we_initiate_and_both_follow_the_others_chain_to_the_root(start: Start) -> None:
    us, charon = start()
    us.do("connect", us.peer, lab.CHARON_ID, [])
    us.serve(lambda: bool(us.all(Established)) or bool(us.all(Closed)))
    assert us.all(Established), charon.log()
    assert "ESTABLISHED" in charon.sas()


def test_charon_initiates_and_sends_its_chain_because_we_ask_for_it(start: Start) -> None:
    us, charon = start()
    us.serve_command(charon.begin("--initiate", "--ike", "us"))
    assert not us.last(Established).initiator, charon.log()


def test_charon_sends_no_certificate_when_it_is_not_asked_and_is_refused(start: Start) -> None:
    us, _charon = start(ask=False)
    us.do("connect", us.peer, lab.CHARON_ID, [])
    us.serve(lambda: bool(us.all(Established)) or bool(us.all(Closed)))
    assert not us.all(Established)


def test_without_our_intermediate_authority_charon_refuses_us(start: Start) -> None:
    us, _charon = start(with_chain=False)
    us.do("connect", us.peer, lab.CHARON_ID, [])
    us.serve(lambda: bool(us.all(Closed)))
    assert not us.all(Established)
