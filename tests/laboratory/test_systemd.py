"""Debian packages on machines with systemd as process 1: two routers and a DKS, installed as the page says.

The machines boot inside one guest, in virtual time; tests/laboratory/booted has what is done there.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from testbed.setup.history import full
from tests.laboratory.booted.host import chapters, package

OLDER = "0b9af249f1ca35fef9c05b6152c3eef7bf6124fe"
"""The commit whose packages are installed first: the first one that packages can be made of."""
EXPOSURE = {"lks": 2.1, "dks": 1.9, "policy": 1.3}
"""What `systemd-analyze security` says at most."""
MACHINES = ("r1", "r2", "dks")
ROUTERS = MACHINES[:2]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of the machines, by chapter."""
    folder = tmp_path_factory.mktemp("booted")
    package(folder, "new")
    if full(OLDER):
        package(folder, "old", "--commit", OLDER)
    found = chapters(folder, "story")
    found["journals"] = {name: (folder / f"{name}.journal").read_text() for name in MACHINES}
    return found


def in_order(text: str, *patterns: str) -> bool:
    """Whether the patterns are found one after the other. Of one writer's lines: the journal promises no more."""
    return re.search(".*".join(patterns), text, re.DOTALL) is not None


def test_all_that_systemd_was_to_start_it_started(seen: dict[str, Any]) -> None:
    assert seen["boot"] == dict.fromkeys(MACHINES, "running")


def test_the_packages_install_without_a_network_and_start_nothing(seen: dict[str, Any]) -> None:
    for name, told in seen["install"].items():
        assert f"Setting up router-keys-{'dks' if name == 'dks' else 'lks'} " in told["said"]
        assert told["running"] == ""


def test_the_pages_commands_bring_two_routers_to_required(seen: dict[str, Any]) -> None:
    for name in ROUTERS:
        told = seen["output"][name]
        assert "e0 (up), required: ospf" in told and ": keyed; hears ospf" in told
        assert "dst 224.0.0.5\n\tproto esp" in told and "Full/" in told
        journal = seen["journals"][name]
        assert in_order(journal, "Starting lks", "Started lks", "Finished lks-ready", "Starting frr")
        assert in_order(journal, "began version=", "policy version=1", "ready keyed=")
        assert "keyed interface=e0 neighbor=" in journal


@pytest.mark.parametrize(("place", "unit"), [("r1", "lks"), ("dks", "dks"), ("dks", "policy")])
def test_a_daemon_that_is_killed_runs_again_and_no_adjacency_is_lost(
    seen: dict[str, Any], place: str, unit: str
) -> None:
    found = seen["killed"][f"{place} {unit}"]
    assert found["gave"]["restarts"] == "1" and found["lost"] == 0
    told = "\n".join(found["gave"]["journal"])
    assert in_order(told, "code=killed, status=9/KILL", "Scheduled restart job", f"Started {unit}")
    assert told.count("began version=") >= 2


@pytest.mark.parametrize("what", ["r1 lks", "dks dks"])
def test_a_reload_leaves_the_process_and_is_told(seen: dict[str, Any], what: str) -> None:
    assert seen["reload"][what]["same"]
    assert seen["reload"][what]["journal"][-1].startswith("Reloaded ")


@pytest.mark.parametrize("unit", EXPOSURE)
def test_the_services_are_no_more_exposed_than_before(seen: dict[str, Any], unit: str) -> None:
    (told,) = re.findall(r"exposure level for \S+: (\S+) ", seen["security"][unit])
    assert float(told) <= EXPOSURE[unit]


@pytest.mark.parametrize("name", ["r1", "dks"])
def test_an_upgrade_restarts_the_daemon_and_no_adjacency_is_lost(seen: dict[str, Any], name: str) -> None:
    if "upgrade" not in seen:
        pytest.skip(f"NOT TESTED from an older package: commit {OLDER[:12]} is not in this checkout")
    found = seen["upgrade"][name]
    assert found["gave"]["before"] != found["gave"]["after"] and found["lost"] == 0
    told = "\n".join(found["gave"]["journal"])
    assert in_order(told, "Stopping ", "Stopped ", "Starting ", "Started ")
    assert in_order(told, "ended", "began version=")


def test_after_a_reboot_the_lks_is_ready_before_routing_starts_and_all_is_as_before(seen: dict[str, Any]) -> None:
    found = seen["reboot"]
    assert set(found["state"]) == {"running"}
    assert "ordering cycle" not in "".join(seen["journals"].values())
    assert in_order(found["order"], "Started lks.service", "Finished lks-ready.service", "Starting frr.service")
    for told in found["status"]:
        assert "e0 (up), required: ospf" in told and ": keyed; hears ospf" in told


def test_the_packages_are_removed_and_keys_and_counters_stay(seen: dict[str, Any]) -> None:
    for name in ("r1", "dks"):
        found = seen["removed"][name]
        assert "Removing router-keys-common" in found["said"]
        assert found["units"] == "" and found["failed"] == ""
        assert "identity.pem" in found["kept"]
    assert "counters" in seen["removed"]["r1"]["kept"]
