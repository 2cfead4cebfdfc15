"""Private keys of the laboratory's parties, made from a seed and their names, so that a run can be repeated.

FOR THE LABORATORY ONLY: whoever knows the seed has the keys. Knows nothing of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

POLICY_SERVER = "policy-server"

Keys = Callable[[str], Ed25519PrivateKey]
"""The private key of a party, by its name."""


def laboratory_key(seed: int, name: str) -> Ed25519PrivateKey:
    """A party's key."""
    material = hashlib.sha256(f"router-keys laboratory identity\0{seed}\0{name}".encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(material)


def keys_of(seed: int) -> Keys:
    """All parties' keys of this seed."""
    return partial(laboratory_key, seed)
