"""In a guest: routers that route in clear, a DKS, and a Policy Server with an empty domain, until the host says more.

Virtual time stands between two requests of the host, as it does while a program computes: it passes in `live` alone, so
that no clock runs here while a browser thinks there. `python3 -m tests.laboratory.administered FOLDER TOPOLOGY SEED`:
the topology's file is in the folder.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import os
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agents.policy.keys import public_pem, write_private_key, write_public
from agents.policy.names import DKS_NAME
from testbed.attach.channel import encode, folders, put, take
from testbed.inside.answer import answered
from testbed.keying.agents import LksKeying
from testbed.keying.base import KeyingLab
from testbed.keying.options import PlanOptions
from testbed.keying.provision import AgentFiles, dks_config, laboratory_key
from testbed.net.laboratory import Laboratory
from testbed.net.node import LabNode
from testbed.net.runner import run
from testbed.record.writer import Recorder
from testbed.topology.resolved import Topology

PORT = 8484
LOOK_S, MOST_LOOKS = 0.05, 200


class ByPage(LksKeying):
    """Mode `lks` as an administrator makes it: identities are there, and nothing else."""

    def prepare(self, topology: Topology, folder: Path, seed: int, options: PlanOptions) -> None:
        """Every party's key; the Policy Server's store, and its tokens."""
        self.store = folder / "policy"
        dks = AgentFiles(folder / "retained" / DKS_NAME)
        for name in (*topology.routers, DKS_NAME):
            places = AgentFiles(folder / "retained" / name)
            places.state.mkdir(parents=True)
            write_private_key(places.identity, laboratory_key(seed, name))
        dks.documents.mkdir()
        write_public(folder / "dks.pub", public_pem(laboratory_key(seed, DKS_NAME)))
        address = str(self.dks_address(topology))
        self._policy_says("init", topology.domain, "--dks-key", str(folder / "dks.pub"), "--dks-address", address)
        shutil.copyfile(self.store / "key.pub", dks.policy_server_key)
        self.anna = self._policy_says("token", "add", "anna", "--role", "write").strip()
        self.confirm = dks.retained / "token"
        self.confirm.write_text(self._policy_says("token", "add", "dks", "--role", "confirm"))
        self.confirm.chmod(0o600)

    def start_dks(self, lab: KeyingLab) -> None:
        """The Policy Server on the DKS's machine, and the DKS, which fetches from it."""
        node = lab.node(DKS_NAME)
        lab.spawn(DKS_NAME, "agents.policy.cli", ["--store", str(self.store), "serve"], name="policy")
        config = node.volatile / "dks.toml"
        own = dks_config(
            lab.topology, AgentFiles(node.retained), self.dks_address(lab.topology),
            events=lab.events_file(DKS_NAME), clock=lab.clock_file(DKS_NAME),
        )  # fmt: skip
        config.write_text(f'{own}policy_url = "http://127.0.0.1:{PORT}"\npolicy_token = "{self.confirm}"\n')
        lab.spawn(DKS_NAME, "agents.dks.daemon", ["run", "--config", str(config)], name="dks")

    def commission(self, node: LabNode, document: bytes, key: bytes, lab: Laboratory) -> None:
        """What an administrator brings to a router by hand, once; its Local Key Server starts."""
        places = AgentFiles(node.retained)
        write_public(places.document, document)
        write_public(places.policy_server_key, key)
        self.start_node(node, lab)

    def _policy_says(self, *words: str) -> str:
        return run([sys.executable, "-m", "agents.policy", "--store", str(self.store), *words]).stdout


class Stage:
    """Does what the host asks for, one thing at a time."""

    def __init__(self, lab: Laboratory, keying: ByPage, folder: Path) -> None:
        self._lab, self._keying = lab, keying
        self._requests, self._answers, _ = folders(folder)
        self._wait: float | None = None
        self._over = False

    async def play(self) -> None:
        """Until it is over. A look at a folder of the host costs no virtual time, and whoever has work goes first."""
        while not self._over:
            for name, data in take(self._requests, ".json"):
                answer = answered(partial(self._handle, data))
                if self._wait is not None:
                    await asyncio.sleep(self._wait)
                    self._wait = None
                put(self._answers / f"{name}.json", encode(answer))
            os.sched_yield()

    def _handle(self, data: bytes) -> dict[str, Any]:
        request = json.loads(data)
        return dict(getattr(self, f"_{request.pop('verb')}")(**request))

    def _token(self) -> Mapping[str, Any]:
        return {"token": self._keying.anna}

    def _live(self, seconds: float) -> Mapping[str, Any]:
        self._wait = seconds
        return {}

    def _commission(self, router: str, document: str, key: str) -> Mapping[str, Any]:
        files = base64.b64decode(document), base64.b64decode(key)
        self._keying.commission(self._lab.node(router), *files, self._lab)
        return {}

    def _run(self, node: str, argv: list[str]) -> Mapping[str, Any]:
        if argv[0] == "vtysh":
            argv = self._lab.router(node).frr.vtysh(*argv[1:])
        return {"said": self._lab.node(node).run(*argv)}

    def _down(self) -> Mapping[str, Any]:
        self._over = True
        return {}

    def _http(self, method: str, path: str, headers: list[list[str]], body: str) -> Mapping[str, Any]:
        with self._lab.node(DKS_NAME).namespace():
            connection = http.client.HTTPConnection("127.0.0.1", PORT)
            connection.connect()
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(base64.b64decode(body))
            answer = connection.getresponse()
            content = base64.b64encode(answer.read()).decode()
            return {"status": answer.status, "headers": answer.getheaders(), "body": content}

    async def begin(self) -> None:
        """Until all routers route and the Policy Server answers."""
        for name in self._lab.nodes:
            await self._lab.power_on(name)
        await self._lab.ready(self._lab.topology.routers)
        for _ in range(MOST_LOOKS):
            with contextlib.suppress(OSError), self._lab.node(DKS_NAME).namespace():
                http.client.HTTPConnection("127.0.0.1", PORT).connect()
                return
            await asyncio.sleep(LOOK_S)
        raise SystemExit(f"no Policy Server answers: {self._lab.log_file(DKS_NAME, 'policy').read_text()}")


async def main(folder: Path, topology: str, seed: int) -> None:
    """The whole life of it."""
    keying = ByPage()
    lab = Laboratory(Topology.load(str(folder / topology)), keying, seed=seed, record=Recorder())
    try:
        lab.build()
        assert lab.nursery is not None
        asyncio.get_running_loop().add_reader(lab.nursery, lab.nursery.collect)
        stage = Stage(lab, keying, folder)
        await stage.begin()
        await stage.play()
    finally:
        shutil.copytree(lab.folder / "logs", folder / "logs", copy_function=shutil.copyfile, dirs_exist_ok=True)
        lab.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
