"""Where the names of a drawing stand."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from testbed.topology.draw import draw
from testbed.topology.labels import arranged, box_around
from testbed.topology.load import load

PLACES = st.tuples(st.integers(0, 1000), st.integers(0, 1000))


@given(st.lists(PLACES, min_size=1, max_size=12, unique=True), st.integers(20, 120))
def test_names_of_a_dozen_nodes_stand_on_no_node_and_on_no_other_name(points: list[tuple[int, int]], wide: int) -> None:
    sizes = [(float(wide + 7 * number), 12.0) for number in range(len(points))]
    nodes = [(float(x), float(y)) for x, y in points]
    found = arranged(nodes, sizes, 5.0)
    assert found == arranged(nodes, sizes, 5.0)
    labels = [box_around(*center, *size) for center, size in zip(found, sizes, strict=True)]
    assert not any(one.shared(other) for one, other in combinations(labels, 2))
    assert not any(label.shared(box_around(x, y, 10, 10)) for label in labels for x, y in nodes)


def test_a_name_stands_below_its_node_where_that_is_free_and_above_it_where_something_is_below() -> None:
    ((x, y),) = arranged([(50.0, 50.0)], [(30.0, 10.0)], 5.0)
    assert (round(x), round(y)) == (50, 40)
    ((x, y),) = arranged([(50.0, 50.0)], [(30.0, 10.0)], 5.0, [box_around(50, 40, 4, 4)])
    assert (round(x), round(y)) == (50, 60)


def test_where_nothing_is_free_the_name_is_still_there() -> None:
    assert arranged([(0.0, 0.0)], [(30.0, 10.0)], 5.0, [box_around(0, 0, 10_000, 10_000)])


def test_long_names_make_small_circles_and_the_same_drawing_each_time(tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("links: [core-ams-01--core-lon-02, core-lon-02--r3, core-ams-01--core-lon-02]")
    for name in ("one.svg", "two.svg"):
        draw(load(str(tmp_path / "names.yaml")), tmp_path / name)
    text = (tmp_path / "one.svg").read_text()
    assert text == (tmp_path / "two.svg").read_text()
    assert all(f"<!-- {name} -->" in text for name in ("core-ams-01", "core-lon-02", "r3", "#2: 1 ms"))
