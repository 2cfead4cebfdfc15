"""The agents of a simulated domain: a router's core and the DKS's, as their daemons make them of what is on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks.core import DksCore
from agents.dks.documents import Documents
from agents.dks.store import GenerationLedger
from agents.lks.carrying import CARRIED
from agents.lks.core import LksCore
from agents.lks.lease import LEASE
from agents.lks.retained import COUNTERS, DOCUMENT
from agents.policy.names import DKS_NAME
from agents.policy.revocation import FILE as REVOCATION
from testbed.domains import keys
from testbed.simulation.simulation import Node, Simulation

key = keys.keys_of(0)
"""The key of a party of a simulated domain."""
POLICY_SERVER = key(keys.POLICY_SERVER)


def router_core(
    simulation: Simulation, node: Node, domain: str, own: Ed25519PrivateKey, wall: Callable[[], float], **more: Any
) -> LksCore:
    """A router's core, from its files; `more`: as LksCore takes it."""
    return LksCore(
        node.files[DOCUMENT],
        own,
        POLICY_SERVER.public_key(),
        node.files.get(COUNTERS),
        domain=domain,
        router=node.name,
        random=simulation.octets,
        sequence=node.sequence,
        wall=wall,
        revocation=node.files.get(REVOCATION),
        lease_record=node.files.get(LEASE),
        carried_record=node.files.get(CARRIED),
        **more,
    )


def held(domain: str, signed: Iterable[bytes]) -> Documents:
    """These documents, as a DKS that starts has them."""
    documents = Documents(domain, POLICY_SERVER.public_key())
    for each in signed:
        documents.add(each)
    return documents


def dks_core(
    simulation: Simulation, domain: str, documents: Documents, ledger: GenerationLedger, **more: Any
) -> DksCore:
    """The DKS's core; `more`: as DksCore takes it."""
    return DksCore(key(DKS_NAME), documents, ledger, domain=domain, name=DKS_NAME, random=simulation.octets, **more)
