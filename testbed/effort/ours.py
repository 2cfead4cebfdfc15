"""This system: the commands of docs/install.md on each router and on the DKS, and `policy` at the Policy Server.

A test of the install page runs the former in namespaces; the latter are run here, against a store. Knows nothing of
counting.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.policy import cli
from agents.policy.keys import public_pem, write_private_key
from testbed.effort.network import Network, Port
from testbed.effort.script import DESK, Line, Script
from testbed.setup.paths import PROJECT

PAGE = PROJECT / "docs" / "install.md"
SECTIONS = ("Keys", "Commissioning", "Starting")
ANNA, TOKEN = "anna", "token of anna"
_BLOCK = re.compile(r"<!-- on ([^>]*?) -->\n```\n(.*?)```", re.S)


def on_a_machine(kind: str, page: str) -> list[str]:
    """What is typed on a router ("r1, r2") or on the DKS ("dks") to commission it, line by line, from the page."""
    commands: list[str] = []
    for section in re.split(r"^## ", page, flags=re.M)[1:]:
        if section.split("\n", 1)[0] in SECTIONS:
            commands += [
                line for on, text in _BLOCK.findall(section) if on == kind for line in text.strip().splitlines()
            ]
    return commands


class Ours:
    """One domain. `policy` lines are run in `folder` as they are made: the store is that of the tasks before."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self._folder = network, folder
        page = PAGE.read_text(encoding="utf-8")
        self._router, self._dks = on_a_machine("r1, r2", page), on_a_machine("dks", page)
        self._machines: dict[str, int] = {}
        self.ran = 0
        """How many `policy` lines were run, each with exit code 0."""
        self._steps: list[str] = []

    # -- tasks ---------------------------------------------------------------------------------------

    def service(self) -> Script:
        """The domain from nothing: DKS, an administrator besides the root key, every router."""
        names = self.network.routers
        key = self._key("dks")
        lines = [Line("dks", text) for text in self._dks]
        lines += [Line(DESK, f"scp dks:/etc/router-keys/identity.pub {key}")]
        lines += self._policy(f"init example --dks-key {key} --dks-address 192.0.2.1", decided="where the DKS is")
        for name in names:
            lines += self._machine(name)
        lines += [self._interface(port) for name in names for port in self.network.ports[name]]
        lines += [self._allow(port) for port in self.network.links]
        lines += self._anna()
        return Script.of((*lines, *self._committed("the domain", names), Line(DESK, "scp -r documents dks:")))

    def add(self, router: str) -> Script:
        """One more router, with all its links, to a domain that has not known it."""
        ports = self.network.ports[router]
        self._step(f"router remove {router}")  # so that it is new: this is not counted
        for port in ports:
            self._step(f"interface remove {port.peer}:{port.peer_name}")
        self._applied()
        self._policy("commit -m 'without it'")
        lines = self._machine(router)
        for port in ports:
            far = self.network.port_to(port.peer, router)
            lines += [self._interface(port), self._interface(far), self._allow(port)]
        return Script.of((*lines, *self._committed(f"{router} is new", [router])))

    def replace(self, router: str) -> Script:
        """A new machine in the place of one that is broken, with a key of its own; the old one's is revoked."""
        lines = [Line(router, text) for text in self._router]
        key = self._key(router)
        lines.append(Line(DESK, f"scp {router}:/etc/router-keys/identity.pub {key}"))
        lines.append(self._step(f"router replace {router} --key {key}"))
        lines.append(self._step(f"router approve {router} --key {key}", f"the new key of {router}"))
        return Script.of((*lines, *self._committed(f"{router} has a new machine", [router])))

    def leaves(self) -> Script:
        """An administrator leaves: his key and token are revoked, and no router's key was ever his."""
        lines = [self._step(f"admin revoke {ANNA}", "who leaves"), *self._policy(f"token revoke {ANNA}")]
        return Script.of((*lines, *self._committed(f"{ANNA} has left", [])))

    def roll(self) -> Script:
        """All keys at once. Nobody has to: they are replaced by themselves at three quarters of their life."""
        return Script.of(Line("dks", f"dks rekey {each}") for each in self.network.routers)

    # -- parts ---------------------------------------------------------------------------------------

    def _machine(self, name: str) -> list[Line]:
        key = self._key(name)
        return [
            *(Line(name, text) for text in self._router),
            Line(DESK, f"scp {name}:/etc/router-keys/identity.pub {key}"),
            self._step(f"router add {name} --key {key}"),
            self._step(f"router approve {name} --key {key}", f"the key of {name}"),
        ]

    def _interface(self, port: Port) -> Line:
        at = f"{port.router}:{port.name} --address {port.address}/30 --link-local {port.link_local}"
        return self._step(f"interface add {at} --protocol ospf --mode required", "mode")

    def _allow(self, port: Port) -> Line:
        ends = f"{port.router}:{port.name} {port.peer}:{port.peer_name}"
        return self._step(f"adjacency allow {ends}", f"that {port.link} are neighbours")

    def _anna(self) -> list[Line]:
        key = self._key(ANNA)
        return [
            Line(DESK, "openssl genpkey -algorithm ED25519 -out anna.pem"),
            Line(DESK, f"openssl pkey -in anna.pem -pubout -out {key}"),
            self._step(f"admin add {ANNA} --key {key}", "who may sign"),
            *self._policy(f"token add {ANNA} --role write", secrets=(TOKEN,)),
        ]

    def _committed(self, why: str, routers: Iterable[str]) -> list[Line]:
        lines = [*self._applied(), *self._policy(f"commit -m '{why}'"), *self._policy("export documents")]
        for name in routers:
            lines += [
                Line(DESK, f"scp documents/policy-server.pem {name}:/etc/router-keys/policy-server.pem"),
                Line(DESK, f"scp documents/{name}.cose {name}:/var/lib/router-keys/policy.cose"),
            ]
        return lines

    def _key(self, name: str) -> str:
        """The public key file of a machine: another one each time, as its commands would make it."""
        number = self._machines[name] = self._machines.get(name, 0) + 1
        private = Ed25519PrivateKey.generate()
        path = self._folder / f"{name}-{number}.pub"
        path.write_bytes(public_pem(private))
        if name == ANNA:
            write_private_key(self._folder / "anna.pem", private)
        return path.name

    def _step(self, words: str, decided: str = "") -> Line:
        """A line of the file that `policy apply` takes."""
        self._steps.append(words)
        return Line(DESK, f"policy {words}", (), (decided,) if decided else ())

    def _applied(self) -> list[Line]:
        """The steps since the last time, all at once."""
        (self._folder / "steps").write_text("\n".join(self._steps) + "\n")
        self.ran += len(self._steps)
        self._steps.clear()
        return self._policy("apply steps")

    def _policy(self, words: str, *, secrets: tuple[str, ...] = (), decided: str = "") -> list[Line]:
        """Run it. AssertionError, with what it said, unless it was done."""
        output = io.StringIO()
        with contextlib.chdir(self._folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = cli._main(["--store", "store", *shlex.split(words)])
        if code:
            raise AssertionError(f"policy {words}: exit code {code}\n{output.getvalue()}")
        self.ran += 1
        return [Line(DESK, f"policy {words}", secrets, (decided,) if decided else ())]
