"""Keying `dks-lks`, `lks`, `central` and `central-mgmt`: the routers' and the DKS's own agents, started with the nodes.

In `dks-lks` the DKS makes the keys and a Local Key Server takes over when it is unreachable; in `lks` the Local Key
Servers make all of them. The two others are the architecture without Local Key Servers, with the DKS reached through
the routed network or over a management network. Knows nothing of the agents' messages.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.dks.serve import LEDGER
from agents.dks.store import GenerationLedger
from agents.ipsec.protection import Mode
from agents.lks.readiness import PRESENT_S
from agents.policy.domain import Domain
from agents.policy.keys import spki, write_private_key, write_public
from agents.policy.names import DKS_NAME
from agents.runtime.control import CommandRefused, ask
from testbed.domains.build import domain_of
from testbed.domains.keys import keys_of, laboratory_key
from testbed.errors import EnvironmentFailure
from testbed.keying.base import AgentProcess, Keying, KeyingLab, KeyingNode, Look
from testbed.keying.options import AgentOptions, CentralOptions, PlanOptions
from testbed.keying.policy_server import LaboratoryPolicyServer
from testbed.keying.preload import AGENTS, DKS_MODULE, LKS_MODULE
from testbed.keying.provision import AgentFiles, dks_config, lks_config, provision
from testbed.topology.paths import expected_paths
from testbed.topology.resolved import Router, Topology

READY_TIMEOUT_S = PRESENT_S + 4.0
"""The longest time (PRESENT_S) for which an agent holds up a boot; a silent agent has failed after it."""
QUIET = ("--log-level", "error")
"""The record has their events; on standard error they would only cost time."""
ENVIRONMENT = {"COLUMNS": "80", "LANGUAGE": "C"}
"""Keeps a command line from asking a terminal for its width and from looking for translations: 60 system calls a
boot."""
PREVIOUS = Path("/mnt/previous")
"""The path of the previous release in the guest."""
COMMISSIONING_TABLE = 848
COMMISSIONING_RULE = 33000
"""After the main table (32766): OSPF's routes take precedence, and zebra and the record do not see these routes."""


class AgentKeying(Keying):
    """The common part of the four modes. `issuer` and `local_key_server` are in every document."""

    retained_disks: ClassVar[bool] = True
    dks: ClassVar[bool] = True
    ipsec: ClassVar[bool] = True
    options: ClassVar[type[PlanOptions]] = AgentOptions
    preload: ClassVar[tuple[str, ...]] = AGENTS
    issuer: ClassVar[str] = "dks"

    def __init__(self) -> None:
        self._agents: dict[str, AgentProcess] = {}
        self._notices: dict[str, socket.socket] = {}
        self._policy: LaboratoryPolicyServer | None = None
        self._replaced: dict[str, tuple[Ed25519PrivateKey, bytes]] = {}
        """Machines that have not booted yet: key and document."""
        self._first: tuple[Domain, Path, int]

    def prepare(self, topology: Topology, folder: Path, seed: int, options: PlanOptions) -> None:
        """Identities, documents and retained folders of every router and the DKS."""
        assert isinstance(options, AgentOptions)
        settings = options.settings(issuer=self.issuer, local_key_server=self.local_key_server)
        mode, address = Mode(options.mode), self.dks_address(topology)
        domain = domain_of(
            topology, keys_of(seed), address, settings, mode, options.in_clear, options.region, options.new_links
        )
        provision(topology, domain, folder, seed)
        self._first = (domain, folder, seed)

    def policy_step(self, direction: str, at_once: int, protocol: str) -> Mapping[str, Any]:
        """As Keying.policy_step."""
        return self._policy_server().step(direction, at_once, protocol)

    def _policy_server(self) -> LaboratoryPolicyServer:
        """Made when it is first needed: most runs need none."""
        if self._policy is None:
            self._policy = LaboratoryPolicyServer(*self._first)
        return self._policy

    def start_node(self, node: KeyingNode, lab: KeyingLab) -> None:
        """Start the router's agent, if it has a document."""
        if node.name in self._replaced:
            _commission(AgentFiles(node.retained), *self._replaced.pop(node.name))
        if not AgentFiles(node.retained).document.exists():
            return
        config = node.volatile / "lks.toml"
        config.write_text(
            lks_config(
                lab.topology,
                node.name,
                AgentFiles(node.retained),
                socket=node.volatile / "lks.sock",
                events=lab.events_file(node.name),
                clock=lab.clock_file(node.name),
                timings=lab.options.costs,
            ),
            encoding="utf-8",
        )
        notices = node.volatile / "notify.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        listener.bind(str(notices))
        self._notices[node.name] = listener
        words, environment = ["run", *QUIET, "--config", str(config)], {**ENVIRONMENT, "NOTIFY_SOCKET": str(notices)}
        code = None
        if isinstance(lab.options, AgentOptions) and node.name in lab.options.previous:
            words, code = ["run", "--config", str(config)], PREVIOUS  # it writes no journal
        self._agents[node.name] = lab.spawn(node.name, LKS_MODULE, words, name="lks", env=environment, code=code)

    async def wait_node(self, node: KeyingNode, lab: KeyingLab) -> None:
        """As a service manager does: FRR's unit is ordered after that of the agent, which reports when it is ready."""
        if node.name not in self._notices:
            return
        with self._notices.pop(node.name) as listener:
            loop = asyncio.get_running_loop()
            try:
                await asyncio.wait_for(loop.sock_recv(listener, 64), READY_TIMEOUT_S)
            except TimeoutError:
                lab.record(node.name, "lab", "agent_not_ready", after_s=READY_TIMEOUT_S)

    def remove_router(self, router: str, hand_to: str | None, lab: KeyingLab) -> str | None:
        """As Keying.remove_router. A list that a router has not accepted can be handed over again."""
        server = self._policy_server()
        if hand_to is None and server.removed(router):
            return f"{router} is already removed"
        signed = server.remove(router, export=hand_to is None)
        if hand_to is not None:
            words = f"revocation {base64.b64encode(signed).decode()}"
            try:
                ask(lab.node(hand_to).volatile / "lks.sock", words)
            except (OSError, CommandRefused) as error:
                raise EnvironmentFailure(f"{hand_to} does not accept the revocation list: {error}") from error
        return None

    def allow_link(self, segment: str, hand_to: str | None, lab: KeyingLab) -> Mapping[str, Any] | str:
        """As Keying.allow_link."""
        ends = [(end.router, end.name) for end in lab.topology.ends(segment)]
        documents = self._policy_server().allow(ends, export=hand_to is None)
        if not documents:
            return f"the routers of {segment} are already neighbours"
        return _handed(documents, hand_to, lab)

    def replace_router(self, router: str, hand_to: str | None, lab: KeyingLab) -> Mapping[str, Any] | str:
        """As Keying.replace_router. The machine has its document from the administrator, before it boots."""
        server = self._policy_server()
        fresh = laboratory_key(lab.seed, f"{router} replaced at {server.version}")
        documents = server.replace(router, spki(fresh), export=hand_to is None)
        self._replaced[router] = (fresh, documents[router])
        return _handed(documents, hand_to, lab)

    def administrator(self, deed: str, hand_to: str, lab: KeyingLab) -> Mapping[str, Any] | str:
        """As Keying.administrator."""
        server = self._policy_server()
        verb, signed = ("accept", server.signed_apart(hand_to)) if deed == "sign" else ("revocation", server.dismiss())
        try:
            ask(lab.node(hand_to).volatile / "lks.sock", f"{verb} {base64.b64encode(signed).decode()}")
        except CommandRefused as refusal:
            return {"outcome": "refused", "reason": str(refusal)}
        except OSError as error:
            raise EnvironmentFailure(f"{hand_to} cannot be reached: {error}") from error
        return {"outcome": "accepted"}

    def stop_node(self, node: KeyingNode, lab: KeyingLab) -> None:
        """The router lost its power, and its agent with it."""
        self._agents.pop(node.name, None)

    def start_dks(self, lab: KeyingLab) -> None:
        """Start the DKS."""
        node = lab.node(DKS_NAME)
        config = node.volatile / "dks.toml"
        config.write_text(
            dks_config(
                lab.topology,
                AgentFiles(node.retained),
                self.dks_address(lab.topology),
                events=lab.events_file(DKS_NAME),
                clock=lab.clock_file(DKS_NAME),
            ),
            encoding="utf-8",
        )
        self._agents[DKS_NAME] = lab.spawn(DKS_NAME, DKS_MODULE, ["run", *QUIET, "--config", str(config)], name="dks")

    def key_ledger(self, lab: KeyingLab) -> Mapping[str, int]:
        """The DKS's own file, read on the host."""
        ledger = GenerationLedger(AgentFiles(lab.node(DKS_NAME).retained).state / LEDGER, read_only=True)
        try:
            return {group: generation for group, (_version, generation) in ledger.entries().items()}
        finally:
            ledger.close()

    def stop_dks(self, lab: KeyingLab) -> None:
        """End the DKS without notice."""
        agent = self._agents.pop(DKS_NAME, None)
        if agent is not None and agent.running:
            agent.kill()


def _handed(documents: Mapping[str, bytes], hand_to: str | None, lab: KeyingLab) -> Mapping[str, Any]:
    """Give signed documents to a router, if one is named; the names of their routers."""
    if hand_to is not None:
        words = " ".join(base64.b64encode(each).decode() for each in documents.values())
        try:
            ask(lab.node(hand_to).volatile / "lks.sock", f"accept {words}")
        except (OSError, CommandRefused) as error:
            raise EnvironmentFailure(f"{hand_to} does not accept the documents: {error}") from error
    return {"routers": sorted(documents), "octets": sum(map(len, documents.values()))}


def _commission(files: AgentFiles, key: Ed25519PrivateKey, document: bytes) -> None:
    """The disk of a new machine, without anything from the old one's."""
    shutil.rmtree(files.state)
    files.state.mkdir()
    files.identity.unlink()
    write_private_key(files.identity, key)
    write_public(files.document, document)


class LksKeying(AgentKeying):
    """Every router's LKS makes its own groups' keys; the DKS gives policy, in-band."""

    name: ClassVar[str] = "lks"
    look: ClassVar[Look | None] = Look("#0072b2", "^", "-")
    issuer: ClassVar[str] = "lks"
    local_key_server: ClassVar[bool] = True
    schedules_visits: ClassVar[bool] = True


class TakeOverKeying(AgentKeying):
    """The DKS makes the keys, in-band; every router's LKS makes its own groups' while the DKS cannot be reached."""

    name: ClassVar[str] = "dks-lks"
    look: ClassVar[Look | None] = Look("#009e73", "v", (0, (4, 1, 1, 1)))
    local_key_server: ClassVar[bool] = True
    schedules_visits: ClassVar[bool] = True


class CentralManagementKeying(AgentKeying):
    """The DKS makes all keys, and every router reaches it over a management network."""

    name: ClassVar[str] = "central-mgmt"
    look: ClassVar[Look | None] = Look("#56b4e9", "P", (0, (2, 1)))
    management: ClassVar[bool] = True


class CentralKeying(AgentKeying):
    """The DKS makes all keys, and is reached through the network whose routing they protect.

    Such a network can only be started by hand: at the first power-on an operator types static routes at every console.
    After a power failure nobody does, and the routes are lost.
    """

    name: ClassVar[str] = "central"
    look: ClassVar[Look | None] = Look("#d55e00", "X", (0, (5, 1.5)))
    options: ClassVar[type[PlanOptions]] = CentralOptions

    def __init__(self) -> None:
        super().__init__()
        self._commissioned: set[str] = set()

    def start_node(self, node: KeyingNode, lab: KeyingLab) -> None:
        """The first time with commissioning routes; the agent each time."""
        if node.name not in self._commissioned:
            self._commissioned.add(node.name)
            if isinstance(lab.options, CentralOptions) and lab.options.commission:
                self._commission(node, lab)
        super().start_node(node, lab)

    def _commission(self, node: KeyingNode, lab: KeyingLab) -> None:
        routes = list(commissioning_routes(lab.topology, lab.topology.routers[node.name]))
        rule = f"rule add pref {COMMISSIONING_RULE} lookup {COMMISSIONING_TABLE}"
        lines = [rule, *(f"route replace {each}" for each in routes)]
        node.run("ip", f"-{lab.topology.family}", "-batch", "-", input="\n".join(lines) + "\n")
        lab.record(node.name, "lab", "mark", name="commissioning_routes", routes=len(routes))


def commissioning_routes(topology: Topology, router: Router) -> Iterator[str]:
    """Static routes to every prefix of the network over the shortest paths, in `ip route`'s words.

    To all prefixes, not only the DKS's, because its answers go to whatever address a router asks from.
    """
    ways = {each.neighbor_interface.hop(topology.family): each.interface for each in topology.neighbors(router.name)}
    for prefix, hops in sorted(expected_paths(topology)[router.name].items(), key=str):
        for hop in sorted(hops, key=int)[:1]:
            yield f"{prefix} via {hop} dev {ways[hop].name} table {COMMISSIONING_TABLE}"
