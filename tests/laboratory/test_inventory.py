"""The Ansible role, at machines with systemd as process 1: from an inventory to keyed routers, and again.

The machines boot inside one guest, in virtual time; tests/laboratory/booted/inventory.py has what is done there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.laboratory.booted.host import chapters, package

MACHINES = {"r1", "r2", "dks"}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of the machines, by chapter."""
    folder = tmp_path_factory.mktemp("inventory")
    package(folder, "new")
    return chapters(folder, "inventory")


def failed(played: dict[str, Any]) -> dict[str, int]:
    """How many tasks failed, by machine."""
    return {name: each["failed"] + each["unreachable"] for name, each in played["totals"].items()}


def test_an_inventory_becomes_a_domain_whose_routers_are_keyed(seen: dict[str, Any]) -> None:
    assert seen["first"]["code"] == 0, seen["first"]["printed"]
    assert failed(seen["first"]) == dict.fromkeys(MACHINES, 0)
    for status in seen["status"]:
        (interface,) = status["interfaces"]
        assert interface["mode"] == "required"
        assert [each["keyed"] for each in interface["neighbors"]] == [True]
    assert "dst 224.0.0.5" in seen["sent"]


def test_the_same_inventory_once_more_changes_nothing(seen: dict[str, Any]) -> None:
    assert seen["again"]["code"] == 0, seen["again"]["printed"]
    assert {name: each["changed"] for name, each in seen["again"]["totals"].items()} == dict.fromkeys(MACHINES, 0)


def test_a_router_that_shows_another_key_is_refused_with_what_to_do(seen: dict[str, Any]) -> None:
    assert seen["other key"]["code"] != 0
    assert "policy router replace r2 --key" in seen["other key"]["printed"]
    assert seen["other key"]["totals"]["dks"]["failed"] == 1


def test_the_role_is_in_the_repository_with_an_inventory_to_begin_from() -> None:
    folder = Path(__file__).parents[2] / "packaging" / "ansible"
    assert {each.name for each in folder.iterdir()} >= {"site.yml", "inventory.example.yml", "roles"}
