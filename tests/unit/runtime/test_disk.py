"""A disk that refuses to write ends no agent, and what rests on a file that is not written does not happen."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.ikev2.model import Datagram, PeerAddress
from agents.ipsec.model import Wanted
from agents.ipsec.port import Change
from agents.lks.core import LksCore
from agents.lks.lease import LEASE
from agents.lks.retained import COUNTERS, DOCUMENT, Retained
from agents.policy.domain import Settings
from agents.policy.revocation import FILE as REVOCATION
from agents.runtime import disk
from agents.runtime.asyncio_driver import Driver
from agents.runtime.disk import Disk
from agents.runtime.effects import Event, Persist, Send
from agents.runtime.events import EventLog
from agents.runtime.links import LinkState
from agents.runtime.storage import write_atomic
from testbed.simulation.network import Network

PAIR = {"a--b": ("a", "b")}
REASONS = [errno.ENOSPC, errno.EIO, errno.EROFS]


class Refusing:
    """Stands for the writer of files while `error` is set."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.error: int | None = None
        self.tried: list[str] = []
        patch.setattr(disk, "write_atomic", self._write)

    def _write(self, path: Path, data: bytes) -> None:
        self.tried.append(path.name)
        if self.error is not None:
            raise OSError(self.error, "refused")
        write_atomic(path, data)


class Machine:
    """A real LKS on a driver whose kernel and wire are looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Network(PAIR, settings=Settings(validity_s=1 << 33, generation_block=1))
        node = self.network.nodes["a"]
        self.core: LksCore = self.network.make_lks(node)
        self.sent: list[Send] = []
        self.wanted = Wanted()
        self.log = EventLog(folder / "events", "a")
        self.core.links({name: LinkState(1, True, frozenset({each[0]})) for name, each in node.interfaces.items()}, 0.0)
        self.driver = Driver(self.core, self, folder, self.log, kernel=self)  # type: ignore[arg-type]

    def fileno(self) -> int:
        raise AssertionError("nobody waits for datagrams here")

    def send(self, effect: Send) -> None:
        self.sent.append(effect)

    def apply(self, wanted: Wanted) -> list[Change]:
        self.wanted = wanted
        return []

    def sequence(self, spi: int, destination: object) -> int:
        raise LookupError

    def do(self, job: Callable[[], object]) -> None:
        """As the loop does it: the job, then its effects."""
        self.driver._guarded(lambda: (job(), None)[1])()
        assert self.driver._done is not None and not self.driver._done.is_set(), self.driver._failure

    def spis(self) -> set[int]:
        return {each.spi for each in self.wanted.associations}

    def marked(self) -> int:
        """How far generations may have gone by what is on the disk."""
        return Retained((self.folder / COUNTERS).read_bytes(), lambda _file: None, owner="example/a").generation_floor

    def events(self, kind: str) -> list[dict[str, object]]:
        lines = (self.folder / "events").read_text().splitlines()
        return [each for each in map(json.loads, lines) if each["kind"] == kind]


def on_a_loop(job: Callable[[Machine], None], folder: Path) -> None:
    async def run() -> None:
        machine = Machine(folder)
        machine.driver._done = asyncio.Event()
        job(machine)
        assert machine.driver._disk_later is None or not machine.driver._disk_later.cancelled()

    asyncio.run(run())


@pytest.mark.parametrize("reason", REASONS)
def test_a_router_with_a_disk_that_refuses_goes_on_with_its_keys_and_takes_no_number_that_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    refusing = Refusing(monkeypatch)

    def job(machine: Machine) -> None:
        machine.do(machine.driver._start)
        before, sent, mark = machine.spis(), len(machine.sent), machine.marked()
        assert before and sent
        refusing.error = reason
        for _ in range(3):
            machine.do(lambda: machine.core.command(["rekey"], 1.0))
        machine.do(lambda: machine.core.tick(2.0))
        assert machine.spis() and machine.spis() <= before
        assert len(machine.sent) == sent and machine.marked() == mark
        assert machine.driver._disk_later is not None, "it is tried again"
        [said] = [each for each in machine.events("error") if each["what"] == "disk"]
        assert said["file"] == COUNTERS
        machine.do(machine.driver._write_again)
        assert machine.spis() <= before
        refusing.error = None
        machine.do(machine.driver._write_again)
        assert machine.marked() > mark and not machine.spis() <= before
        [told] = machine.events("disk")
        assert told["state"] == "written"
        machine.do(lambda: machine.core.tick(time.monotonic() + 8))
        assert len(machine.sent) > sent, "what was asked meanwhile is asked again"

    on_a_loop(job, tmp_path)


def test_a_router_that_starts_on_a_disk_that_refuses_is_closed_and_has_its_keys_once_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = Refusing(monkeypatch)
    refusing.error = errno.EROFS

    def job(machine: Machine) -> None:
        machine.do(machine.driver._start)
        assert machine.wanted.policies and not machine.wanted.associations and not machine.sent
        refusing.error = None
        machine.do(machine.driver._write_again)
        assert machine.wanted.associations and machine.marked()

    on_a_loop(job, tmp_path)


def test_keys_that_are_taken_away_go_though_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that ends, a removal: to have less needs no number."""
    refusing = Refusing(monkeypatch)

    def job(machine: Machine) -> None:
        machine.do(machine.driver._start)
        refusing.error = errno.ENOSPC
        machine.do(lambda: machine.core.command(["rekey"], 1.0))
        assert machine.spis()
        lease = machine.core._lease
        assert lease.until is not None
        machine.do(lambda: machine.core.tick(lease.until + 1))  # type: ignore[operator]
        assert not machine.spis()

    on_a_loop(job, tmp_path)


def test_a_lease_that_is_not_written_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = Refusing(monkeypatch)
    disk_ = Disk(tmp_path, lambda _event: None)
    refusing.error = errno.ENOSPC
    disk_.keep(Persist(LEASE, b"1", binding=False))
    disk_.keep(Persist(LEASE, b"2", binding=False))
    assert disk_.behind and not disk_.refuses
    refusing.error = None
    disk_.keep(Persist(COUNTERS, b"3"))
    assert (tmp_path / COUNTERS).read_bytes() == b"3"
    disk_.again()
    assert (tmp_path / LEASE).read_bytes() == b"2" and not disk_.behind


def test_files_are_written_in_the_order_in_which_they_were_asked_for_also_when_the_disk_fails_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number of a list is never there without the list."""
    refusing, told = Refusing(monkeypatch), list[Event]()
    disk_ = Disk(tmp_path, told.append)
    refusing.error = errno.EIO
    for name in (COUNTERS, COUNTERS, REVOCATION, COUNTERS, DOCUMENT, COUNTERS):
        disk_.keep(Persist(name, b"x"))
    assert refusing.tried == [COUNTERS] and [each.kind for each in told] == ["error"]
    refusing.tried.clear()
    disk_.again()
    assert refusing.tried == [COUNTERS] and disk_.refuses
    refusing.error, refusing.tried = None, []
    disk_.again()
    assert refusing.tried == [COUNTERS, REVOCATION, COUNTERS, DOCUMENT, COUNTERS]
    assert not disk_.behind and [each.kind for each in told] == ["error", "disk"]


def test_events_that_a_full_disk_refuses_are_counted_and_end_nothing(tmp_path: Path) -> None:
    log = EventLog(Path("/dev/full"), "a")
    for _ in range(3):
        log.write(Event("rekey"))
    log.close()
    healed = EventLog(tmp_path / "events", "a")
    healed._lost, healed._torn = log._lost, True
    (tmp_path / "events").write_text('{"t": 1, "no')
    healed.write(Event("ready"))
    healed.close()
    torn, lost, ready = (tmp_path / "events").read_text().splitlines()
    assert torn == '{"t": 1, "no' and json.loads(lost)["events"] == 3 and json.loads(ready)["kind"] == "ready"


def test_a_datagram_is_answered_by_nobody_whose_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may hold keys of a generation that is not written."""
    refusing = Refusing(monkeypatch)

    def job(machine: Machine) -> None:
        machine.do(machine.driver._start)
        first = machine.sent[0]
        refusing.error = errno.ENOSPC
        machine.do(lambda: machine.core.command(["rekey"], 1.0))
        sent = len(machine.sent)
        peer = PeerAddress(first.peer.ip, 848, first.peer.local_ip, first.peer.interface, 848)
        machine.do(lambda: machine.core.receive(Datagram(first.data, peer, 255), 1.0))
        assert len(machine.sent) == sent

    on_a_loop(job, tmp_path)
