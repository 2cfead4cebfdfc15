"""Files of the Internet Topology Zoo's form: names, delays, and an account of what was left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.topology.load import load
from testbed.topology.paths import expected_paths
from tests.unit.topology.experiments import in_guests

FILES = Path(__file__).with_name("zoo")


def test_graphml_loses_outsiders_and_lone_parts_and_gains_names_and_delays() -> None:
    topology = load(str(FILES / "Two Parts.graphml"))
    assert topology.name == "Two-Parts"
    assert list(topology.routers) == ["New-York", "Washington-DC", "Washington-East"]
    assert topology.graph().number_of_edges() == 3
    assert 1.4 < topology.segments["New-York--Washington-DC"].delay_ms < 1.9
    assert topology.segments["Washington-DC--Washington-East"].delay_ms == 1.0
    told = "1 external node, 1 loop, 2 nodes apart from the largest part"
    assert topology.description == f"imported from Two Parts.graphml; left out: {told}"


def test_directed_gml_with_both_directions_is_one_link_each() -> None:
    topology = load(str(FILES / "Directed.gml"))
    assert topology.graph().number_of_edges() == 2
    assert topology.description == "imported from Directed.gml"
    assert 0.7 < topology.segments["Graz--Linz"].delay_ms < 0.9


def test_a_label_that_means_something_else_here_becomes_another_name() -> None:
    assert list(load(str(FILES / "Directed.gml")).routers) == ["Graz", "Linz", "lab-2"]


GML = """graph [
  node [ id 0 label "A" ]
  node [ id 1 label "B" ]
  edge [ source 0 target 1 ]
  edge [ source 0 target 1 ]
]"""


def test_gml_with_parallel_links_and_no_mark_for_them_is_read(tmp_path: Path) -> None:
    file = tmp_path / "small.gml"
    file.write_text(GML)
    topology = load(str(file))
    assert topology.graph().number_of_edges() == 2
    assert list(topology.segments)[:2] == ["A--B", "A--B#2"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nothing.graphml", ""),
        ("text.graphml", "links: [r1-r2]"),
        ("cut.gml", 'graph [ node [ id 0 label "A"'),
        ("lonely.gml", 'graph [ node [ id 0 label "A" ] ]'),
        ("octets.gml", "\x00\x01\x02"),
    ],
)
def test_a_file_that_holds_no_graph_of_links_is_an_error_of_the_input(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as raised:
        load(str(tmp_path / name))
    assert raised.value.exit_code == 2
    assert name in str(raised.value)


STRANGE = """<?xml version="1.0" encoding="utf-8"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="label" attr.type="string" for="node" id="d0" />
  <key attr.name="Latitude" attr.type="double" for="node" id="d1" />
  <key attr.name="Longitude" attr.type="double" for="node" id="d2" />
  <key attr.name="hyperedge" attr.type="int" for="node" id="d3" />
  <key attr.name="id" attr.type="string" for="edge" id="d4" />
  <graph edgedefault="undirected">
    <node id="0"><data key="d0">Malm\u00f6</data><data key="d1">55.6</data><data key="d2">13.0</data></node>
    <node id="1"><data key="d0">G\u00f6teborg C</data><data key="d1">57.7</data><data key="d2">12.0</data></node>
    <node id="2"><data key="d0">\u041c\u043e\u0441\u043a\u0432\u0430</data></node>
    <node id="3"><data key="d0">None</data><data key="d3">1</data></node>
    <node id="4"><data key="d0">None</data><data key="d3">1</data></node>
    <node id="5"><data key="d0">net 1</data></node>
    <node id="6"><data key="d0">lonely</data></node>
    <node id="7"><data key="d0">None</data><data key="d3">1</data></node>
    <edge source="0" target="1"><data key="d4">e0</data></edge>
    <edge source="0" target="1"><data key="d4">e1</data></edge>
    <edge source="0" target="3" /> <edge source="1" target="3" /> <edge source="3" target="4" />
    <edge source="4" target="2" /> <edge source="2" target="7" /> <edge source="7" target="5" />
    <edge source="2" target="5" />
  </graph>
</graphml>"""


def strange(folder: Path) -> Path:
    file = folder / "strange.graphml"
    file.write_text(STRANGE, encoding="utf-8")
    return file


def test_letters_beyond_ascii_lose_their_marks_and_what_has_no_name_is_numbered(tmp_path: Path) -> None:
    assert list(load(str(strange(tmp_path))).routers) == ["Malmo", "Goteborg-C", "n3", "net-1"]


def test_a_link_of_many_ends_is_a_lan_and_one_of_two_ends_a_link(tmp_path: Path) -> None:
    topology = load(str(strange(tmp_path)))
    kinds = {segment.kind: sorted(node for node, _ in segment.members) for segment in topology.segments.values()}
    assert {name: each.kind for name, each in topology.segments.items() if each.kind != "stub"} == {
        "Malmo--Goteborg-C": "p2p", "Malmo--Goteborg-C#2": "p2p", "n3--net-1": "p2p", "n3--net-1#2": "p2p",
        "net1": "lan",
    }  # fmt: skip
    assert kinds["lan"] == ["Goteborg-C", "Malmo", "n3"]
    assert 1.0 < topology.segments["net1"].delay_ms < 1.5
    assert topology.segments["n3--net-1"].delay_ms == 1.0
    assert topology.description.endswith("left out: 1 node apart from the largest part")


def test_a_strange_graph_is_played_by_every_experiment_without_a_word_more(tmp_path: Path) -> None:
    topology = load(str(strange(tmp_path)))
    for experiment in in_guests():
        try:
            plan = experiment.plan(topology, "lks", 1, {})
        except InputError:  # refused with a reason is an answer
            continue
        check_plan(plan)
        assert expected_paths(plan.topology)
