"""When both ends of a link have noticed that it is cut, of records made by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis import trees
from testbed.analysis.links import ends_of, most_used_link
from testbed.analysis.measures import Adjacencies
from testbed.analysis.multicast import TREES
from testbed.analysis.run import NS, Run
from testbed.record.plan import Plan
from testbed.runner.experiment import Measures, Table, find
from testbed.topology.load import load
from testbed.topology.paths import expected_paths, segments_between

RING = load("ring:4")
link_cut = sys.modules[type(find("link_cut")).__module__]
LINK = most_used_link(RING)
ENDS = RING.segments[LINK].members


def state(now_s: float, end: int, word: str) -> dict[str, Any]:
    """What ospfd of one end of the link says of the other."""
    (node, interface), (other, _) = ENDS[end], ENDS[1 - end]
    return {
        "t": round(now_s * NS), "node": node, "source": "frr", "kind": "adjacency", "daemon": "ospfd",
        "ifname": interface, "neighbor": str(RING.routers[other].router_id), "state": word,
    }  # fmt: skip


def noticed(folder: Path, *events: dict[str, Any]) -> float | None:
    Plan(experiment="link_cut", topology=RING, keying="none", seed=1, duration_s=300).write(folder / "plan.json")
    up = [state(10, 0, "Full"), state(10, 1, "Full")]
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in [*up, *events]))
    return link_cut.noticed_s(Run(folder), LINK, 60 * NS, 120 * NS)  # type: ignore[no-any-return]


def test_a_cut_is_noticed_when_the_slower_end_has_given_the_neighbour_up(tmp_path: Path) -> None:
    assert noticed(tmp_path, state(61, 0, "Down"), state(95.5, 1, "Down")) == pytest.approx(35.5)


def test_a_cut_that_one_end_does_not_notice_before_it_heals_has_no_time(tmp_path: Path) -> None:
    assert noticed(tmp_path, state(61, 0, "Down")) is None
    assert noticed(tmp_path, state(61, 0, "Down"), state(121, 1, "Down")) is None


def test_what_went_down_before_the_cut_is_not_its_detection(tmp_path: Path) -> None:
    flap = [state(20, 0, "Down"), state(25, 0, "Full")]
    assert noticed(tmp_path, *flap, state(61, 0, "Down"), state(62, 1, "Down")) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("links", "wanted"),
    [
        # All shortest paths avoid a--b, which is dear, and no packet between its ends goes over it.
        ("- {between: [a, b], cost: 100}\n- a-c\n- c-b\n- a-d\n- d-b", None),
        ("- {between: [a, b], cost: 9}\n- {between: [a, c], cost: 9}\n- b-c\n- c-d\n- b-d", None),
        # Dear in one direction: what a sends goes around, what b sends does not.
        ("- {between: [a, b], costs: [100, 1]}\n- b-c\n- a-c", None),
        # The only link besides bridges is the dear one of two side by side.
        ("- {between: [a, b], cost: 100}\n- a-b\n- b-c", "a--b#2"),
    ],
)
def test_the_link_that_is_cut_carries_unicast_and_multicast_both_ways(
    tmp_path: Path, links: str, wanted: str | None
) -> None:
    text = "".join(f"  {line}\n" for line in links.splitlines())
    (tmp_path / "t.yaml").write_text(f"links:\n{text}")
    topology = load(str(tmp_path / "t.yaml"))
    link = most_used_link(topology)
    assert wanted in (None, link)
    one, other = ends_of(topology, link)
    ways = segments_between(topology)
    assert ways[one, other] == ways[other, one] == {link}
    there = expected_paths(topology)[one][topology.routers[other].loopback.network]
    assert there != expected_paths(topology, {link})[one].get(topology.routers[other].loopback.network)


def test_paths_between_two_routers_are_known_link_by_link_also_those_that_are_equal(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("links: [a-b, b-c, a-d, d-c, {between: [a, c], cost: 100}]\n")
    assert segments_between(load(str(tmp_path / "t.yaml")))["a", "c"] == {"a--b", "b--c", "a--d", "d--c"}


def test_a_cut_that_changes_nothing_is_said_so_and_not_judged() -> None:
    nothing = {link_cut.SPAN.format(kind): 0.0 for kind in link_cut.KINDS}
    nothing |= {f"{kind}{name}": 0.0 for kind in link_cut.KINDS for name in (" to all receivers hear, s", TREES)}
    runs = [Measures(0.0, Adjacencies(1, 1), extra=nothing)]
    table = Table({"none": runs, "lks": runs})
    experiment = find("link_cut")
    assert experiment.judge(table) == []
    said = " ".join(experiment.findings(table))
    assert "any of the routes" in said and "any of the multicast trees" in said and "not affected" in said


@pytest.mark.parametrize("name", ["ring:4", "abilene", "office"])
def test_multicast_goes_over_the_link_that_is_cut(name: str) -> None:
    """Else its cut would show nothing."""
    topology, experiment = load(name), find("link_cut")
    link = most_used_link(topology)
    one, other = (node for node, _ in topology.segments[link].members[:2])
    found = experiment.streams(topology)
    assert [(each.source, other in each.receivers) for each in found] == [(one, True)] * 2
    wanted = trees.expected(topology, found, frozenset())
    ways = wanted[trees.Key(str(topology.routers[one].loopback.ip), found[1].group)].ways[other]
    assert [topology.routers[other].interface(name).segment for name in ways] == [link]
