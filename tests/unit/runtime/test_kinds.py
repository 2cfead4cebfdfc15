"""Kinds of events are declared once: what agents write is what is declared, and the documents say the same.

Events of simulated domains are held against their declarations; what only daemons write is looked for in the code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.runtime.kinds import KINDS, table, wrong
from testbed.setup.paths import PROJECT
from testbed.simulation.network import Network
from testbed.soak.faults import with_issuer

SOON = Reconnect(first_min_s=1, first_max_s=3, max_s=5)
AGENTS = sorted((PROJECT / "agents").rglob("*.py"))


def written(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Kind and named fields of every event that a file makes of literals."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        name = ast.unparse(node.func).split(".")[-1]
        if name not in ("Event", "event", "_event", "_tell") or not isinstance(node.args[0].value, str):
            continue
        given = [each.arg for each in node.keywords if each.arg and name != "Event"]
        for each in node.args[1:]:
            if isinstance(each, ast.Dict):
                given += [key.value for key in each.keys if isinstance(key, ast.Constant)]
        yield node.args[0].value, given


def test_every_event_that_the_agents_write_is_declared_with_its_fields() -> None:
    found = [(path.name, kind, fields) for path in AGENTS for kind, fields in written(path)]
    assert len(found) > 40
    undeclared = [each for each in found if each[1] not in KINDS]
    assert undeclared == []
    assert [each for each in found if not KINDS[each[1]].free and not {*each[2]} <= KINDS[each[1]].fields.keys()] == []


def test_every_declared_kind_is_written_somewhere() -> None:
    kinds = {kind for path in AGENTS for kind, _fields in written(path)}
    words = {each for path in AGENTS if path.name != "kinds.py" for each in KINDS if f'"{each}"' in path.read_text()}
    assert KINDS.keys() - kinds - words == set()


def test_an_event_is_judged_by_its_class() -> None:
    assert list(wrong("keyed", {"interface": "e0", "neighbor": "b"})) == []
    assert len(list(wrong("keyed", {"interface": "e0", "neighbour": "b"}))) == 2
    assert len(list(wrong("keyed", {"interface": 1, "neighbor": "b"}))) == 1
    assert len(list(wrong("keyde", {}))) == 1
    assert list(wrong("error", {"what": "disk", "file": "x"})) == []


@pytest.mark.parametrize("page", ["agents.md"])
def test_the_document_has_the_table_of_now(page: str) -> None:
    """`python -m agents.runtime.kinds` prints it."""
    assert table() in (PROJECT / "docs" / page).read_text()


def test_every_class_says_what_its_event_means() -> None:
    assert [name for name, kind in KINDS.items() if not (kind.__doc__ or "").endswith(".")] == []


@pytest.mark.parametrize("issuer", ["lks", "dks", "central"])
def test_the_events_of_a_domain_that_lives_fails_and_removes_a_router_are_as_they_are_declared(issuer: str) -> None:
    settings = with_issuer(Settings(validity_s=1 << 33, lifetimes=Lifetimes(group_s=60), reconnect=SOON), issuer)
    network = Network({"one": ("a", "b"), "lan": ("b", "c", "x")}, settings=settings, dks=True)
    network.power_on_all()
    network.run(100)
    network.remove("x")
    network.power_off("b")
    network.power_off("dks")
    network.at(110, lambda: network.power_on("b"))
    network.at(120, lambda: network.power_on("dks"))
    network.run(220)
    assert len({each.kind for each in network.events}) > 10
    assert {text for each in network.events for text in wrong(each.kind, each.fields)} == set()
