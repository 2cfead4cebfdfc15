"""A domain of any size for benchmarks: routers on a ring, their keys and documents, and the DKS's files.

Keys come from a seed. FOR BENCHMARKS ONLY. Knows nothing of processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.ipsec.protection import RoutingProtocol
from agents.policy.compile import compile_documents
from agents.policy.document import PolicyDocument
from agents.policy.domain import Settings
from agents.policy.keys import public_pem, write_private_key, write_public
from testbed.domains.build import domain_of, signed
from testbed.domains.drawn import ring
from testbed.domains.keys import POLICY_SERVER, keys_of

NAME = "bench"
DKS = "dks"
SEED = 1
KEYS = keys_of(SEED)


@dataclass(frozen=True)
class BenchDomain:
    """`documents`: by router. The DKS makes all keys (`issuer: dks`), so that every answer can be asked of it: for
    every member, or with `local_key_server` for the speakers alone."""

    documents: dict[str, PolicyDocument]

    def key(self, router: str) -> Ed25519PrivateKey:
        """A router's private key."""
        return KEYS(router)


def make(
    routers: int, dks_address: str, port: int, folder: Path, *, issued_at: int, local_key_server: bool = False
) -> BenchDomain:
    """A ring of at least three routers. Writes the DKS's identity, documents and `dks.toml` to the folder."""
    settings = Settings(issuer="dks", local_key_server=local_key_server, validity_s=1 << 32)
    topology = ring(routers, (RoutingProtocol.OSPF,), domain=NAME)
    documents = compile_documents(
        domain_of(topology, KEYS, IPv4Address(dks_address), settings, port=port), 1, issued_at
    )
    server = KEYS(POLICY_SERVER)
    (folder / "documents").mkdir(parents=True)
    for name, octets in signed(documents, server).items():
        (folder / "documents" / f"{name}.cose").write_bytes(octets)
    write_private_key(folder / "identity.pem", KEYS(DKS))
    write_public(folder / "policy-server.pem", public_pem(server.public_key()))
    (folder / "dks.toml").write_text(
        f'domain = "{NAME}"\nidentity = "identity.pem"\npolicy_server_key = "policy-server.pem"\n'
        f'documents = "documents"\nstate_dir = "state"\nlisten = "{dks_address}"\nport = {port}\n'
        "rate = 1000000\nburst = 1000000\n"
    )
    return BenchDomain(documents)
