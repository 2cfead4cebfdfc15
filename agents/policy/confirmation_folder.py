"""A folder of routers' confirmations, ROUTER.confirmation each: read and verified, and kept by the Policy Server.

The domain has the valid keys. Knows nothing of how the files get there.
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
    """The confirmation of one of the domain's approved routers. PolicyError."""
    name = claimed_router(signed)
    router = domain.router(name)
    if not router.approved:
        raise PolicyError(f"router {name} is not approved")
    return verify_confirmation(signed, public_key_from_spki(router.key), domain=domain.name, router=name)


def read(domain: Domain, folder: Path) -> tuple[dict[str, Confirmation], list[str]]:
    """Every router's confirmation, and the errors of other files. No folder: no confirmations. Those of removed routers
    are left out.

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
    """Keep a router's confirmation, synced. PolicyError when it is not signed, or has an older version than the one
    kept."""
    said = verified(domain, signed)
    path = folder / f"{said.router}{SUFFIX}"
    before = _kept(domain, path)
    if before is not None and before.version > said.version:
        raise PolicyError(
            f"{said.router} has already confirmed version {before.version}, which is later than {said.version}"
        )
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
    """The latest confirmation of each router from several sources: the higher version, then the later time."""
    best: dict[str, Confirmation] = {}
    for source in confirmations:
        for router, said in source.items():
            known = best.get(router)
            if known is None or (known.version, known.at) < (said.version, said.at):
                best[router] = said
    return best
