"""A DKS of several real processes on the loopback, asked by real initiators; killed at the worst times."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents.gikev2 import GroupMember
from agents.ikev2 import Identification, LocalIdentity, NotifyPayload
from agents.ikev2.registry import ExchangeType, PayloadType
from agents.policy.names import GroupId, party_id
from agents.runtime.control import CommandRefused, ask, follow
from testbed.bench.initiator import Initiator, Target
from testbed.bench.ring import DKS, NAME, SEED, BenchDomain, make
from testbed.domains.keys import laboratory_key

WORKERS, ROUTERS = 3, 24
ADDRESS = "127.0.0.1"
PATIENCE_S = 60.0
"""Nothing below takes so long: it is when a test that waits for what does not come is given up."""


@dataclass
class Running:
    """A DKS with workers. `process`: its supervisor. `manager`: what a service manager hears."""

    folder: Path
    port: int
    domain: BenchDomain
    process: subprocess.Popen[bytes]
    manager: socket.socket

    def ask(self, command: str) -> dict[str, Any]:
        return ask(self.folder / "dks.sock", command, PATIENCE_S)

    def workers(self) -> list[int]:
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    def register(self, *numbers: int) -> None:
        """Routers register at their control groups, each from its own address."""
        for number in numbers:
            initiator = Initiator(self.target(), source=f"127.0.1.{number + 1}")
            try:
                initiator.handshake(number)
            finally:
                initiator.close()

    def target(self) -> Target:
        names = list(self.domain.documents)
        suite = next(iter(self.domain.documents.values())).suite
        member = GroupMember((suite,), lambda _group, _issuer: None, lambda _group: (0, 0))

        def answered(payloads: Any) -> bool:
            refused = any(isinstance(each, NotifyPayload) and each.is_error for each in payloads)
            return not refused and any(each.payload_type == PayloadType.NOTIFY for each in payloads)

        return Target(
            address=(ADDRESS, self.port),
            name=Identification.key_id(party_id(NAME, DKS)),
            key=laboratory_key(SEED, DKS).public_key(),
            auth_exchange=ExchangeType.GSA_AUTH,
            identity=lambda number: LocalIdentity(
                Identification.key_id(party_id(NAME, names[number])), self.domain.key(names[number])
            ),
            first=lambda number: member.request(GroupId.control(NAME, names[number])),
            answered=answered,
        )


def until(condition: Callable[[], bool]) -> None:
    """Wait for other processes."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((ADDRESS, 0))
        return int(free.getsockname()[1])


def started(folder: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "agents.dks", "run", "--config", str(folder / "dks.toml")]
    environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "10000000"}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(words, env=environment, stderr=log)


def written(folder: Path, port: int, *, local_key_server: bool = True) -> BenchDomain:
    made = make(ROUTERS, ADDRESS, port, folder, issued_at=int(time.time()) - 60, local_key_server=local_key_server)
    with (folder / "dks.toml").open("a") as config:
        config.write(f'socket = "dks.sock"\nevents = "events.jsonl"\nworkers = {WORKERS}\n')
    return made


def serving(running: Running) -> bool:
    try:
        return bool(running.ask("status")["workers"]["serving"] == WORKERS)
    except (OSError, ValueError, CommandRefused):
        return False


@pytest.fixture
def dks(tmp_path: Path) -> Iterator[Running]:
    port = free_port()
    folder = tmp_path / "d"
    domain = written(folder, port)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        yield from _running(Running(folder, port, domain, started(folder), manager))


def _running(running: Running) -> Iterator[Running]:
    try:
        until(lambda: serving(running) or running.process.poll() is not None)
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_service_manager_hears_that_it_is_ready_when_every_worker_answers_and_that_it_is_alive(
    dks: Running,
) -> None:
    dks.manager.settimeout(PATIENCE_S)
    heard = {dks.manager.recv(64)}
    while b"READY=1" not in heard:
        heard.add(dks.manager.recv(64))
    assert serving(dks)
    while b"WATCHDOG=1" not in heard:
        heard.add(dks.manager.recv(64))


def test_the_journal_tells_the_start_and_a_moved_events_file_is_made_anew_by_all(dks: Running) -> None:
    line = next(line for line in (dks.folder / "log").read_text().splitlines() if " began " in line)
    assert f"port={dks.port} " in line and f"workers={WORKERS}" in line and f"config={dks.folder}/dks.toml" in line
    (dks.folder / "events.jsonl").rename(dks.folder / "events.1")
    dks.process.send_signal(signal.SIGHUP)
    until((dks.folder / "events.jsonl").exists)
    dks.register(*range(WORKERS * 2))
    assert "registered" in (dks.folder / "events.jsonl").read_text()
    assert dks.process.poll() is None


def test_routers_are_divided_and_answers_are_of_all(dks: Running) -> None:
    dks.register(*range(ROUTERS))
    status = dks.ask("status")
    assert status["connected"] == sorted(dks.domain.documents)
    assert status["routers"] == ROUTERS and status["ike_sas"] == ROUTERS
    pytest.importorskip("prometheus_client", reason="the layer `metrics` is not there; lab test makes it")
    metrics = dks.ask("metrics")["text"]
    served = [line for line in metrics.splitlines() if line.startswith("dks_registrations_total{")]
    assert sum(float(line.split()[-1]) for line in served) == ROUTERS
    assert len(served) > 1, "one worker serves them all"
    assert len({line.rpartition('worker="')[2] for line in served}) == len(served)
    assert f"dks_workers {WORKERS}" in metrics.splitlines()
    assert metrics.count("# TYPE dks_documents ") == 1


def test_a_rekey_is_ordered_by_the_worker_that_has_the_router(dks: Running) -> None:
    name = list(dks.domain.documents)[3]
    with pytest.raises(CommandRefused, match="not connected"):
        dks.ask(f"rekey {name}")
    dks.register(3)
    assert dks.ask(f"rekey {name}")["ordered"] == [str(each) for each in dks.domain.documents[name].own_groups()]
    with pytest.raises(CommandRefused, match="no router"):
        dks.ask("rekey r99")


def test_events_of_all_workers_can_be_followed(dks: Running) -> None:
    registered: set[str] = set()

    def follow_events() -> None:
        for event in follow(dks.folder / "dks.sock", "events", PATIENCE_S):
            if event["kind"] == "registered":
                registered.add(event["peer"])

    following = threading.Thread(target=follow_events, daemon=True)
    following.start()

    def all_seen() -> bool:
        dks.register(*range(ROUTERS))
        return registered == set(dks.domain.documents)

    until(all_seen)
    dks.process.terminate()
    following.join(PATIENCE_S)
    assert not following.is_alive()


def test_a_worker_that_is_killed_is_replaced_and_its_routers_come_back(dks: Running) -> None:
    dks.register(*range(ROUTERS))
    victim, *others = dks.workers()
    os.kill(victim, signal.SIGKILL)
    dks.register(*range(ROUTERS))  # what comes meanwhile waits in the socket
    until(lambda: serving(dks))
    assert set(others) < set(dks.workers()) and victim not in dks.workers()
    assert dks.ask("status")["connected"] == sorted(dks.domain.documents)
    restarts = [line for line in dks.ask("metrics")["text"].splitlines() if line.startswith("dks_worker_restarts")]
    assert sum(int(line.split()[-1]) for line in restarts) == 1


def test_they_end_in_order_and_leave_nothing(dks: Running) -> None:
    workers = dks.workers()
    assert len(workers) == WORKERS
    dks.process.send_signal(signal.SIGTERM)
    assert dks.process.wait(PATIENCE_S) == 0
    assert gone(workers)
    assert [path.name for path in dks.folder.glob("*.sock*")] == []


def test_they_end_with_a_supervisor_that_is_killed_and_another_one_can_start(dks: Running) -> None:
    workers = dks.workers()
    dks.process.kill()
    dks.process.wait()
    until(lambda: gone(workers))
    again = Running(dks.folder, dks.port, dks.domain, started(dks.folder), dks.manager)
    try:
        until(lambda: serving(again))
        again.register(0)
        again.process.terminate()
        assert again.process.wait(PATIENCE_S) == 0
    finally:
        again.process.kill()
        again.process.wait()


def test_keys_for_all_members_are_refused_before_anything_starts(tmp_path: Path) -> None:
    written(tmp_path / "d", free_port(), local_key_server=False)
    ended = subprocess.run(
        [sys.executable, "-m", "agents.dks", "run", "--config", str(tmp_path / "d" / "dks.toml")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 2 and "set workers = 1" in ended.stderr


def test_a_worker_that_cannot_use_its_state_ends_them_all(dks: Running) -> None:
    (dks.folder / "identity.pem").write_text("no key")
    workers = dks.workers()
    os.kill(workers[0], signal.SIGKILL)
    assert dks.process.wait(PATIENCE_S) == 3
    assert gone(workers)
