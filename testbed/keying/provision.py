"""The files on the disk of a node of the guest: identity, signed documents, configuration of its daemons.

`testbed.domains` makes the domain, and runs that change policy have a real Policy Server (`policy_server`). Knows
nothing of processes or nodes; `AgentFiles` has the paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.policy.compile import compile_documents
from agents.policy.document import PolicyDocument
from agents.policy.domain import Domain
from agents.policy.errors import PolicyError
from agents.policy.keys import public_pem, write_private_key, write_public
from agents.policy.names import DKS_NAME
from testbed.domains.build import ISSUED_AT, PORT, signed
from testbed.domains.keys import POLICY_SERVER, laboratory_key
from testbed.errors import InputError
from testbed.topology.resolved import IPAddress, Topology


@dataclass(frozen=True)
class AgentFiles:
    """The paths of a node's files in its retained folder."""

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


def provision(topology: Topology, domain: Domain, folder: Path, seed: int) -> dict[str, PolicyDocument]:
    """Write every node's retained folder below folder/"retained" and return the documents by router.

    InputError when the domain is not consistent.
    """
    server = laboratory_key(seed, POLICY_SERVER)
    try:
        documents = compile_documents(domain, 1, ISSUED_AT)
    except PolicyError as error:
        raise InputError(str(error), where=f"topology {topology.name}") from error
    octets = signed(documents, server)
    for name in (*documents, DKS_NAME):
        files = AgentFiles(folder / "retained" / name)
        files.state.mkdir(parents=True, exist_ok=True)
        files.identity.unlink(missing_ok=True)
        write_private_key(files.identity, laboratory_key(seed, name))
        write_public(files.policy_server_key, public_pem(server))
        if name in octets:
            write_public(files.document, octets[name])
    documents_folder = AgentFiles(folder / "retained" / DKS_NAME).documents
    documents_folder.mkdir(parents=True, exist_ok=True)
    for name, each in octets.items():
        write_public(documents_folder / f"{name}.cose", each)
    return documents


# -- configuration files of the daemons ---------------------------------------------------------------


def lks_config(
    topology: Topology,
    router: str,
    files: AgentFiles,
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
            "identity": files.identity,
            "policy_server_key": files.policy_server_key,
            "state_dir": files.state,
            "socket": socket,
            "events": events,
            "clock": clock,
            "port": PORT,
            **({"timings": True} if timings else {}),
        }
    )


def dks_config(topology: Topology, files: AgentFiles, listen: IPAddress, *, events: Path, clock: Path) -> str:
    """dks.toml."""
    return _toml(
        {
            "name": DKS_NAME,
            "domain": topology.domain,
            "identity": files.identity,
            "policy_server_key": files.policy_server_key,
            "listen": str(listen),
            "port": PORT,
            "state_dir": files.state,
            "documents": files.documents,
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
