"""A folder of routers' confirmations, ROUTER.confirmation each: read and verified, and kept by the Policy Server.

Whose key counts is read from the domain. Knows nothing of how the files come there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agents.policy.confirmation import MAX_OCTETS, SUFFIX, Confirmation, claimed_router, verify_confirmation
from agents.policy.domain import Domain
from agents.policy.errors import PolicyError
from agents.policy.keys import public_key_from_spki
from agents.runtime.storage import open_regular, read_all, write_atomic

FOLDER = "confirmations"


def verified(domain: Domain, signed: bytes) -> Confirmation:
    """The word of one of the domain's approved routers. PolicyError."""
    name = claimed_router(signed)
    router = domain.router(name)
    if not router.approved:
        raise PolicyError(f"router {name} is not approved")
    return verify_confirmation(signed, public_key_from_spki(router.key), domain=domain.name, router=name)


def read(domain: Domain, folder: Path) -> tuple[dict[str, Confirmation], list[str]]:
    """Every router's word, and what is wrong with files that hold none. No folder: nobody has said anything. What a
    removed router has said is left out: it is nobody's concern.

    OSError when the folder cannot be read.
    """
    confirmations: dict[str, Confirmation] = {}
    wrong = []
    removed = {each.name for each in domain.revoked_routers} - set(domain.routers)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path.name.removesuffix(SUFFIX) in removed:
            continue
        try:
            with open_regular(path) as file:
                said = verified(domain, file.read(MAX_OCTETS + 1))
            if path.name != f"{said.router}{SUFFIX}":
                raise PolicyError(f"is of {said.router}")
        except (PolicyError, OSError) as error:
            wrong.append(f"{path.name}: {error}")
        else:
            confirmations[said.router] = said
    return confirmations, wrong


def put(domain: Domain, folder: Path, signed: bytes) -> Confirmation:
    """Keep a router's word, synced. PolicyError when it is not signed, or of an older version than the one kept."""
    said = verified(domain, signed)
    path = folder / f"{said.router}{SUFFIX}"
    before = _kept(domain, path)
    if before is not None and before.version > said.version:
        raise PolicyError(f"{said.router} has confirmed version {before.version} already, not only {said.version}")
    if not said.says_the_same(before):
        folder.mkdir(mode=0o700, exist_ok=True)
        write_atomic(path, signed, 0o644)
    return said


def _kept(domain: Domain, path: Path) -> Confirmation | None:
    try:
        return verified(domain, read_all(path))
    except (FileNotFoundError, PolicyError):
        return None


def newest(*confirmations: Mapping[str, Confirmation]) -> dict[str, Confirmation]:
    """Of several sources the latest word of each router: the higher version, then the later time."""
    best: dict[str, Confirmation] = {}
    for source in confirmations:
        for router, said in source.items():
            known = best.get(router)
            if known is None or (known.version, known.at) < (said.version, said.at):
                best[router] = said
    return best
