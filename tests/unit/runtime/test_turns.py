"""What one turn of the event loop may do: a flood keeps nothing waiting, a fight over the kernel is bounded."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.ikev2.model import Datagram, PeerAddress
from agents.ipsec.model import Wanted
from agents.ipsec.port import Change, ChangeKind, SasLost
from agents.runtime import asyncio_driver
from agents.runtime.asyncio_driver import ANEW_AT_ONCE, MENDS_AT_ONCE, MOST_DATAGRAMS, Driver
from agents.runtime.effects import Effect, Event, Kernel, Send
from agents.runtime.events import EventLog
from agents.runtime.links import LinkState

RUBBISH = Datagram(b"rubbish", PeerAddress("10.0.0.9", 848), 64)


class CoreOfTests:
    """Counts what it is told; wants a kernel once, and a timer at `due`."""

    def __init__(self) -> None:
        self.received = self.ticks = self.losses = 0
        self.due: float | None = None
        self.effects: list[Effect] = [Kernel((), ())]
        self.on_tick: Callable[[], None] = lambda: None

    def start(self, now: float) -> None: ...
    def stop(self, now: float) -> None: ...
    def links(self, found: Mapping[str, LinkState], now: float) -> None: ...
    def enforced(self, kernel: Kernel | None, now: float) -> None: ...

    def receive(self, datagram: Datagram, now: float) -> None:
        self.received += 1
        if self.due is None and self.ticks == 0:
            self.due = now

    def tick(self, now: float) -> None:
        self.ticks, self.due = self.ticks + 1, None
        self.on_tick()

    def lost(self, now: float) -> None:
        self.losses += 1
        self.effects.append(Kernel((), ()))

    def next_timer(self) -> float | None:
        return self.due

    def command(self, words: Sequence[str], now: float) -> Mapping[str, Any]:
        return {"received": self.received}

    def take(self) -> list[Effect]:
        taken, self.effects = self.effects, []
        return taken


class Flood:
    """A port that always has a datagram more. `gaps`: none for a moment after each, and readable again at once."""

    def __init__(self, gaps: bool) -> None:
        self._read, self._write = os.pipe()
        os.write(self._write, b"x")
        self._gaps, self._given = gaps, 0

    def fileno(self) -> int:
        return self._read

    def receive(self) -> Datagram | None:
        self._given += 1
        return None if self._gaps and self._given % 2 == 0 else RUBBISH

    def send(self, effect: Send) -> bool:
        return True

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@pytest.mark.parametrize("gaps", [False, True])
def test_a_flood_keeps_neither_timers_nor_commands_waiting(tmp_path: Path, gaps: bool) -> None:
    core, flood, log = CoreOfTests(), Flood(gaps), EventLog(None, "x")

    async def run() -> None:
        driver = Driver(core, flood, tmp_path, log, control=tmp_path / "socket")  # type: ignore[arg-type]
        task = asyncio.create_task(driver.run())
        while not (tmp_path / "socket").exists():
            await asyncio.sleep(0)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
        writer.write(b'{"command": "status"}\n')
        answer = json.loads(await reader.readline())
        writer.close()
        assert answer["result"]["received"] > 0
        assert driver._done is not None
        driver._done.set()
        await task

    # The flood never ends: a driver that waited for its end would be here for ever.
    asyncio.run(asyncio.wait_for(run(), 60))
    flood.close()
    assert core.ticks == 1
    assert core.received > MOST_DATAGRAMS or gaps


def test_so_many_datagrams_are_read_in_a_turn_and_a_timer_that_is_due_runs_after_them(tmp_path: Path) -> None:
    core, flood = CoreOfTests(), Flood(gaps=False)
    driver = Driver(core, flood, tmp_path, EventLog(None, "x"))  # type: ignore[arg-type]
    driver._readable()
    flood.close()
    assert (core.received, core.ticks) == (MOST_DATAGRAMS, 1)


def test_a_line_is_made_of_an_event_only_while_somebody_follows_them(tmp_path: Path) -> None:
    core, flood, log = CoreOfTests(), Flood(gaps=True), EventLog(None, "x")
    core.effects = []

    async def run() -> list[bytes]:
        driver = Driver(core, flood, tmp_path, log, control=tmp_path / "socket")  # type: ignore[arg-type]
        task = asyncio.create_task(driver.run())
        while not (tmp_path / "socket").exists():
            await asyncio.sleep(0)
        assert log.subscriber is None
        reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
        writer.write(b'{"command": "events"}\n')
        while log.subscriber is None:
            await asyncio.sleep(0)
        log.write(Event("keyed"))
        line = await reader.readline()
        writer.close()
        while log.subscriber is not None:
            await asyncio.sleep(0)
        assert driver._done is not None
        driver._done.set()
        await task
        return [line]

    (line,) = asyncio.run(asyncio.wait_for(run(), 60))
    flood.close()
    assert json.loads(line)["kind"] == "keyed"


class Disturbed:
    """A kernel that somebody else changes again and again: each look finds one policy gone, or an SA."""

    def __init__(self, sas: bool) -> None:
        self.looks, self._sas = 0, sas

    def apply(self, wanted: Wanted) -> list[Change]:
        self.looks += 1
        if self._sas:
            raise SasLost(1)
        return [Change(ChangeKind.ADDED, "policy", "dir out")]

    def sequence(self, spi: int, destination: object) -> int:
        raise LookupError


class News:
    """As KernelMonitor, when somebody else changes something all the time."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.write(self._write, b"x")

    def fileno(self) -> int:
        return self._read

    def changed(self) -> bool:
        return True

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


def _fight(
    folder: Path, kernel: Disturbed, core: CoreOfTests, turns: int, end: Callable[[Driver], None] = lambda _driver: None
) -> list[dict[str, Any]]:
    """What is on record when there is foreign news in so many turns of the loop, and `end` after them."""
    log, flood = EventLog(folder / "events", "r1"), Flood(gaps=True)

    async def run() -> None:
        driver = Driver(
            core, flood, folder, log, kernel=kernel, watch=News(), lost=core.lost,  # type: ignore[arg-type]
        )  # fmt: skip
        task = asyncio.create_task(driver.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        assert driver._done is not None
        end(driver)
        driver._done.set()
        await task

    asyncio.run(run())
    flood.close()
    log.close()
    return [json.loads(line) for line in (folder / "events").read_text().splitlines()]


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still, so that what is done is what may be done at once."""
    monkeypatch.setattr(asyncio_driver.time, "monotonic", lambda: 1000.0)


@pytest.mark.usefixtures("no_time")
def test_what_others_change_is_mended_at_once_and_a_fight_with_them_is_bounded(tmp_path: Path) -> None:
    kernel = Disturbed(sas=False)
    told = _fight(tmp_path, kernel, CoreOfTests(), 500)
    assert [each["kind"] for each in told] == ["mended"] * MENDS_AT_ONCE
    assert told[0]["changes"] == 1 and told[0]["first"] == "dir out"
    assert kernel.looks == MENDS_AT_ONCE + 1  # and what the core asked for itself


@pytest.mark.usefixtures("no_time")
@pytest.mark.parametrize("still", [True, False])
def test_keys_begin_anew_later_only_for_sas_that_are_still_missed_then(tmp_path: Path, still: bool) -> None:
    kernel, core = Disturbed(sas=True), CoreOfTests()

    def end(driver: Driver) -> None:
        assert driver._anew_later is not None and core.losses == ANEW_AT_ONCE
        kernel._sas = still
        driver._anews._tokens = 1.0  # the time has come
        driver._look_whether_lost()

    _fight(tmp_path, kernel, core, 500, end)
    assert core.losses == ANEW_AT_ONCE + still


@pytest.mark.usefixtures("no_time")
def test_keys_begin_anew_for_sas_that_others_took_out_so_often_and_no_more(tmp_path: Path) -> None:
    kernel, core = Disturbed(sas=True), CoreOfTests()
    told = _fight(tmp_path, kernel, core, 500)
    assert core.losses == ANEW_AT_ONCE
    assert [each["what"] for each in told] == ["kernel"] * ANEW_AT_ONCE
    assert kernel.looks <= MENDS_AT_ONCE + ANEW_AT_ONCE + 1
