"""The files that a Policy Server hands out: signed documents, the revocation list, its public key.

Knows nothing of their readers.
"""

from __future__ import annotations

from pathlib import Path

from agents.policy.document import verify_document
from agents.policy.errors import PolicyError
from agents.policy.keys import write_public
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.store import PolicyStore
from agents.runtime.storage import make_folder, read_all


def export_documents(store: PolicyStore, folder: Path, version: int | None = None) -> list[str]:
    """Write ROUTER.cose each, the revocation list and policy-server.pem; the names of the routers. PolicyError,
    OSError."""
    documents = store.documents(version)
    if not documents:
        raise PolicyError("there are no documents; the next step is: policy commit -m REASON")
    make_folder(folder)
    for name, octets in documents.items():
        write_public(folder / f"{name}.cose", octets)
    for name in {each.name for each in store.draft().revoked_routers} - set(documents):
        _withdraw(folder / f"{name}.cose", store, name)
    revocation = store.revocation()
    if revocation is not None:
        write_public(folder / REVOCATION, revocation)
    write_public(folder / "policy-server.pem", read_all(store.folder / "key.pub"))
    return list(documents)


def _withdraw(path: Path, store: PolicyStore, router: str) -> None:
    """Delete a removed router's document, so that it is not handed out. Another file of that name stays. OSError."""
    if not path.is_file():
        return
    try:
        verify_document(read_all(path), store.public_key, domain=store.draft().name, router=router)
    except PolicyError:
        return
    path.unlink()
