"""What a Policy Server hands out, as files: signed documents, the revocation list, its public key.

Knows nothing of who reads them.
"""

from __future__ import annotations

from pathlib import Path

from agents.policy.errors import PolicyError
from agents.policy.keys import write_public
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.store import PolicyStore
from agents.runtime.storage import make_folder


def export_documents(store: PolicyStore, folder: Path, version: int | None = None) -> list[str]:
    """Write ROUTER.cose each, the revocation list and policy-server.pem; whose documents. PolicyError, OSError."""
    documents = store.documents(version)
    if not documents:
        raise PolicyError("there are no documents; the next step is: policy commit -m REASON")
    make_folder(folder)
    for name, octets in documents.items():
        write_public(folder / f"{name}.cose", octets)
    for name in {each.name for each in store.draft().revoked_routers} - set(documents):
        (folder / f"{name}.cose").unlink(missing_ok=True)  # a removed router's: nobody is to be given it
    revocation = store.revocation()
    if revocation is not None:
        write_public(folder / REVOCATION, revocation)
    write_public(folder / "policy-server.pem", (store.folder / "key.pub").read_bytes())
    return list(documents)
