"""A boot is held up for keys, and never for long; the service manager hears of it once."""

from __future__ import annotations

import configparser
import socket
from pathlib import Path

import pytest

from agents.lks.readiness import PRESENT_S, SHORTEST_S, SILENT_S, Missing, Readiness
from agents.runtime import notify

UNITS = Path(__file__).resolve().parents[3] / "packaging" / "systemd"


def test_it_is_ready_when_all_are_keyed_but_not_before_links_had_a_moment() -> None:
    readiness = Readiness(10.0)
    assert not readiness.reached(Missing.NOBODY, 10.0)
    assert readiness.next_timer(Missing.NOBODY) == 10.0 + SHORTEST_S
    assert readiness.reached(Missing.NOBODY, 10.0 + SHORTEST_S)


def test_it_is_said_once() -> None:
    readiness = Readiness(0.0)
    assert readiness.reached(Missing.NOBODY, 0.5)
    assert not readiness.reached(Missing.NOBODY, 0.6) and readiness.next_timer(Missing.NOBODY) is None


def test_a_neighbour_that_is_off_holds_a_boot_up_for_a_second_and_no_longer() -> None:
    readiness = Readiness(0.0)
    assert not readiness.reached(Missing.SILENT, SILENT_S - 0.01)
    assert readiness.next_timer(Missing.SILENT) == SILENT_S
    assert readiness.reached(Missing.SILENT, SILENT_S)


def test_a_neighbour_that_is_far_holds_a_boot_up_until_it_is_keyed_but_less_than_a_hello_interval() -> None:
    readiness = Readiness(0.0)
    assert not readiness.reached(Missing.PRESENT, PRESENT_S - 0.01)
    assert readiness.next_timer(Missing.PRESENT) == PRESENT_S < 10
    assert readiness.reached(Missing.NOBODY, PRESENT_S - 0.01)


def test_the_service_manager_is_told_on_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify.ready()
        assert listener.recv(64) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nonexistent/notify", "relative"])
def test_without_a_service_manager_nothing_happens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.ready()


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(UNITS / f"{name}.service")
    return found


def test_frr_starts_after_the_lks_said_that_it_is_ready() -> None:
    assert unit("lks")["Service"]["Type"] == "notify"
    assert "frr.service" in unit("lks")["Unit"]["Before"].split()
    assert unit("lks-ready")["Unit"]["Before"] == "frr.service"
    assert unit("lks-ready")["Unit"]["After"] == "lks.service"
    assert unit("lks-ready")["Install"]["RequiredBy"] == "frr.service"


def test_a_restart_of_the_lks_does_not_restart_frr() -> None:
    # systemd passes an explicit stop or restart on over Requires, BindsTo, PartOf; not over Wants.
    assert "RequiredBy" not in unit("lks")["Install"]
    assert {"Requires", "BindsTo", "PartOf"}.isdisjoint(unit("lks-ready")["Unit"])


@pytest.mark.parametrize("name", ["lks", "dks"])
def test_a_server_that_could_not_start_is_tried_again_for_ever(name: str) -> None:
    # Without it systemd gives up after five starts in ten seconds.
    assert unit(name)["Service"]["Restart"] == "on-failure"
    assert unit(name)["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit(name)["Service"]["RestartPreventExitStatus"] == "2", "an unusable configuration stays unusable"
