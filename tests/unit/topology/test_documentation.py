"""The page about topologies says what is true: its examples load, its errors are given, it names every key there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import InputError
from testbed.topology.generate import FORMS
from testbed.topology.load import examine, library, load
from testbed.topology.schema import schema

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "topologies.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)`[^|]*\|(.*)\|[^|]*\|$", PAGE, re.MULTILINE))
BLOCKS = dict(re.findall(r"<!-- tested: (\S+) -->\n```\w*\n(.*?)```", PAGE, re.DOTALL))


def test_every_block_of_yaml_is_marked_as_tested() -> None:
    assert PAGE.count("```yaml") == sum(name.endswith(".yaml") for name in BLOCKS)


def test_the_first_example_is_a_topology(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(BLOCKS["mine.yaml"])
    topology = load(str(tmp_path / "mine.yaml"))
    assert list(topology.routers) == ["paris", "rome", "vienna", "berlin"]
    assert topology.dks.router == "vienna"
    assert BLOCKS["mine.yaml"].count("\n") <= 15


def test_the_example_of_everything_is_a_topology(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(BLOCKS["more.yaml"])
    topology = load(str(tmp_path / "more.yaml"))
    assert topology.ospf.v2 and topology.ospf.v3 and topology.pim is not None
    assert {name: str(r.loopback.ip) for name, r in topology.routers.items()}["core1"] == "10.0.1.1"
    assert {i.area for router in topology.routers.values() for i in router.interfaces} == {"0.0.0.0", "0.0.0.1"}
    assert list(topology.hosts) == ["source", "sink"]
    assert topology.segments["core1--edge"].loss_percent == 1.0


def test_the_example_of_links_side_by_side_has_the_segments_that_the_page_names(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text(BLOCKS["twice.yaml"])
    segments = load(str(tmp_path / "twice.yaml")).segments
    assert {"a--b", "a--b#2", "b--c#2"} <= segments.keys() and "segment=a--b#2" in PAGE


def test_the_example_of_errors_gives_these_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.yaml").write_text(BLOCKS["wrong.yaml"])
    with pytest.raises(InputError) as raised:
        load("wrong.yaml")
    assert "\n".join(raised.value.lines()) + "\n" == BLOCKS["wrong.txt"]


def test_the_example_of_warnings_gives_these_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.yaml").write_text(BLOCKS["odd.yaml"])
    assert "".join(f"{each.line()}\n" for each in examine("odd.yaml")[1]) == BLOCKS["odd.txt"]


def test_the_table_names_every_key_of_the_schema_in_its_row() -> None:
    found = schema()
    for key, told in found["properties"].items():
        assert f"`{key}`" in PAGE
        for reference in set(re.findall(r"#/\$defs/(\w+)", str(told))):
            for inner in found["$defs"][reference]["properties"]:
                assert re.search(rf"`{inner}\b", ROWS[key]), f"{key}: {inner}"


def test_the_defaults_in_the_table_are_those_of_the_schema() -> None:
    defaults: dict[str, Any] = {
        key: held.get("default") for key, held in schema()["$defs"]["Defaults"]["properties"].items()
    }
    assert defaults == {
        "delay": 1.0, "jitter": 0.0, "loss": 0.0, "bandwidth": None, "mtu": 1500, "cost": 10, "area": 0,
    }  # fmt: skip
    assert "| 1ms, 0ms, 0%, none, 1500, 10, 0 |" in PAGE


def test_the_page_lists_every_generator_and_every_name_of_the_library() -> None:
    words = " ".join(PAGE.split())
    assert ", ".join(f"`{form}`" for form in FORMS.values()) in words
    assert ", ".join(f"`{name}`" for name in library()) in words
