"""When both ends of a link have noticed that it is cut, of records made by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis import trees
from testbed.analysis.run import NS, Run
from testbed.record.plan import Plan
from testbed.runner.experiment import find
from testbed.topology.load import load

RING = load("ring:4")
link_cut = sys.modules[type(find("link_cut")).__module__]
LINK = link_cut.chosen(RING)
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
    return link_cut.noticed_s(Run(folder), 60 * NS, 120 * NS)  # type: ignore[no-any-return]


def test_a_cut_is_noticed_when_the_slower_end_has_given_the_neighbour_up(tmp_path: Path) -> None:
    assert noticed(tmp_path, state(61, 0, "Down"), state(95.5, 1, "Down")) == pytest.approx(35.5)


def test_a_cut_that_one_end_does_not_notice_before_it_heals_has_no_time(tmp_path: Path) -> None:
    assert noticed(tmp_path, state(61, 0, "Down")) is None
    assert noticed(tmp_path, state(61, 0, "Down"), state(121, 1, "Down")) is None


def test_what_went_down_before_the_cut_is_not_its_detection(tmp_path: Path) -> None:
    flap = [state(20, 0, "Down"), state(25, 0, "Full")]
    assert noticed(tmp_path, *flap, state(61, 0, "Down"), state(62, 1, "Down")) == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["ring:4", "abilene", "office"])
def test_multicast_goes_over_the_link_that_is_cut(name: str) -> None:
    """Else its cut would show nothing."""
    topology, experiment = load(name), find("link_cut")
    link = link_cut.chosen(topology)
    one, other = (node for node, _ in topology.segments[link].members[:2])
    found = experiment.streams(topology)
    assert [(each.source, other in each.receivers) for each in found] == [(one, True)] * 2
    wanted = trees.expected(topology, found, frozenset())
    ways = wanted[trees.Key(str(topology.routers[one].loopback.ip), found[1].group)].ways[other]
    assert [topology.routers[other].interface(name).segment for name in ways] == [link]
