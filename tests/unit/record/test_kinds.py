"""Kinds of events of a record are declared once: what the laboratory writes is what is declared and documented."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from agents.runtime import kinds as agents
from testbed.faults.steps import ACTIONS
from testbed.record.kinds import KINDS, table, wrong
from testbed.setup.paths import PROJECT

ROOMS = ("net", "inside", "probes", "faults", "keying", "record")
SOURCES = {source for source, _kind in KINDS}
CODE = sorted(path for room in ROOMS for path in (PROJECT / "testbed" / room).rglob("*.py") if path.name != "kinds.py")


def written(path: Path) -> Iterator[tuple[str, str, set[str], bool]]:
    """Source, kind and named fields of every event that a file makes of literals; whether it has others."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and len(node.args) == 3:
            source, kind = node.args[1:]
            if isinstance(source, ast.Constant) and source.value in SOURCES and isinstance(kind, ast.Constant):
                named = {each.arg for each in node.keywords if each.arg and each.arg != "t"}
                yield source.value, kind.value, named, any(each.arg is None for each in node.keywords)


def test_every_event_that_the_laboratory_writes_is_declared_with_its_fields() -> None:
    found = [(path.name, *event) for path in CODE for event in written(path)]
    assert len(found) > 20
    assert [each for each in found if each[1:3] not in KINDS] == []
    for name, source, kind, fields, others in found:
        declared = KINDS[source, kind]
        assert declared.free or fields <= declared.fields.keys(), (name, source, kind)
        needed = {each for each, of in declared.fields.items() if "None" not in str(of)}
        assert others or needed <= fields, (name, source, kind)


def test_every_declared_kind_is_written_somewhere() -> None:
    text = "".join(path.read_text() for path in CODE)
    assert {kind for source, kind in KINDS if source != "fault" and f'"{kind}"' not in text} == set()


def test_every_action_of_a_timeline_makes_an_event() -> None:
    assert {kind for source, kind in KINDS if source == "fault"} == ACTIONS.keys()


def test_an_event_is_judged_by_its_class() -> None:
    place = {"t": 1, "node": "r1"}
    assert list(wrong({**place, "source": "link", "kind": "up", "ifname": "e0"})) == []
    assert len(list(wrong({**place, "source": "link", "kind": "up", "interface": "e0"}))) == 2
    assert len(list(wrong({**place, "source": "link", "kind": "lit", "ifname": "e0"}))) == 1
    assert list(wrong({**place, "source": "agent", "kind": "keyed", "interface": "e0", "neighbor": "b"})) == []
    assert list(wrong({**place, "source": "agent", "kind": "revocation", "version": 1, "origin": "dks"})) == []
    assert len(list(wrong({**place, "source": "agent", "kind": "keyed", "interface": "e0"}))) == 1


def test_no_field_of_an_agents_event_has_the_name_of_one_that_every_event_of_a_record_has() -> None:
    taken = {"t", "node", "source", "kind"}
    assert [kind for kind, declared in agents.KINDS.items() if taken & {*declared.fields}] == []


def test_the_document_has_the_table_of_now() -> None:
    """`python -m testbed.record.kinds` prints it."""
    assert table() in (PROJECT / "docs" / "experiments.md").read_text()


def test_every_class_says_what_its_event_means() -> None:
    assert [kind for kind in KINDS.values() if not (kind.__doc__ or "").endswith(".")] == []
