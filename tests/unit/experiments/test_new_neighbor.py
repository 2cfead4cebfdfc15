"""The new link: which it is, what is done, and what is counted of a record made by hand."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import networkx
import pytest

from testbed.analysis.run import NS, Run
from testbed.domains.build import domain_of
from testbed.domains.keys import keys_of
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.keying.options import AgentOptions
from testbed.runner.experiment import Table, find
from testbed.topology.load import load
from testbed.topology.spare import spare_links

GRID = load("grid:3x3")
new_neighbor = sys.modules[type(find("new_neighbor")).__module__]
CASES = new_neighbor.CASES
CHOSEN = new_neighbor.Choice(GRID)


@pytest.mark.parametrize("name", ["grid:3x3", "abilene", "nsfnet", "regular:4:degree=3"])
def test_the_network_hangs_together_without_the_new_links_and_policy_has_none_of_them_at_the_start(name: str) -> None:
    topology = load(name)
    links = spare_links(topology, 3)
    options = AgentOptions(new_links=3)
    settings = options.settings(issuer="lks", local_key_server=True)
    domain = domain_of(topology, keys_of(1), topology.dks.management.address, settings, new_links=3)
    allowed = {frozenset({each.a.router, each.b.router}) for each in domain.adjacencies}
    new = {frozenset(node for node, _at in topology.segments[each].members) for each in links}
    assert len(new) == 3 and not new & allowed
    assert networkx.is_connected(networkx.Graph(map(tuple, allowed)))
    assert check_plan(find("new_neighbor").plan(topology, "lks", 1, {})) is None


@pytest.mark.parametrize("name", ["ring:6", "line:4", "lan:5"])
def test_a_network_without_three_links_to_spare_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="stays connected without"):
        new_neighbor.Choice(load(name))


def test_the_documents_are_handed_to_a_router_that_is_far_from_both_ends_and_the_last_to_the_dks() -> None:
    steps = [each for each in find("new_neighbor").timeline(GRID, random.Random(1)) if each.action == "link_allow"]
    assert [each.args["segment"] for each in steps] == list(CHOSEN.links.values())
    assert "hand_to" not in steps[2].args
    for case, each in zip(CASES, steps[:2], strict=False):
        assert each.args["hand_to"] == CHOSEN.hand_to(case) not in {node for node, _at in CHOSEN.ends(case)}


@pytest.mark.parametrize("name", ["grid:3x3", "abilene", "nsfnet", "regular:4:degree=3"])
def test_a_router_that_the_network_can_do_without_is_replaced_and_a_far_one_is_handed_the_documents(name: str) -> None:
    chosen = new_neighbor.Choice(load(name))
    left = chosen._allowed(list(chosen.links.values())[1:])
    left.remove_node(chosen.replaced)
    assert networkx.is_connected(left) and chosen.replaced != chosen._topology.dks.router
    assert chosen.hand_to_replaced in left and len(chosen.of_replaced()) == 2 * len(chosen.neighbors)


def record(
    folder: Path, *, admitted: str = "refused", early: bool = False, asked: bool = False, fell: float | None = None
) -> Run:
    """Each link is allowed at 100, 200 and 300 s, keyed 1 s and up 5 s later. A router is off from 110 to 120 s, and
    its neighbours are keyed 2 s and their adjacencies up 9 s after that. `fell`: they go down once more then."""
    events: list[dict[str, Any]] = [{"t": 90 * NS, "node": "dks", "source": "fault", "kind": "dks_kill"}]
    for number, case in enumerate(CASES):
        began = (100 + 100 * number) * NS
        events.append(
            {"t": began, "node": "lab", "source": "fault", "kind": "link_allow", "segment": CHOSEN.links[case]}
        )
        for ends in CHOSEN.directions(case):
            said = {"node": ends.router, "source": "agent", "kind": "keyed"}
            events.append({"t": began + NS, **said, "interface": ends.interface, "neighbor": ends.neighbor})
            for moment in (began + 5 * NS, *([began - NS] if early and number == 0 else [])):
                events.append({
                    "t": moment, "node": ends.router, "source": "frr", "kind": "adjacency", "daemon": "ospfd",
                    "ifname": ends.interface, "neighbor": str(GRID.routers[ends.neighbor].router_id), "state": "Full",
                })  # fmt: skip

    def tell(moment: float, ends: Any, state: str) -> None:
        events.append({
            "t": round(moment * NS), "node": ends.router, "source": "frr", "kind": "adjacency", "daemon": "ospfd",
            "ifname": ends.interface, "neighbor": str(GRID.routers[ends.neighbor].router_id), "state": state,
        })  # fmt: skip

    for moment, kind in ((110, "power_off"), (120, "power_on")):
        events.append({"t": moment * NS, "node": CHOSEN.replaced, "source": "fault", "kind": kind})
    for ends in CHOSEN.of_replaced():
        said = {"node": ends.router, "source": "agent", "kind": "keyed"}
        events.append({"t": 122 * NS, **said, "interface": ends.interface, "neighbor": ends.neighbor})
        for moment, state in ((80, "Full"), (115, "Down"), (129, "Full"), *([] if fell is None else [(fell, "Down")])):
            if ends not in CHOSEN.directions(CASES[0]) or moment > 110:
                tell(moment, ends, state)
    for number in range(5):
        events.append(
            {"t": (60 + number) * NS, "node": "lab", "source": "probe", "kind": "impostor", "outcome": admitted}
        )
    if asked:
        events.append({"t": 102 * NS, "node": "dks", "source": "agent", "kind": "request", "retransmission": False})
    find("new_neighbor").plan(GRID, "lks", 1, {}).write(folder / "plan.json")
    events.sort(key=lambda each: each["t"])
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    return Run(folder)


def bad(run: Run) -> list[str]:
    experiment = find("new_neighbor")
    measures = experiment.measure(run)
    found = experiment.judge(Table({"lks": [measures]}))
    assert len(found) == 14
    return [each.text for each in found if not each.ok]


def test_times_are_counted_from_the_administrators_word_to_the_later_end(tmp_path: Path) -> None:
    run = record(tmp_path)
    extra = find("new_neighbor").measure(run).extra
    assert [extra[new_neighbor.UP.format(case)] for case in CASES] == [5.0] * 3
    assert [extra[new_neighbor.KEYED.format(case)] for case in CASES] == [1.0] * 3
    assert (extra[new_neighbor.REPLACED_KEYED], extra[new_neighbor.REPLACED_UP]) == (2.0, 9.0)
    assert bad(run) == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"admitted": "admitted"}, "no outsider is admitted"),
        ({"early": True}, "no new adjacency is up before it is allowed"),
        ({"asked": True}, "DKS dead: no datagram reaches the DKS"),
        ({"fell": 250.0}, "no other adjacency is lost"),
    ],
)
def test_what_must_not_be_is_a_criterion_not_met(wrong: dict[str, Any], text: str, tmp_path: Path) -> None:
    assert text in bad(record(tmp_path, **wrong))
