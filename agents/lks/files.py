"""A router's files, and the core that they make: for the daemon, and for `lks check`.

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
from agents.runtime.storage import CorruptRecord, read_all

_RETAINED = (DOCUMENT, COUNTERS, REVOCATION, LEASE)
KEY_FIX = (
    "bring the right key file, or on the Policy Server: policy router remove, add and approve with this key's .pub"
)


def core_of(config: LksConfig, sequence: Counter, *, log_keys: bool) -> LksCore:
    """The core from the files of the configuration. PolicyError and CorruptRecord name the file; OSError."""
    try:
        return _core_of(config, sequence, log_keys=log_keys)
    except (PolicyError, CorruptRecord) as error:
        name = next((each for each in _RETAINED if str(error).startswith(f"{each}: ")), None)
        if name is None:
            raise
        text = f"{config.state_dir}/{error}"
        if name == DOCUMENT and "  next:" not in text:
            text += f"\n  next:    {_export(config.name, config.state_dir / DOCUMENT)}"
        raise type(error)(text) from error


def _core_of(config: LksConfig, sequence: Counter, *, log_keys: bool) -> LksCore:
    return LksCore(
        read_document(config.state_dir / DOCUMENT, config.name),
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


def _export(router: str, path: Path) -> str:
    return f"on the Policy Server: policy export FOLDER; copy its {router}.cose to {path}"


def read_document(path: Path, router: str = "ROUTER") -> bytes:
    """The signed document. PolicyError when there is none, OSError."""
    data = read_optional(path)
    if data is None:
        raise PolicyError(
            f"{path}: there is no signed policy document, so the router has not been commissioned\n"
            f"  next:    {_export(router, path)}"
        )
    return data


def read_optional(path: Path) -> bytes | None:
    """A retained file, or None. OSError."""
    try:
        return read_all(path, MOST_OCTETS) if path.name == COUNTERS else read_all(path)
    except FileNotFoundError:
        return None


def _carried(path: Path) -> bytes | None:
    """The carried documents. A router can do without them: neighbours have the same."""
    try:
        return read_all(path, MOST_CARRIED)
    except OSError:
        return None
