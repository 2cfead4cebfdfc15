"""The administrator's pages of a domain that stands still, halfway through a deployment: for pictures.

The domain is the laboratory's of a topology, and everything in it is signed as in service: documents by the Policy
Server, confirmations by the routers' keys. Knows nothing of browsers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agents.ipsec.protection import Mode
from agents.policy import confirmation_folder, edit
from agents.policy.api.tokens import Role, TokenStore
from agents.policy.confirmation import Confirmation, InForce, sign_confirmation
from agents.policy.deploy import Deployer, from_folder
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.domain import Settings
from agents.policy.keys import spki
from agents.policy.store import PolicyStore
from testbed.domains.build import domain_of
from testbed.domains.keys import POLICY_SERVER, keys_of
from testbed.topology.resolved import Topology

TOPOLOGY, SEED = "abilene", 1
WHO, NEWCOMER = "anna", "honolulu"
STEPS, WAITED = 25, ("houston",)
"""So many steps of the deployment are taken; these routers have not confirmed the last one."""
HOST = "127.0.0.1"


def make(folder: Path, at: int) -> str:
    """A store below the folder, as of `at` (Unix seconds), and a token that may see and change it."""
    topology = Topology.load(TOPOLOGY)
    domain = domain_of(topology, keys_of(SEED), topology.dks.address_of(topology.family), Settings(), Mode.CLEAR)
    with closing(PolicyStore.create(folder, domain, keys_of(SEED)(POLICY_SERVER))) as store:
        store.commit(WHO, "all routers and links, in clear", at)
        confirmed = folder / confirmation_folder.FOLDER
        deployer = Deployer(store, from_folder(confirmed))
        _confirm(store, at)
        deployer.start((), Mode.REQUIRED, 1, WHO, at)
        for _ in range(STEPS - 1):
            _confirm(store, at)
            deployer.step(WHO, at)
        _confirm(store, at, without=WAITED)
        store.edit(edit.add_router(store.draft(), NEWCOMER, spki(keys_of(SEED)(NEWCOMER))))
        return TokenStore(folder).add(WHO, Role.WRITE, at)


def _confirm(store: PolicyStore, at: int, without: tuple[str, ...] = ()) -> None:
    """All routers have what is committed in force, and both ends of an adjacency have each other's keys."""
    domain, folder = store.domain(store.version), store.folder / confirmation_folder.FOLDER
    for name, signed in store.documents().items():
        if name not in without:
            document = verify_document(signed, store.public_key, domain=domain.name, router=name)
            said = sign_confirmation(_in_force(document, at), keys_of(SEED)(name))
            confirmation_folder.put(domain, folder, said)


def _in_force(document: PolicyDocument, at: int) -> Confirmation:
    return Confirmation(
        domain=document.domain, router=document.router, version=document.version, at=at,
        interfaces=tuple(
            InForce(
                name=each.name, mode=each.mode, modes=each.modes,
                keyed=tuple(sorted({other.router for other in each.neighbors})) if each.protected else (),
            )
            for each in document.interfaces
        ),
    )  # fmt: skip


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """The address of a Policy Server that answers while the block runs, and a token."""
    import uvicorn

    from agents.policy.api.app import create_app

    token = make(folder, int(time.time()))
    app = create_app(folder, [HOST])
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=0, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield f"http://{HOST}:{server.servers[0].sockets[0].getsockname()[1]}", token
    finally:
        server.should_exit = True
        thread.join()
