"""A router's files, and the core that they make: for the daemon, and for who looks whether it could start.

Knows nothing of kernels or sockets.
"""

from __future__ import annotations

import os
from pathlib import Path

from agents.lks.carrying import CARRIED
from agents.lks.carrying import MOST_OCTETS as MOST_CARRIED
from agents.lks.config import LksConfig
from agents.lks.context import Counter
from agents.lks.core import LksCore
from agents.lks.lease import LEASE
from agents.lks.retained import COUNTERS, DOCUMENT, MOST_OCTETS
from agents.policy.errors import PolicyError
from agents.policy.keys import read_private_key, read_public_key
from agents.policy.revocation import FILE as REVOCATION
from agents.runtime.clock import WallClock
from agents.runtime.storage import read_all

KEY_FIX = (
    "bring the right key file, or on the Policy Server: policy router remove, add and approve with this key's .pub"
)


def core_of(config: LksConfig, sequence: Counter, *, log_keys: bool) -> LksCore:
    """The core from the files of the configuration. PolicyError, CorruptRecord, OSError."""
    return LksCore(
        read_document(config.state_dir / DOCUMENT),
        read_private_key(config.identity),
        read_public_key(config.policy_server_key),
        read_optional(config.state_dir / COUNTERS),
        domain=config.domain,
        router=config.name,
        random=os.urandom,
        sequence=sequence,
        wall=WallClock(config.clock),
        port=config.port,
        revocation=read_optional(config.state_dir / REVOCATION),
        lease_record=read_optional(config.state_dir / LEASE),
        carried_record=_carried(config.state_dir / CARRIED),
        log_keys=log_keys,
    )


def read_document(path: Path) -> bytes:
    """The signed document. PolicyError when there is none, OSError."""
    data = read_optional(path)
    if data is None:
        raise PolicyError(
            f"{path}: there is no signed policy document, so the router has not been commissioned\n"
            f"  next:    on the Policy Server: policy export FOLDER; copy its ROUTER.cose to {path}"
        )
    return data


def read_optional(path: Path) -> bytes | None:
    """A retained file, or None. OSError."""
    try:
        return read_all(path, MOST_OCTETS) if path.name == COUNTERS else read_all(path)
    except FileNotFoundError:
        return None


def _carried(path: Path) -> bytes | None:
    """Others' documents. A router does without them: neighbours have the same."""
    try:
        return read_all(path, MOST_CARRIED)
    except OSError:
        return None
