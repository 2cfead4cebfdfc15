"""Where the border of a protected sub-region runs, who has keys there, and what of a record counts against it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy.compile import compile_documents
from agents.policy.domain import Settings
from testbed.analysis import adjacency
from testbed.analysis.measures import Adjacencies
from testbed.analysis.run import NS, Run
from testbed.domains.build import domain_of
from testbed.domains.keys import keys_of
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.runner.experiment import Measures, Table, find
from testbed.topology.load import load

AREAS = load("areas")
REGION = find("sub_region")
module = sys.modules[type(REGION).__module__]
ACROSS, ALONG = (module.Region(AREAS, border) for border in module.BORDERS)


def test_a_border_across_areas_parts_one_of_them_and_one_along_their_edge_parts_none() -> None:
    def areas(names: tuple[str, ...]) -> set[str]:
        return {end.area for name in names for end in AREAS.ends(name)}

    assert areas(ACROSS.inside) & areas(ACROSS.clear), "an area has links of both kinds"
    assert not areas(ALONG.inside) & areas(ALONG.clear)
    for region in (ACROSS, ALONG):
        assert set(region.inside) | set(region.clear) == {n for n, each in AREAS.segments.items() if each.kind == "p2p"}
        assert region.border.router in region.members and region.beyond.router in region.outside
        assert region.border.segment == region.beyond.segment == region.frontier in region.clear
        assert region.inner in region.members and region.inner != region.border.router
        assert AREAS.dks.router in region.outside


@pytest.mark.parametrize("name", ["abilene", "ring:4", "grid:3x3", "line:4", "geant", "office"])
def test_any_network_of_four_routers_has_a_half_with_a_border(name: str) -> None:
    region = module.Region(load(name), "across")
    assert region.members and region.outside and region.frontier in region.clear


def test_of_two_lans_one_is_protected_whole(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("lans: {hub: [a, b, c], side: [c, d, e]}\n")
    region = module.Region(load(str(tmp_path / "t.yaml")), "across")
    assert (region.inside, region.members, region.border.router) == (("side",), ["c", "d", "e"], "c")


def test_a_network_without_a_border_is_refused_with_what_would_do() -> None:
    for topology, border, words in ((load("ring:4"), "along", "border=across"), (load("line:2"), "across", "four"),
                                    (AREAS, "around", "across, along")):  # fmt: skip
        with pytest.raises(InputError) as raised:
            module.Region(topology, border)
        assert words in str(raised.value.allowed)


def test_it_is_played_with_ospfv3_alone_too() -> None:
    plan = REGION.plan(load("areas", "3"), "lks", 1, {})
    check_plan(plan)
    (sent,) = {frame[24:28] for step in plan.timeline if step.action == "inject" for frame in step.frames}
    assert sent == "86dd"


@pytest.mark.parametrize("border", ["across", "along"])
@pytest.mark.parametrize("keying", ["none", "lks", "dks-lks", "central-mgmt"])
def test_the_plan_can_be_played_and_names_the_region_where_there_are_keys(keying: str, border: str) -> None:
    plan = REGION.plan(AREAS, keying, 1, {"border": border})
    check_plan(plan)
    region = module.Region(AREAS, border)
    assert getattr(plan.options, "region", region.inside) == region.inside
    assert next(step for step in plan.timeline if step.action == "power_off").nodes == tuple(region.outside)


def test_a_link_or_lan_that_is_not_there_is_refused_as_a_region() -> None:
    with pytest.raises(InputError, match="b9--b8"):
        check_plan(find("link_cut").plan(load("ring:4"), "lks", 1, {"region": ["b9--b8"]}))


def test_only_routers_of_the_region_get_documents_and_only_its_links_are_protected() -> None:
    domain = domain_of(AREAS, keys_of(1), AREAS.dks.address, Settings(validity_s=1 << 33), region=ACROSS.inside)
    documents = compile_documents(domain, 1, 0)
    assert set(documents) == set(ACROSS.members)
    for name, document in documents.items():
        for interface in document.interfaces:
            inside = AREAS.routers[name].interface(interface.name).segment in ACROSS.inside
            assert (interface.mode is Mode.REQUIRED, bool(interface.neighbors)) == (inside, inside)
            assert set(interface.protected) == ({RoutingProtocol.OSPF, RoutingProtocol.PIM} if inside else set())
        assert all(each.mode is Mode.PERMISSIVE for each in (*document.points, *document.pairs))
        assert {each.router for each in document.pairs} <= set(ACROSS.members)


# -- what counts


def state(now_s: float, ends: adjacency.Ends, word: str) -> dict[str, Any]:
    return {
        "t": round(now_s * NS), "node": ends.router, "source": "frr", "kind": "adjacency", "daemon": "ospfd",
        "ifname": ends.interface, "neighbor": str(AREAS.routers[ends.neighbor].router_id), "state": word,
    }  # fmt: skip


def event(now_s: float, node: str, source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"t": round(now_s * NS), "node": node, "source": source, "kind": kind, **more}


def run_of(folder: Path, *events: dict[str, Any]) -> Run:
    REGION.plan(AREAS, "lks", 1, {}).write(folder / "plan.json")
    marks = [event(90, "lab", "lab", "mark", name="settled")]
    marks += [event(moment, "lab", "lab", "mark", name=name) for name, moment in module.PHASES.items()]
    up = [state(10, ends, "Full") for ends in adjacency.expected(AREAS)]
    record = sorted([*marks, *up, *events, event(1200, "lab", "lab", "run_end")], key=lambda each: int(each["t"]))
    (folder / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in record))
    return Run(folder)


def test_an_adjacency_inside_is_lost_unless_its_own_link_or_router_was_cut_just_before(tmp_path: Path) -> None:
    inside = sorted(each for each in adjacency.expected(AREAS) if ACROSS.protected_links(each))
    outside = sorted(each for each in adjacency.expected(AREAS) if not ACROSS.protected_links(each))
    first, other = inside[0], next(each for each in inside if each.router != inside[0].router)
    segment = AREAS.routers[first.router].interface(first.interface).segment
    cases: list[tuple[int, list[dict[str, Any]]]] = [
        (0, [state(200, outside[0], "Down")]),
        (1, [state(200, first, "Down")]),
        (0, [event(199, "lab", "fault", "link_carrier_down", segment=segment), state(200, first, "Down")]),
        (0, [event(170, first.neighbor, "fault", "power_off"), state(209, first, "Down")]),
        (1, [event(100, first.neighbor, "fault", "power_off"), state(209, first, "Down")]),
        (1, [event(199, "lab", "fault", "link_carrier_down", segment=ACROSS.frontier), state(200, other, "Down")]),
        (0, [state(20, first, "Down"), state(25, first, "Full")]),
    ]
    for number, (wanted, events) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert module.lost_inside(run_of(folder, *events), ACROSS) == wanted, number


def test_clear_packets_count_on_protected_links_and_registers_that_pass_there_do_not(tmp_path: Path) -> None:
    inside = AREAS.ends(ACROSS.inside[0])[0].label
    clear = ACROSS.border.label
    counts = {inside: {"ospf": 2, "pim": 3, "pim, unicast": 100}, clear: {"ospf": 7}}
    heard = {name: {"packets": each, "first_ns": 1, "last_ns": 2} for name, each in counts.items()}
    told = event(1199, "lab", "probe", "clear", missed=0, interfaces=heard)
    assert module.in_clear(run_of(tmp_path, told), ACROSS) == 5


def test_each_thing_that_must_not_be_fails_its_criterion() -> None:
    good = {module.LOST: 0, module.CLEAR: 0, module.REKEYS: 9}
    for phase in list(module.PHASES)[:-1]:
        good |= {f"{phase}: {what}": 0 for what in (
            "packets at protected interfaces' daemons", "changes of protected adjacencies",
            "changes of clear adjacencies", "route changes in the protected part")}  # fmt: skip

    def bad(restored: int = 4, **changes: float) -> list[str]:
        extra = {**good, **{name.replace("_", " "): value for name, value in changes.items()}}
        return [
            each.text
            for each in REGION.judge(Table({"lks": [Measures(9.0, Adjacencies(4, restored), extra=extra)]}))
            if not each.ok
        ]

    assert bad() == []
    assert len(bad(restored=3)) == 1
    for name in (module.LOST, module.CLEAR, "over the border: packets at protected interfaces' daemons",
                 "over the border: changes of protected adjacencies", "forged Hello: changes of protected adjacencies",
                 "forged LSA: changes of protected adjacencies"):  # fmt: skip
        assert len(bad(**{name: 1})) == 1, name
    assert len(bad(**{module.REKEYS: 0})) == 1
