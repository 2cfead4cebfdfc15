"""From a resolved topology to all that agents need: identities, signed documents, folders that survive a reboot.

Goes through the same domain, checks and signatures as an administrator's Policy Server does. What is
the laboratory's own are the keys: they come from the seed, so that a run can be repeated byte for byte.
Knows nothing of processes or nodes; the files' places are in `Places`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import edit
from agents.policy.compile import compile_documents
from agents.policy.document import MAX_PAIR_ADDRESSES, DksEntry, PolicyDocument, sign_document
from agents.policy.domain import Domain, Settings
from agents.policy.errors import PolicyError
from agents.policy.keys import public_pem, spki, write_private_key, write_public
from agents.policy.names import DKS_NAME
from testbed.errors import InputError
from testbed.topology.resolved import Interface, IPAddress, Router, Topology
from testbed.topology.spare import spare_links

ISSUED_AT = 0
"""Documents of the laboratory are issued at Unix time 0 and valid for longer than any run: a guest in
virtual time begins where its seed says, and expiry is tested by giving other times."""

PORT = 848
POLICY_SERVER = "policy-server"


def laboratory_key(seed: int, name: str) -> Ed25519PrivateKey:
    """A party's key, made from the run's seed. FOR THE LABORATORY ONLY: whoever knows the seed has the key."""
    material = hashlib.sha256(f"router-keys laboratory identity\0{seed}\0{name}".encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(material)


@dataclass(frozen=True)
class Places:
    """Where a node's files are in its retained folder."""

    retained: Path

    @property
    def identity(self) -> Path:
        """The private key, PKCS #8 PEM, 0600."""
        return self.retained / "identity.pem"

    @property
    def policy_server_key(self) -> Path:
        """The Policy Server's public key, PEM."""
        return self.retained / "policy-server.pem"

    @property
    def state(self) -> Path:
        """The agent's own folder."""
        return self.retained / "state"

    @property
    def document(self) -> Path:
        """A router's signed document as it was commissioned: the agent's first one."""
        return self.state / "policy.cose"

    @property
    def documents(self) -> Path:
        """The DKS's folder of all routers' signed documents, ROUTER.cose each."""
        return self.retained / "documents"


def domain_of(
    topology: Topology,
    seed: int,
    dks_address: IPAddress,
    settings: Settings,
    mode: Mode = Mode.REQUIRED,
    clear: Collection[RoutingProtocol] = (),
    region: Collection[str] = (),
    new_links: int = 0,
) -> Domain:
    """The domain that an administrator would have approved for this topology: every adjacency it draws, all in `mode`
    but for the protocols that stay `clear`. Of a `region` of links and LANs those alone, and the routers on them, whose
    other interfaces are in clear. Then unicast PIM is protected among them and heard in clear from others, who register
    as well. Without the adjacencies of `new_links` links, which the network hangs together without.

    InputError when the Policy Server would refuse it.
    """
    dks = DksEntry(name=DKS_NAME, key=spki(laboratory_key(seed, DKS_NAME)), addresses=(dks_address,), port=PORT)
    domain = Domain(name=topology.domain, dks=dks, settings=settings)
    if region:
        domain = edit.set_points_mode(domain, Mode.PERMISSIVE)
    withheld = set(spare_links(topology, new_links)) if new_links else set()
    try:
        for router in members(topology, region):
            protected = [each for each in router.interfaces if _protected(each)]
            key = spki(laboratory_key(seed, router.name))
            domain = edit.add_router(domain, router.name, key, room=max(4, len(protected)))
            domain = edit.approve_router(domain, router.name, key)
            for interface in protected:
                protocols = _protocols(topology, interface)
                domain = edit.add_interface(
                    domain,
                    router.name,
                    interface.name,
                    None if topology.bare else interface.ipv4,
                    interface.ipv6_link_local,
                    "lan" if interface.kind == "lan" else "p2p",
                    protocols,
                    mode if _inside(interface, region) else Mode.CLEAR,
                )
                free = [each for each in protocols if each in clear]
                if free:
                    domain = edit.set_mode(domain, router.name, interface.name, Mode.CLEAR, free)
            if topology.pim is not None:
                domain = edit.set_sources(domain, router.name, _registers_from(router))
                if router.pim_rp and RoutingProtocol.PIM not in clear:
                    domain = edit.set_point(domain, router.name, topology.pim.rp_address)
        for router in members(topology, region):
            for adjacency in topology.neighbors(router.name):
                here = (router.name, adjacency.interface.name)
                there = (adjacency.neighbor_router, adjacency.neighbor_interface.name)
                inside = _inside(adjacency.interface, region) and _protected(adjacency.neighbor_interface)
                if here < there and inside and adjacency.interface.segment not in withheld:
                    domain = edit.allow(domain, here, there)
    except PolicyError as error:
        raise InputError(str(error), where=f"topology {topology.name}") from error
    return domain


def members(topology: Topology, region: Collection[str]) -> list[Router]:
    """The routers that have keys: those with an interface on a link or LAN of the region."""
    return [
        router for router in topology.routers.values()
        if not region or any(_protected(each) and _inside(each, region) for each in router.interfaces)
    ]  # fmt: skip


def _inside(interface: Interface, region: Collection[str]) -> bool:
    return not region or interface.segment in region


def _registers_from(router: Router) -> list[IPv4Address]:
    """pimd takes the address on the link of the source: that of a host, or the loopback for what the router sends."""
    stubs = [each.ipv4.ip for each in router.interfaces if each.kind == "stub" and each.pim]
    return [*stubs[: MAX_PAIR_ADDRESSES - 1], router.loopback.ip]


def _protected(interface: Interface) -> bool:
    return interface.kind != "stub" and not interface.passive


def _protocols(topology: Topology, interface: Interface) -> tuple[RoutingProtocol, ...]:
    protocols = []
    if topology.ospf.v2:
        protocols.append(RoutingProtocol.OSPF)
    if topology.ospf.v3:
        protocols.append(RoutingProtocol.OSPF6)
    if topology.pim is not None and interface.pim:
        protocols.append(RoutingProtocol.PIM)
        if topology.pim.ipv6:
            protocols.append(RoutingProtocol.PIM6)
    return tuple(protocols)


def provision(
    topology: Topology,
    folder: Path,
    seed: int,
    dks_address: IPAddress,
    settings: Settings,
    mode: Mode = Mode.REQUIRED,
    clear: Collection[RoutingProtocol] = (),
    region: Collection[str] = (),
    new_links: int = 0,
) -> dict[str, PolicyDocument]:
    """Write every node's retained folder below folder/"retained" and give the documents by router.

    InputError when the topology makes no consistent domain.
    """
    server = laboratory_key(seed, POLICY_SERVER)
    try:
        domain = domain_of(topology, seed, dks_address, settings, mode, clear, region, new_links)
        documents = compile_documents(domain, 1, ISSUED_AT)
    except PolicyError as error:
        raise InputError(str(error), where=f"topology {topology.name}") from error
    signed = {name: sign_document(document, server) for name, document in documents.items()}
    for name in (*documents, DKS_NAME):
        places = Places(folder / "retained" / name)
        places.state.mkdir(parents=True, exist_ok=True)
        places.identity.unlink(missing_ok=True)
        write_private_key(places.identity, laboratory_key(seed, name))
        write_public(places.policy_server_key, public_pem(server))
        if name in signed:
            write_public(places.document, signed[name])
    documents_folder = Places(folder / "retained" / DKS_NAME).documents
    documents_folder.mkdir(parents=True, exist_ok=True)
    for name, octets in signed.items():
        write_public(documents_folder / f"{name}.cose", octets)
    return documents


# -- configuration files of the daemons ---------------------------------------------------------------


def lks_config(
    topology: Topology,
    router: str,
    places: Places,
    *,
    socket: Path,
    events: Path,
    clock: Path,
    timings: bool = False,
) -> str:
    """lks.toml of a router."""
    return _toml(
        {
            "name": router,
            "domain": topology.domain,
            "identity": places.identity,
            "policy_server_key": places.policy_server_key,
            "state_dir": places.state,
            "socket": socket,
            "events": events,
            "clock": clock,
            "port": PORT,
            **({"timings": True} if timings else {}),
        }
    )


def dks_config(topology: Topology, places: Places, listen: IPAddress, *, events: Path, clock: Path) -> str:
    """dks.toml."""
    return _toml(
        {
            "name": DKS_NAME,
            "domain": topology.domain,
            "identity": places.identity,
            "policy_server_key": places.policy_server_key,
            "listen": str(listen),
            "port": PORT,
            "state_dir": places.state,
            "documents": places.documents,
            "events": events,
            "clock": clock,
        }
    )


def _toml(fields: Mapping[str, str | int | Path]) -> str:
    lines = []
    for name, value in fields.items():
        if isinstance(value, bool):
            lines.append(f"{name} = {str(value).lower()}")
        elif isinstance(value, int):
            lines.append(f"{name} = {value}")
        else:
            text = str(value).replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'{name} = "{text}"')
    return "\n".join(lines) + "\n"
