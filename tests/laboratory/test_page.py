"""An administrator who has only the page, and a network of FRR, Local Key Servers and a DKS that does what it says.

The guest is in virtual time, which stands while the browser works: nothing here depends on how long anything takes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents.policy import durations
from testbed.attach.channel import STREAM_POLL_S, encode, folders, new_id, put
from testbed.guest.boot import GuestResult, GuestSpec, run_guest, tail
from testbed.keying.provision import laboratory_key
from testbed.setup import kernel, tree
from testbed.topology.resolved import Topology
from tests.unit.web.conftest import Admin, Open, browser, visitor
from tests.unit.web.deeds import add, commit, draw

__all__ = ["browser", "visitor"]

pytestmark = pytest.mark.skipif(
    not (kernel.kernel().ready and tree.tree().ready), reason="./lab setup has not made the guest yet"
)
SEED, TOPOLOGY = 1, "topology.yaml"
NETWORK = "pim: off\nlinks: [r1-r2, r2-r3]\ndks: {attach: r1}\n"
MOST_S = 900.0
HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "date", "server")


class Administered:
    """A guest that runs tests.laboratory.administered, and a door on this machine to its Policy Server."""

    def __init__(self, folder: Path, guest: Future[GuestResult]) -> None:
        self.folder, self._guest = folder, guest
        self.topology = Topology.load(str(folder / TOPOLOGY))
        self._lock = threading.Lock()
        self._requests, self._answers, _ = folders(folder)
        self.tokens = {"write": self.ask("token")["token"]}
        self._door = ThreadingHTTPServer(("127.0.0.1", 0), partial(Door, self))
        threading.Thread(target=self._door.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._door.server_port}"

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """What the guest answers, one question at a time; its last words when it has ended."""
        with self._lock:
            name = new_id()
            put(self._requests / f"{name}.json", encode({"verb": verb, **fields}))
            answer = self._answers / f"{name}.json"
            while not answer.exists():
                assert not wait((self._guest,), STREAM_POLL_S).done, tail(self.folder / "console.log", 60)
            told: dict[str, Any] = json.loads(answer.read_bytes())
            answer.unlink()
            assert told.pop("ok"), told
            return told

    def live(self, seconds: float = 20.0) -> None:
        """Virtual time passes."""
        self.ask("live", seconds=seconds)

    def run(self, node: str, *words: str) -> str:
        said: str = self.ask("run", node=node, argv=words)["said"]
        return said

    def full(self, router: str) -> dict[str, float]:
        """FRR's OSPF neighbours that are Full: since when (seconds of the guest's uptime), by interface."""
        now_s = float(self.run(router, "cat", "/proc/uptime").split()[0])
        told = json.loads(self.run(router, "vtysh", "-c", "show ip ospf neighbor json"))["neighbors"]
        return {
            each["ifaceName"].partition(":")[0]: now_s - each["upTimeInMsec"] / 1000
            for found in told.values() for each in found if each["nbrState"].startswith("Full")
        }  # fmt: skip

    def heard(self, router: str) -> set[str]:
        """Whose OSPF the kernel has keys to hear: addresses of neighbours."""
        own = {str(each.ipv4.ip) for each in self.topology.routers[router].interfaces}
        return set(re.findall(r"^src (\S+) dst 224\.0\.0\.5$", self.run(router, "ip", "xfrm", "state"), re.M)) - own

    def demanded(self, router: str) -> set[str]:
        """From which subnets the kernel takes OSPF in ESP alone."""
        policies = re.split(r"\n(?=src)", self.run(router, "ip", "xfrm", "policy"))
        inbound = [each for each in policies if "dir in" in each and "proto esp" in each and "level use" not in each]
        return {each.split()[1] for each in inbound}

    def close(self) -> None:
        self.ask("down")
        self._door.shutdown()
        self._door.server_close()
        assert self._guest.result().exit_code == 0, tail(self.folder / "console.log", 60)


class Door(BaseHTTPRequestHandler):
    """Carries each request of a browser into the guest, and its answer out."""

    def __init__(self, guest: Administered, *args: Any) -> None:
        self._inside = guest
        super().__init__(*args)

    def _carry(self) -> None:
        body = base64.b64encode(self.rfile.read(int(self.headers.get("Content-Length", 0)))).decode()
        headers = [each for each in self.headers.items() if each[0].lower() != "connection"]
        answer = self._inside.ask("http", method=self.command, path=self.path, headers=headers, body=body)
        content = base64.b64decode(answer["body"])
        self.send_response_only(answer["status"])
        for name, value in answer["headers"]:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        with contextlib.suppress(ConnectionError):  # the browser wants it no more
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST = _carry

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Administered]:
    (tmp_path / TOPOLOGY).write_text(NETWORK)
    command = ("python3", "-m", "tests.laboratory.administered", "/lab/run", TOPOLOGY, str(SEED))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_guest, GuestSpec("virtual", command, tmp_path, tests=True), timeout_s=MOST_S)
        made = Administered(tmp_path, running)
        try:
            yield made
        finally:
            made.close()


def places(topology: Topology, name: str) -> dict[str, tuple[str, str]]:
    """Where the interfaces of a router on links are: IPv4 and link-local addresses."""
    return {
        f"{name}:{each.name}": (str(each.ipv4), str(each.ipv6_link_local))
        for each in topology.routers[name].interfaces
        if each.kind == "p2p"
    }


def signed_in(admin: Admin, guest: Administered) -> None:
    """Sessions end after a quarter of an hour without use: much more has passed in the guest."""
    admin.page.goto(f"{guest.address}/")
    if admin.path.startswith("/login"):
        admin.sign_in(guest.tokens["write"])


def file_of(admin: Admin, name: str) -> str:
    """What a link of the page downloads."""
    with admin.page.expect_download() as download:
        admin.page.get_by_role("link", name=name, exact=True).click()
    return base64.b64encode(download.value.path().read_bytes()).decode()


def confirmed(admin: Admin, guest: Administered) -> None:
    """Time passes until nobody is waited for."""
    for _ in range(12):
        guest.live(5)
        admin.open("/deployment")
        if "What is waited for" not in admin.text:
            return
    raise AssertionError(admin.text)


def step(admin: Admin, guest: Administered, count: int) -> None:
    """Steps of a deployment one after the other, each when all have confirmed the one before."""
    for _ in range(count):
        confirmed(admin, guest)
        admin.press("Take the next step")
        assert "Not done" not in admin.text
    confirmed(admin, guest)


def test_an_administrator_with_only_the_page_protects_a_running_network_removes_a_router_and_goes_back(
    guest: Administered, visitor: Open
) -> None:
    admin, names = visitor(guest), list(guest.topology.routers)
    (r1,), (r2, other), (r3,) = [list(places(guest.topology, name)) for name in names]
    near, far = (place.partition(":")[2] for place in (r2, other))
    subnets = {str(guest.topology.routers["r2"].interface(name).ipv4.network) for name in (near, far)}
    guest.live(60)
    began = guest.full("r2")
    assert set(began) == {near, far}, "the network routes, in clear"

    # From nothing to a domain: one adjacency is drawn, one comes from the list; first documents go by hand.
    for name in names:
        add(admin, name, laboratory_key(SEED, name), places(guest.topology, name))
    admin.open("/")
    draw(admin, "r1", "r2")
    admin.press("Allow the adjacency")
    admin.open("/adjacencies")
    admin.fill(a=other, b=r3)
    admin.press("Allow the adjacency")
    commit(admin, "anna", "three routers in a row", 1)
    for name in names:
        admin.open(f"/routers/{name}")
        files = {"document": file_of(admin, f"{name}.cose"), "key": file_of(admin, "policy-server.pem")}
        guest.ask("commission", router=name, **files)
    guest.live(900)
    signed_in(admin, guest)
    assert "All approved routers have confirmed" in admin.text
    assert all(guest.heard(name) == guest.demanded(name) == set() for name in names)

    # To required, and no adjacency is lost.
    admin.open("/deployment")
    admin.page.locator("main [name=at_once]").fill("2")
    admin.press("Show the plan")
    assert admin.page.locator(".plan li").count() == 3
    admin.press("Start, and take the first step")
    step(admin, guest, 2)
    assert "Done: every segment is required" in admin.text
    assert guest.demanded("r2") == subnets
    assert [len(guest.heard(name)) for name in names] == [1, 2, 1]
    assert guest.full("r2") == pytest.approx(began, abs=0.1)

    # Without r3: within the bound that the page shows, its neighbour hears it no more.
    admin.open("/routers/r3/removal")
    within = durations.parse(admin.page.locator(".bounds dd").first.inner_text())
    admin.press("Remove r3 in the draft")
    commit(admin, "anna", "r3 was stolen", 5)
    admin.page.get_by_role("link", name="How far the revocation has spread").click()
    guest.live(within)
    admin.open("/revocations")
    assert "2 of 2 routers" in admin.text
    assert guest.heard("r2") == {str(guest.topology.routers["r1"].interface(r1.partition(":")[2]).ipv4.ip)}
    guest.live(60)
    assert set(guest.full("r2")) == {near}, "the hold timer is over"

    # And back to clear.
    signed_in(admin, guest)
    admin.open("/deployment")
    admin.press("Turn round, and take the first step")
    step(admin, guest, 2)
    assert "Done: every segment is clear" in admin.text
    assert all(guest.heard(name) == guest.demanded(name) == set() for name in ("r1", "r2"))
    assert guest.full("r2") == pytest.approx({near: began[near]}, abs=0.1)
