"""A real DKS and real members: one whose packets the DKS does not get any more hears and is heard all the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agents.lks.retained import DOCUMENT
from agents.policy.document import Lifetimes
from agents.policy.domain import Settings
from agents.policy.keys import public_pem, write_private_key, write_public
from tests.integration.agents_lab import KEYS, AgentLab, ip, wait_for
from tests.integration.ipsec_lab import run

pytestmark = pytest.mark.guest

DKS, BRIDGE = "dks", "sw-m"
LIFETIME_S = 40
SETTINGS = Settings(validity_s=1 << 33, issuer="dks", local_key_server=False, lifetimes=Lifetimes(group_s=LIFETIME_S))


class CentralLab(AgentLab):
    """Two routers whose keys a DKS makes, which they reach beside the link that is protected."""

    def __init__(self) -> None:
        super().__init__(("a", "b"), SETTINGS)
        self.process: subprocess.Popen[bytes] | None = None
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "up")
        run("ip", "netns", "add", DKS)
        for number, name in enumerate((DKS, *self.routers)):
            run("ip", "link", "add", f"q-{name}", "type", "veth", "peer", "name", f"{name}-m")
            run("ip", "link", "set", f"{name}-m", "netns", name)
            run("ip", "link", "set", f"q-{name}", "master", BRIDGE, "up")
            run("ip", "-n", name, "link", "set", f"{name}-m", "up")
            run("ip", "-n", name, "addr", "add", f"192.0.2.{number + 1}/24", "dev", f"{name}-m")
        self.place = self.folder / DKS
        (self.place / "documents").mkdir(parents=True)
        write_private_key(self.place / "identity.pem", KEYS("dks"))
        write_public(self.place / "policy-server.pem", public_pem(self.server))
        for name, router in self.routers.items():
            write_public(self.place / "documents" / f"{name}.cose", (router.folder / "state" / DOCUMENT).read_bytes())
        (self.place / "dks.toml").write_text(
            'name = "dks"\ndomain = "example"\nidentity = "identity.pem"\npolicy_server_key = "policy-server.pem"\n'
            'listen = "192.0.2.1"\nstate_dir = "state"\ndocuments = "documents"\nevents = "events"\n'
        )

    def start_dks(self) -> None:
        words = [
            "ip",
            "netns",
            "exec",
            DKS,
            sys.executable,
            "-m",
            "agents.dks",
            "run",
            "--config",
            self.place / "dks.toml",
        ]
        self.process = subprocess.Popen(words)

    def dks_events(self, kind: str | None) -> list[dict[str, Any]]:
        lines = (self.place / "events").read_text().splitlines()
        return [each for each in map(json.loads, lines) if kind in (None, each["kind"])]

    def mute(self, name: str) -> None:
        """Nothing of this router reaches the DKS any more. The DKS knows its address, need not ask, and reaches it."""
        (link,) = json.loads(ip(name, "-j", "link", "show", f"{name}-m"))
        address = f"192.0.2.{1 + self.routers[name].number}"
        words = ["neigh", "replace", address, "lladdr", link["address"], "dev", f"{DKS}-m", "nud", "permanent"]
        run("ip", "-n", DKS, *words)
        run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", f"{name}-m", "root", "netem", "loss", "100%")

    def story(self) -> str:
        """What the three did last."""
        events = [*self.dks_events(None), *(each for router in self.routers.values() for each in router.events())]
        chosen = [each for each in events if each["kind"] not in ("confirmed", "request")]
        return "\n".join(json.dumps(each) for each in sorted(chosen, key=lambda each: each["t"])[-40:])

    def drops(self, name: str) -> dict[str, int]:
        """Why a router's IPsec dropped packets."""
        text = subprocess.run(
            ["ip", "netns", "exec", name, "cat", "/proc/net/xfrm_stat"], check=True, capture_output=True, text=True
        ).stdout
        return {word: int(count) for word, count in map(str.split, text.splitlines()) if int(count)}

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for name in (DKS, *self.routers):
            run("ip", "link", "del", f"q-{name}")
        run("ip", "netns", "del", DKS)
        run("ip", "link", "del", BRIDGE)
        super().close()


@pytest.fixture
def lab() -> Iterator[CentralLab]:
    made = CentralLab()
    yield made
    made.close()


def test_a_member_without_an_ike_sa_is_rekeyed_and_no_packet_is_lost(lab: CentralLab) -> None:
    lab.start_dks()
    for router in lab.routers.values():
        router.start()
    assert wait_for(lab.keyed, 30), lab.routers["a"].log()
    assert lab.passes("a", "b") == 3 and lab.passes("b", "a") == 3
    before = {name: lab.drops(name) for name in lab.routers}
    lab.mute("a")
    end = time.monotonic() + 5 * LIFETIME_S
    while time.monotonic() < end:
        assert lab.passes("a", "b") == 3, lab.story()
        assert lab.passes("b", "a") == 3, lab.story()
        time.sleep(1)
    told = {(each["group"], each["generation"]) for each in lab.routers["a"].events("rekey_message")}
    assert len(told) >= 4 and {group for group, _generation in told} == {"example/a/a-e0/ospf", "example/b/b-e0/ospf"}
    assert any(each["apart"] for each in lab.dks_events("rekeyed"))
    assert not lab.routers["b"].events("rekey_message")
    assert {name: lab.drops(name) for name in lab.routers} == before
