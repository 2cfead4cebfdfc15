"""A domain of any size for benchmarks: routers on a ring, their keys and documents, and the DKS's files.

Keys come from a seed. FOR BENCHMARKS ONLY. Knows nothing of processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import edit
from agents.policy.compile import compile_documents
from agents.policy.document import DksEntry, PolicyDocument, sign_document
from agents.policy.domain import Domain, Settings
from agents.policy.keys import public_pem, spki, write_private_key, write_public
from testbed.keying.provision import laboratory_key

NAME = "bench"
DKS = "dks"
SEED = 1


@dataclass(frozen=True)
class BenchDomain:
    """`documents`: by router. The DKS makes all keys (`issuer: dks`), so that every answer can be asked of it: for
    every member, or with `local_key_server` for the speakers alone."""

    documents: dict[str, PolicyDocument]

    def key(self, router: str) -> Ed25519PrivateKey:
        """A router's private key."""
        return laboratory_key(SEED, router)


def make(
    routers: int, dks_address: str, port: int, folder: Path, *, issued_at: int, local_key_server: bool = False
) -> BenchDomain:
    """A ring of at least three routers. Writes the DKS's identity, documents and `dks.toml` to the folder."""
    names = [f"r{number}" for number in range(routers)]
    entry = DksEntry(name=DKS, key=spki(laboratory_key(SEED, DKS)), addresses=(IPv4Address(dks_address),), port=port)
    settings = Settings(issuer="dks", local_key_server=local_key_server, validity_s=1 << 32)
    domain = Domain(name=NAME, dks=entry, settings=settings)
    for name in names:
        key = spki(laboratory_key(SEED, name))
        domain = edit.approve_router(edit.add_router(domain, name, key), name, key)
    for number, name in enumerate(names):
        network = IPv4Address("10.0.0.0") + 4 * number
        for end, (router, interface) in enumerate(((name, "right"), (names[(number + 1) % routers], "left"))):
            address = IPv4Interface(f"{network + end + 1}/30")
            local = IPv6Address(f"fe80::{number + 1:x}:{end + 1:x}")
            protocols = (RoutingProtocol.OSPF,)
            domain = edit.add_interface(domain, router, interface, address, local, "p2p", protocols, Mode.REQUIRED)
    for number, name in enumerate(names):
        domain = edit.allow(domain, (name, "right"), (names[(number + 1) % routers], "left"))
    documents = compile_documents(domain, 1, issued_at)
    server = laboratory_key(SEED, "policy-server")
    (folder / "documents").mkdir(parents=True)
    for name, document in documents.items():
        (folder / "documents" / f"{name}.cose").write_bytes(sign_document(document, server))
    write_private_key(folder / "identity.pem", laboratory_key(SEED, DKS))
    write_public(folder / "policy-server.pem", public_pem(server.public_key()))
    (folder / "dks.toml").write_text(
        f'domain = "{NAME}"\nidentity = "identity.pem"\npolicy_server_key = "policy-server.pem"\n'
        f'documents = "documents"\nstate_dir = "state"\nlisten = "{dks_address}"\nport = {port}\n'
        "rate = 1000000\nburst = 1000000\n"
    )
    return BenchDomain(documents)
