"""A small domain's documents and keys for tests: r1 and r2 on a LAN. Keys come from fixed seeds."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.policy import edit
from agents.policy.document import DksEntry, InterfacePolicy, Neighbor, PolicyDocument, SpiBlock
from agents.policy.domain import Domain
from agents.policy.keys import spki
from agents.policy.spi import GENERATION_BITS, block_size


def private_key(name: str) -> Ed25519PrivateKey:
    """A key that is the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))


SERVER = private_key("policy server")
DKS = DksEntry.model_validate({"name": "dks", "key": spki(private_key("dks")), "addresses": ["10.9.0.1"]})
BLOCKS = {
    name: SpiBlock(base=0x10000 + n * block_size(4), size=block_size(4), generation_bits=GENERATION_BITS)
    for n, name in enumerate(("r1", "r2"))
}


def domain(*routers: str) -> Domain:
    """These routers, approved, and none of their interfaces."""
    made = Domain(name="example", dks=DKS)
    for name in routers:
        made = edit.add_router(made, name, spki(private_key(name)), approved=True)
    return made


def neighbor(name: str, number: int, index: int = 0) -> Neighbor:
    """`name` with address .number on the LAN."""
    return Neighbor.model_validate(
        {
            "router": name,
            "key": spki(private_key(name)),
            "interface": f"{name}-eth0",
            "address": f"10.1.0.{number}",
            "address6": f"fe80::{number}",
            "index": index,
            "spi": BLOCKS[name],
        }
    )


def interface(name: str, number: int, other: Neighbor, **changes: Any) -> InterfacePolicy:
    """The LAN interface of router `name`."""
    fields: dict[str, Any] = {
        "name": f"{name}-eth0",
        "index": 0,
        "address": f"10.1.0.{number}",
        "subnet": "10.1.0.0/24",
        "address6": f"fe80::{number}",
        "link": "lan",
        "mode": "required",
        "protocols": ("ospf", "ospf6", "pim"),
        "neighbors": (other,),
    }
    return InterfacePolicy.model_validate(fields | changes)


def document(name: str = "r1", **changes: Any) -> PolicyDocument:
    """The document of r1 or r2, with some fields changed."""
    number, other, other_number = (1, "r2", 2) if name == "r1" else (2, "r1", 1)
    fields: dict[str, Any] = {
        "domain": "example",
        "router": name,
        "version": 3,
        "issued_at": 1000,
        "expires_at": 2000,
        "issuer": "lks",
        "local_key_server": True,
        "identity": spki(private_key(name)),
        "spi": BLOCKS[name],
        "dks": DKS,
        "interfaces": (interface(name, number, neighbor(other, other_number)),),
    }
    return PolicyDocument.model_validate(fields | changes)
