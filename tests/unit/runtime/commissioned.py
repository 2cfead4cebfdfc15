"""A domain of one router, a DKS and a Policy Server, each with its files in a folder, as an operator leaves them."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Address
from pathlib import Path

from agents.ipsec.protection import RoutingProtocol
from agents.policy.domain import Settings
from agents.policy.keys import public_pem, write_private_key
from agents.policy.store import PolicyStore
from testbed.domains.build import domain_of
from testbed.domains.drawn import DKS_ADDRESS, End, drawn
from testbed.domains.keys import keys_of


@dataclass
class Domain1:
    """`folder`: r1/, dks/ and store/ are in it."""

    folder: Path
    port: int
    issued_at: int

    def config(self, program: str) -> Path:
        """Its configuration."""
        return self.folder / program / f"{program}.toml"

    def path(self, name: str) -> Path:
        return self.folder / name


def free_port() -> int:
    """A UDP port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def commissioned(folder: Path, at: int | None = None) -> Domain1:
    """All of it, signed at Unix time `at`: an hour ago."""
    at = int(time.time()) - 3600 if at is None else at
    keys, address = keys_of(0), IPv4Interface("10.0.0.1/24")
    topology = drawn({"r1": [End("e0", "e0", address, IPv6Address("fe80::1"))]}, (RoutingProtocol.OSPF,))
    store = PolicyStore.create(folder / "store", domain_of(topology, keys, DKS_ADDRESS, Settings()))
    store.commit("anna", "first", at)
    port = free_port()
    for program, name in (("lks", "r1"), ("dks", "dks")):
        at_home = folder / program
        (at_home / "state").mkdir(parents=True, mode=0o700)
        (at_home / "documents").mkdir()
        (at_home / "documents" / "r1.cose").write_bytes(store.documents()["r1"])
        (at_home / "state" / "policy.cose").write_bytes(store.documents()["r1"])
        (at_home / "server.pem").write_bytes(public_pem(store.public_key))
        write_private_key(at_home / "identity.pem", keys(name))
        (at_home / f"{program}.toml").write_text(
            f'name = "{name}"\ndomain = "example"\nidentity = "identity.pem"\npolicy_server_key = "server.pem"\n'
            f'state_dir = "state"\nevents = "events"\nsocket = "sock"\nport = {port}\n'
            + ('documents = "documents"\nlisten = "127.0.0.1"\n' if program == "dks" else "")
        )
    store.close()
    return Domain1(folder, port, at)
