"""Reads which SAs a node's kernel has, and whether two nodes mean the same key by one.

A key leaves the kernel as the beginning of its SHA-256 only: enough to be compared. Knows nothing of groups.
"""

from __future__ import annotations

import hashlib

from agents.ipsec.model import SecurityAssociation
from agents.ipsec.xfrm import Xfrm

MARK_OCTETS = 8


def held_sas(namespace: str | int) -> list[dict[str, str]]:
    """Every SA of the network namespace (a path or an open descriptor), in a stable order: `spi`, `source`,
    `destination` and `key`, which two SAs have in common when they have all keys in common. XfrmError."""
    with Xfrm(namespace) as kernel:
        sas = [
            {
                "spi": f"{sa.spi:#010x}",
                "source": str(sa.source),
                "destination": str(sa.destination),
                "key": key_mark(sa),
            }
            for sa in kernel.dump_sas()
        ]
    return sorted(sas, key=lambda each: (each["spi"], each["destination"], each["source"]))


def key_mark(sa: SecurityAssociation) -> str:
    """What is told of an SA's keys: the beginning of a hash over them, hexadecimal."""
    digest = hashlib.sha256(b"laboratory key mark\0")
    for algorithm in (sa.encryption, sa.integrity, sa.aead):
        octets = b"" if algorithm is None else algorithm.key
        digest.update(len(octets).to_bytes(2, "big") + octets)
    return digest.digest()[:MARK_OCTETS].hex()
