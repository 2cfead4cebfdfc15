"""Files of the Internet Topology Zoo's form: names, delays, and an account of what was left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.topology.load import load

FILES = Path(__file__).with_name("zoo")


def test_graphml_loses_outsiders_repeats_and_lone_parts_and_gains_names_and_delays() -> None:
    topology = load(str(FILES / "Two Parts.graphml"))
    assert topology.name == "Two-Parts"
    assert list(topology.routers) == ["NewYork", "Washingt", "Washing3"]
    assert topology.graph().number_of_edges() == 2
    assert 1.4 < topology.segments["NewYork--Washingt"].delay_ms < 1.9
    assert topology.segments["Washingt--Washing3"].delay_ms == 1.0
    told = "1 external node, 1 repeated link, 1 loop, 2 nodes apart from the largest part"
    assert topology.description == f"imported from Two Parts.graphml; left out: {told}"


def test_directed_gml_with_both_directions_is_one_link_each_and_not_called_repeated() -> None:
    topology = load(str(FILES / "Directed.gml"))
    assert topology.graph().number_of_edges() == 2
    assert topology.description == "imported from Directed.gml"
    assert 0.7 < topology.segments["Graz--Linz"].delay_ms < 0.9


def test_a_label_that_means_something_else_here_becomes_another_name() -> None:
    assert list(load(str(FILES / "Directed.gml")).routers) == ["Graz", "Linz", "lab3"]


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
    assert topology.graph().number_of_edges() == 1
    assert "1 repeated link" in topology.description


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
