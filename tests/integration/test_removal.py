"""A router is removed from a LAN by the `policy` command: real daemons and kernels keep the bound that it has shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import permutations

import pytest

from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.policy.keys import write_private_key
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.store import PolicyStore
from agents.runtime.control import ask
from tests.integration.agents_lab import KEYS, SWITCH, AgentLab, ip, wait_for
from tests.integration.ipsec_lab import run

pytestmark = pytest.mark.guest

DKS = "10.0.0.254"
SETTINGS = Settings(
    validity_s=1 << 33,
    lifetimes=Lifetimes(group_s=600),
    reconnect=Reconnect(first_min_s=1, first_max_s=3, max_s=10),
)
STAYING = ("a", "b", "c")


class Domain:
    """Four routers on a LAN, the Policy Server's store, and a DKS that finds what it exports."""

    def __init__(self) -> None:
        self.lab = AgentLab((*STAYING, "d"), SETTINGS, DKS)
        self.dks: subprocess.Popen[bytes] | None = None
        self.folder = self.lab.folder / "dks"
        self.documents = self.folder / "documents"
        self.documents.mkdir(parents=True)
        PolicyStore.create(self.lab.folder / "policy", self.lab.domain, self.lab.server).close()
        run("ip", "addr", "add", f"{DKS}/24", "dev", SWITCH)
        write_private_key(self.folder / "identity.pem", KEYS("dks"))
        (self.folder / "dks.toml").write_text(
            'domain = "example"\nidentity = "identity.pem"\npolicy_server_key = "documents/policy-server.pem"\n'
            f'documents = "documents"\nstate_dir = "state"\nlisten = "{DKS}"\nsocket = "dks.sock"\n'
        )

    def policy(self, *words: str) -> str:
        environment = {**os.environ, "POLICY_STORE": str(self.lab.folder / "policy")}
        command = [sys.executable, "-m", "agents.policy", *words]
        return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout

    def publish(self, why: str) -> None:
        self.policy("commit", "-m", why)
        self.policy("export", str(self.documents))

    def start(self) -> None:
        self.publish("all four")
        config = ("--config", str(self.folder / "dks.toml"))
        self.dks = subprocess.Popen([sys.executable, "-m", "agents.dks", "run", *config])
        for router in self.lab.routers.values():
            router.start()

    def close(self) -> None:
        if self.dks is not None:
            self.dks.kill()
            self.dks.wait()
        self.lab.close()

    def visited(self) -> bool:
        """Whether all routers are connected to the DKS."""
        try:
            return len(ask(self.folder / "dks.sock", "status")["connected"]) == len(self.lab.routers)
        except OSError:
            return False


@pytest.fixture
def domain() -> Iterator[Domain]:
    made = Domain()
    yield made
    made.close()


def keys_of(receiver: str, sender_address: str) -> list[str]:
    """The SPIs of SAs that this router's kernel has from that address."""
    return re.findall(
        rf"^src {re.escape(sender_address)} dst \S+\n\tproto esp spi (\S+)", ip(receiver, "xfrm", "state"), re.M
    )


def among_themselves(lab: AgentLab) -> bool:
    return all(lab.passes(*pair) == 3 for pair in permutations(STAYING, 2))


@pytest.mark.parametrize("how", ["the DKS pushes", "handed to one router, no DKS"])
def test_a_removed_router_is_out_within_the_bound_and_the_others_notice_nothing(domain: Domain, how: str) -> None:
    lab, removed = domain.lab, domain.lab.routers["d"]
    domain.start()
    assert wait_for(lab.keyed, 30) and wait_for(domain.visited, 60)
    assert all(lab.passes("d", name) == 3 for name in STAYING)
    drafted = PolicyStore(lab.folder / "policy").draft()
    explained = json.loads(domain.policy("router", "remove", "d", "--explain", "--json"))["cases"]
    assert PolicyStore(lab.folder / "policy").draft() == drafted, "it has only explained"
    alone = how.startswith("handed")
    bound_s = explained["neighbors" if alone else "dks"]["total_s"]
    if alone:
        assert domain.dks is not None
        domain.dks.kill()
        domain.dks.wait()
    domain.policy("router", "remove", "d")
    domain.publish("d has left")
    began = time.monotonic()
    if alone:
        assert lab.routers["a"].ask("revocation", str(domain.documents / REVOCATION)).returncode == 0

    def out() -> bool:
        return not any(keys_of(name, removed.address) for name in STAYING)

    assert wait_for(out, bound_s, step_s=0.5), [keys_of(name, removed.address) for name in STAYING]
    assert time.monotonic() - began <= bound_s
    # It still runs, and sends with the keys it had; nobody hears it. The others have new keys, which it has not.
    assert removed.process is not None and removed.process.poll() is None
    assert keys_of("d", removed.address)
    assert [lab.passes("d", name) for name in STAYING] == [0, 0, 0]
    assert wait_for(lambda: among_themselves(lab), 10)
    assert wait_for(lambda: not any(lab.passes(name, "d") for name in STAYING), bound_s, step_s=1)


def test_keys_that_the_removed_router_shared_are_replaced_everywhere(domain: Domain) -> None:
    lab = domain.lab
    domain.start()
    assert wait_for(lab.keyed, 30) and wait_for(domain.visited, 60)
    addresses = [lab.routers[name].address for name in STAYING]
    had = {spi for address in addresses for spi in keys_of("d", address)}
    assert had
    domain.policy("router", "remove", "d")
    domain.publish("d has left")

    def replaced() -> bool:
        kept = {spi for name in STAYING for address in addresses for spi in keys_of(name, address)}
        return bool(kept) and not kept & had

    # The old generation is heard until `dtd_s` after the new one is sent with.
    assert wait_for(replaced, 90, step_s=1)
    assert among_themselves(lab)
