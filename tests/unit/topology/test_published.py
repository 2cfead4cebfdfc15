"""Networks of TopoHub, SNDlib and containerlab: what becomes of them, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.errors import InputError
from testbed.topology.draw import draw
from testbed.topology.load import load
from testbed.topology.resolved import Topology

FILES = Path(__file__).with_name("published")


def delays(topology: Topology) -> dict[str, float]:
    return {name: segment.delay_ms for name, segment in topology.segments.items() if segment.kind != "stub"}


def refused(folder: Path, name: str, text: str | bytes) -> str:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError) as raised:
        load(str(file))
    assert raised.value.exit_code == 2
    return str(raised.value).replace(f"{folder}/", "")


def test_topohub_gives_names_that_can_be_said_delays_of_lengths_and_places(tmp_path: Path) -> None:
    topology = load(str(FILES / "towns.json"))
    assert list(topology.routers) == ["Gavle-S", "Alesund", "Tonder", "Alesund-2"]
    found = delays(topology)
    assert found["Gavle-S--Alesund"] == 4.9
    assert found["Alesund--Alesund-2"] == 0.049
    assert found["Tonder--Alesund-2"] == 0.001
    assert 4.1 < found["Alesund--Tonder"] < 4.4  # 860 km, by the positions
    assert topology.routers["Tonder"].latitude == 54.9
    draw(topology, tmp_path / "towns.svg")


def test_positions_beyond_the_earths_are_a_drawing_that_gives_no_delays(tmp_path: Path) -> None:
    file = tmp_path / "0.json"
    file.write_text(
        '{"nodes": [{"id": 0, "pos": [800, 20]}, {"id": 1, "pos": [400, 0]}, {"id": 2}],'
        ' "links": [{"source": 0, "target": 1}, {"source": 1, "target": 2, "dist": 100}]}'
    )
    topology = load(str(file))
    assert list(topology.routers) == ["n1", "n2", "n3"]
    assert delays(topology) == {"n1--n2": 1.0, "n2--n3": 0.49}
    assert (topology.routers["n1"].longitude, topology.routers["n1"].latitude) == (80.0, 2.0)


def test_a_directed_graph_that_lists_both_ways_has_each_link_once_and_parallel_ones_stay(tmp_path: Path) -> None:
    nodes = '"nodes": [{"id": "a"}, {"id": "b"}]'
    both = '[{"source": "a", "target": "b", "dist": 1}, {"source": "b", "target": "a", "dist": 1}]'
    (tmp_path / "d.json").write_text(f'{{"directed": true, {nodes}, "edges": {both}}}')
    (tmp_path / "u.json").write_text(f'{{"directed": false, {nodes}, "edges": {both}}}')
    assert list(delays(load(str(tmp_path / "d.json")))) == ["a--b"]
    assert list(delays(load(str(tmp_path / "u.json")))) == ["a--b", "a--b#2"]


@pytest.mark.parametrize("name", ["triangle.xml", "triangle.txt"])
def test_both_forms_of_sndlib_give_the_same_network(name: str) -> None:
    topology = load(str(FILES / name))
    assert list(topology.routers) == ["Bonn", "Jena", "Ulm"]
    found = delays(topology)
    assert list(found) == ["Bonn--Jena", "Bonn--Ulm", "Bonn--Ulm#2", "Jena--Ulm"]
    assert 1.5 < found["Bonn--Jena"] < 1.6  # 317 km
    assert topology.routers["Jena"].longitude == 11.6


def test_coordinates_of_a_drawing_are_drawn_and_give_no_delays(tmp_path: Path) -> None:
    text = (FILES / "triangle.xml").read_text().replace("geographical", "pixel").replace("7.1", "710")
    (tmp_path / "pixel.xml").write_text(text)
    topology = load(str(tmp_path / "pixel.xml"))
    assert set(delays(topology).values()) == {1.0}
    assert topology.description.endswith("its coordinates have no scale, so every link has the default delay")
    assert topology.routers["Bonn"].longitude == 80.0


def test_containerlab_gives_routers_hosts_and_lans_with_their_interfaces() -> None:
    topology = load(str(FILES / "fabric.clab.yml"))
    assert topology.name == "fabric"
    assert list(topology.routers) == ["spine", "leaf-1", "leaf-2"]
    names = {name: {each.segment: each.name for each in r.interfaces} for name, r in topology.routers.items()}
    assert names["spine"]["spine--leaf-1"] == "eth1" and names["leaf-1"]["spine--leaf-1"] == "eth1"
    assert names["leaf-2"] == {"spine--leaf-2": "ethernet-1-1", "br": "e1-2", "leaf-2--client": "e1-3"}
    assert topology.hosts["client"].interface == "eth1"
    assert topology.segments["br"].kind == "lan"
    assert topology.routers["spine"].interface("eth1").mtu == 9000
    assert topology.description == (
        "imported from fabric.clab.yml; hosts, since their images are not FRR: client; left out: a link to host, "
        "a link with one end, spare, which has no link; FRR runs in place of nokia_srlinux"
    )


CLAB = """name: x
topology:
  kinds: {linux: {image: frr}}
  nodes:
    a:
    b: %s
    c:
  links:
    - endpoints: ["a:eth1", "b:eth1"]
    - endpoints: [%s]
"""


@pytest.mark.parametrize(
    ("node", "ends", "said"),
    [
        ("{image: alpine}", '"b:eth2", "c:eth1"', "t.yml:6:5: node 'b' has 2 links, and its image 'alpine'"),
        ("{image: alpine}", '"a:eth2", "d:eth1"', "t.yml:10:29: unknown node 'd'"),
        ("", '"a:eth1", "c:eth1"', "t.yml:10:7: 'a-eth1' is the name of two interfaces"),
        ("", '"a:eth2"', "t.yml:10:7: topology.links.1: not a link with two ends"),
        ("", '"a", "b:eth2"', "t.yml:10:19: endpoint 'a'"),
        ("", '"a:eth 2", "b:eth2"', "t.yml:10:19: interface 'eth 2' of 'a'"),
        ("", '"a:mgmt", "b:eth2"', "t.yml:10:19: interface 'mgmt' of 'a'"),
        ("{kind: bridge}", '"c:eth2", "a:eth3"', "t.yml:6:5: bridge 'b' joins a"),
        ("3", '"c:eth2", "a:eth3"', "t.yml:6:5: node 'b': bad value"),
        ("", '"a:eth2", "b:eth2"', "t.yml:7:5: the routers are not all connected"),
    ],
)
def test_what_containerlab_allows_and_we_cannot_build_is_refused_by_name_and_line(
    node: str, ends: str, said: str, tmp_path: Path
) -> None:
    assert refused(tmp_path, "t.yml", CLAB % (node, ends)).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "topology: {nodes: {a: {kind: linux}, b: {}}, links: [{endpoints: ['a:e1', 'b:e1']}]}",
            "t.yml:1:20: node 'a' has no image",
        ),
        ("topology: {nodes: {}}", "t.yml:1:1: a topology without nodes"),
        ("topology: fabric", "t.yml:1:1: a topology without nodes"),
        (
            "topology: {nodes: {a: {kind: x}, all: {kind: x}}, links: [{endpoints: ['a:e1', 'all:e1']}]}",
            "t.yml:1:34: a node named 'all'",
        ),
        ("topology: {nodes: {a: {kind: x}}}", "t.yml:1:1: a topology without links"),
    ],
)
def test_a_containerlab_file_that_lacks_something_is_refused(text: str, said: str, tmp_path: Path) -> None:
    assert refused(tmp_path, "t.yml", text).startswith(said)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.json", '{"nodes": [\n{"id": 1,}]}', "t.json:2:"),
        ("t.json", "[1, 2]", "t.json: not a graph in node-link form"),
        ("t.json", '{"nodes": []}', "t.json: has no list of edges"),
        ("t.json", '{"nodes": [{"id": 1}, {"id": 1}], "edges": []}', "t.json: nodes.1: a second node '1'"),
        (
            "t.json",
            '{"nodes": [{"id": 1}], "edges": [{"source": 1, "target": 2}]}',
            "t.json: edges.0: unknown node '2'",
        ),
        ("t.json", '{"nodes": [{"id": 1}], "edges": []}', "t.json: the graph has no link"),
        ("t.json", '{"nodes": [{"id": 1, "pos": [NaN, 1]}], "edges": []}', "t.json: nodes.0.pos: bad value"),
        (
            "t.json",
            '{"nodes": [{"id": 1}, {"id": 2}], "edges": [{"source": 1, "target": 2, "dist": -1}]}',
            "t.json: edges.0.dist",
        ),
        ("t.json", "[" * 200_000, "t.json: not JSON"),
        ("t.json", b"\xff\xfe", "t.json: not JSON"),
        ("t.xml", "<network>\n<a></b></network>", "t.xml:2:6: not XML: mismatched tag"),
        ("t.xml", "", "t.xml:1:1: not XML"),
        ("t.xml", "<graphml/>", "t.xml:1: <graphml> is not a network of SNDlib"),
        (
            "t.xml",
            '<!DOCTYPE n [\n<!ENTITY a "aaaa">\n<!ENTITY b "&a;&a;">]><n>&b;</n>',
            "t.xml:2: declares the entity 'a'",
        ),
        (
            "t.xml",
            '<!DOCTYPE n [<!ENTITY a SYSTEM "file:///etc/passwd">]><n>&a;</n>',
            "t.xml:1: declares the entity 'a'",
        ),
        (
            "t.graphml",
            '<!DOCTYPE n [<!ENTITY a "aaaa">]><graphml>&a;</graphml>',
            "t.graphml:1: declares the entity 'a'",
        ),
        ("t.xml", "<a>" * 60 + "</a>" * 60, "t.xml:1: too large"),
        ("t.txt", "?SNDlib native format\nNODES (\nA ( 1 2 )\nB 1 2\n)", "t.txt:4: no node"),
        (
            "t.txt",
            "?SNDlib native format\nNODES (\nA ( 1 2 )\n)\nLINKS (\nL ( A B )\n)",
            "t.txt:6: link 'L': unknown node 'B'",
        ),
        ("t.txt", "?SNDlib native format\nNODES (\nA ( 1 x )\n)", "t.txt:3: bad coordinates of node 'A'"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(name: str, text: str | bytes, said: str, tmp_path: Path) -> None:
    assert refused(tmp_path, name, text).startswith(said)


def test_a_place_that_is_not_on_earth_is_refused(tmp_path: Path) -> None:
    text = (FILES / "triangle.xml").read_text().replace("50.7", "500.7")
    assert refused(tmp_path, "t.xml", text).startswith("t.xml: node 'Bonn' is at longitude 7.1, latitude 500.7")


@pytest.mark.parametrize("name", sorted(file.name for file in FILES.iterdir()))
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_published_file_with_some_octets_changed_is_resolved_or_refused(
    name: str, tmp_path: Path, data: st.DataObject
) -> None:
    text = bytearray((FILES / name).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(text) - 1), min_size=1, max_size=4)):
        text[place] = data.draw(st.integers(0, 255))
    file = tmp_path / name
    file.write_bytes(bytes(text))
    try:
        load(str(file))
    except InputError as error:
        assert str(file) in str(error)
