"""Routers and a DKS of a simulated laboratory that live by what a Policy Server serves, as over its HTTP API."""

from __future__ import annotations

import base64
import time

import httpx

from agents.dks.received_confirmations import FOLDER
from agents.ipsec.protection import RoutingProtocol
from agents.lks.retained import DOCUMENT
from agents.policy.document import verify_document
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER
from tests.unit.web.conftest import Server

SEGMENTS = {"a": ("r1", "r2"), "b": ("r2", "r3")}
PLACES = {
    "r1:r1-e0": ("10.0.0.1/24", "fe80::1:1"),
    "r2:r2-e0": ("10.0.0.2/24", "fe80::1:2"),
    "r2:r2-e1": ("10.0.1.1/24", "fe80::2:1"),
    "r3:r3-e0": ("10.0.1.2/24", "fe80::2:2"),
}
"""Where the laboratory's interfaces are."""


class Laboratory:
    """Three routers in a row. The DKS fetches documents and list, and hands in what routers confirm."""

    def __init__(self, server: Server) -> None:
        headers = {"Authorization": f"Bearer {server.tokens['confirm']}"}
        self._api = httpx.Client(base_url=f"{server.address}/v1", headers=headers)
        self.net = Network(SEGMENTS, dks=True, protocols=(RoutingProtocol.OSPF,))
        self.net.wall_offset = time.time()
        self.net.signed, self.net.documents = {}, {}

    def begin(self) -> None:
        """Every router is given its first document, and power."""
        self._fetch()
        for name in self.net.routers:
            self.net.nodes[name].files[DOCUMENT] = self.net.signed[name]
        self.net.power_on_all()

    def live(self, seconds: float = 30.0) -> None:
        """Policy goes down, time passes, confirmations come up."""
        self._fetch()
        self.net.run(self.net.now + seconds)
        for name, signed in self.net.nodes["dks"].files.items():
            if name.startswith(f"{FOLDER}/"):
                answer = self._api.post("/confirmations", content=signed)
                removed = name.removeprefix(f"{FOLDER}/").partition(".")[0] not in self.net.signed
                assert answer.status_code == 200 or removed, answer.text

    def modes(self, router: str) -> set[str]:
        """What the kernel of a router has."""
        kernel = self.net.nodes[router].kernel
        assert kernel is not None
        return {each.mode.value for each in kernel.interfaces}

    def hears(self, router: str) -> set[str]:
        """Interfaces of a router whose kernel has a key of somebody else's."""
        kernel = self.net.nodes[router].kernel
        assert kernel is not None
        return {each.interface for each in kernel.sas if not each.outbound}

    def _fetch(self) -> None:
        net, known = self.net, self.net.documents
        found = self._api.get("/documents").json()["documents"]
        net.signed = {name: base64.b64decode(each) for name, each in found.items()}
        key = POLICY_SERVER.public_key()
        net.documents = {
            name: verify_document(each, key, domain="example", router=name) for name, each in net.signed.items()
        }
        net.fresh = [*net.fresh, *(each for name, each in net.documents.items() if each != known.get(name))]
        answer = self._api.get("/revocation")
        net.revocation = answer.content if answer.status_code == 200 else None
