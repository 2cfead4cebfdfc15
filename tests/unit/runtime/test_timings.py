"""The driver tells how long the kernel's changes took, when it is asked to and only then."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from agents.ikev2.model import Datagram
from agents.ipsec.model import Wanted
from agents.ipsec.port import Change, ChangeKind
from agents.lks.config import read_config
from agents.runtime.asyncio_driver import Driver
from agents.runtime.effects import Effect, Kernel
from agents.runtime.events import EventLog
from agents.runtime.links import LinkState
from agents.runtime.settings import ConfigError
from agents.runtime.udp import UdpPort

GROUP = IPv4Address("224.0.0.5")
CHANGES = [
    Change(ChangeKind.ADDED, "sa", "in", 1, GROUP),
    Change(ChangeKind.REPLACED, "sa", "out", 2, GROUP),
    Change(ChangeKind.REMOVED, "sa", "old", 3, GROUP),
    Change(ChangeKind.ADDED, "policy", "p"),
]


class KernelThatSays:
    """A kernel whose changes are given."""

    def __init__(self, changes: list[Change]) -> None:
        self.changes = changes

    def apply(self, wanted: Wanted) -> list[Change]:
        return self.changes

    def sequence(self, spi: int, destination: object) -> int:
        raise LookupError


class CoreWithOneChange:
    """Wants one change of the kernel, once."""

    def __init__(self) -> None:
        self.effects: list[Effect] = [Kernel((), ())]

    def start(self, now: float) -> None: ...
    def receive(self, datagram: Datagram, now: float) -> None: ...
    def tick(self, now: float) -> None: ...
    def stop(self, now: float) -> None: ...
    def links(self, found: Mapping[str, LinkState], now: float) -> None: ...
    def enforced(self, kernel: Kernel | None, now: float) -> None: ...

    def next_timer(self) -> float | None:
        return None

    def command(self, words: Sequence[str], now: float) -> Mapping[str, Any]:
        return {}

    def take(self) -> list[Effect]:
        taken, self.effects = self.effects, []
        return taken


def installed(folder: Path, changes: list[Change], *, timings: bool) -> list[dict[str, Any]]:
    """The events `installed` of one change."""
    log = EventLog(folder / "events", "r1")
    port = UdpPort(0)
    try:
        kernel = KernelThatSays(changes)
        driver = Driver(CoreWithOneChange(), port, folder, log, kernel=kernel, timings=timings)
        driver._execute()
    finally:
        port.close()
        log.close()
    lines = [json.loads(line) for line in (folder / "events").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "installed"]


def test_a_change_tells_how_many_sas_came_into_force_and_how_long_that_took(tmp_path: Path) -> None:
    (event,) = installed(tmp_path, CHANGES, timings=True)
    assert (event["sas"], event["changes"]) == (2, 4)
    assert 0 < event["apply_ns"] <= event["since_ns"]


def test_nothing_is_told_unasked_nor_of_a_kernel_that_was_right_already(tmp_path: Path) -> None:
    assert installed(tmp_path, CHANGES, timings=False) == []
    assert installed(tmp_path, [], timings=True) == []


CONFIG = 'name = "r1"\ndomain = "d"\nidentity = "i"\npolicy_server_key = "p"\nstate_dir = "s"\n'


def test_timings_are_off_unless_the_configuration_says_true(tmp_path: Path) -> None:
    path = tmp_path / "lks.toml"
    path.write_text(CONFIG)
    assert not read_config(path).timings
    path.write_text(CONFIG + "timings = true\n")
    assert read_config(path).timings
    path.write_text(CONFIG + "timings = 1\n")
    with pytest.raises(ConfigError, match="allowed: true or false"):
        read_config(path)
