"""The computed storm: its cases, what may be asked for, and that nothing left out changes what comes out."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from agents.policy.cose import Verifier
from testbed.errors import InputError
from testbed.runner.experiment import find
from testbed.runner.played import played
from testbed.runner.session import Progress, Request, Session
from testbed.runner.simulated import Simulated
from testbed.setup.paths import PROJECT
from testbed.storm import case as computing
from testbed.storm.case import Case, play, together
from testbed.topology.load import load


def run(request: Request, progress: Progress) -> Session:
    how = played(experiment())
    how.prepare(request, load)
    return how.play(request, progress, lambda _table: None)


def experiment() -> Simulated:
    result = find("storm_at_scale")
    assert isinstance(result, Simulated)
    return result


def computed(case: Case) -> dict[str, Any]:
    return together(case, [play(case, number) for number in range(case.processes)])


def values(**options: Any) -> list[tuple[str, int, dict[str, Any]]]:
    request = Request("storm_at_scale", options=options)
    return [(label, seed, dict(each)) for label, seed, each in experiment().cases(request)]


SMALL = Case(20, "lks", 1, 4.0, 3600.0)


def test_the_same_case_gives_the_same_bytes_whatever_the_process(tmp_path: Path) -> None:
    for keying in ("lks", "central-mgmt"):
        result = []
        for name, seed in (("one", "1"), ("two", "2")):
            folder = tmp_path / keying / name
            folder.mkdir(parents=True)
            (folder / "case.json").write_text(json.dumps(asdict(replace(SMALL, routers=40, keying=keying))))
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            subprocess.run([sys.executable, "-m", "testbed.storm", folder], cwd=PROJECT, env=environment, check=True)
            result.append((folder / "result.json").read_bytes())
        assert result[0] == result[1]


def test_another_seed_boots_at_other_times() -> None:
    one, two = (computed(replace(SMALL, seed=seed))["keyed_s"] for seed in (1, 2))
    assert one != two


@pytest.mark.parametrize("keying", ["lks", "central-mgmt"])
def test_remembering_what_was_verified_changes_nothing(keying: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(SMALL, keying=keying)
    remembered = computed(case)
    monkeypatch.setattr(computing, "Remembering", Verifier)
    assert computed(case) == remembered


def test_rings_computed_one_by_one_are_keyed_as_all_at_once_and_ask_the_dks_as_often() -> None:
    """Keep-alives may fall on either side of the end."""
    whole = computed(replace(SMALL, routers=40))
    less = computed(replace(SMALL, routers=40, ring_by_ring=True, rest_s=10.0))
    assert less["resting"] >= 36
    assert whole["complete"] and less["complete"]
    for name in ("neighbors_exchanged", "groups", "errors"):
        assert whole[name] == less[name]
    for name, apart_s in (("keyed_s", 0.1), ("pairs_keyed_s", 0.5)):
        assert (whole[name]["n"], whole[name]["of"]) == (less[name]["n"], less[name]["of"])
        for when in ("median", "p95", "last"):  # the same boots; waits and ways are drawn anew
            assert less[name][when] == pytest.approx(whole[name][when], abs=apart_s)
    for name in ("IKE_SA_INIT", "IKE_INTERMEDIATE", "GSA_AUTH", "GSA_REGISTRATION"):
        assert whole["requests"]["served"][name] == less["requests"]["served"][name]
    asked = [each["requests"]["served"]["INFORMATIONAL"] / each["until_s"] for each in (whole, less)]
    assert asked[1] == pytest.approx(asked[0], rel=0.25)


def test_rings_that_are_over_leave_nothing_that_a_later_one_has_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    collect = gc.collect

    def collected(generation: int = 2) -> int:
        result = collect(generation)
        left.append(len(gc.get_objects()))
        return result

    monkeypatch.setattr(computing, "COLLECT", 1)
    monkeypatch.setattr(computing.gc, "collect", collected)
    computing._neighbors(replace(SMALL, routers=120, ring_by_ring=True), 0)
    assert len(left) == 6 and left[-1] - left[1] < 120


def test_a_router_without_lks_that_rests_changes_nothing_of_what_is_asked() -> None:
    slow = replace(SMALL, keying="central-mgmt", rate=1.0, burst=5, pim=False)
    whole, less = (computed(each)["requests"] for each in (slow, replace(slow, rest_s=5.0)))
    for name in ("IKE_SA_INIT", "IKE_INTERMEDIATE", "GSA_AUTH"):
        assert whole["served"][name] == less["served"][name]
    # One that falls on either side of the end, or of a turn that the DKS gave, may be counted or not.
    assert abs(whole["offered"] - less["offered"]) <= 2


def test_two_processes_of_the_dks_serve_all_routers_between_them() -> None:
    result = computed(replace(SMALL, routers=40, processes=2))
    assert result["complete"] and result["keyed_s"]["of"] == 40
    assert result["requests"]["served"]["IKE_SA_INIT"] == 40


def test_without_lks_the_dks_is_asked_at_once_and_with_it_not_before_the_schedule() -> None:
    central, own = (computed(replace(SMALL, keying=keying)) for keying in ("central-mgmt", "lks"))
    assert own["requests"]["first_60s"] == 0
    # Five datagrams of a handshake with ML-KEM and a keep-alive; a registration to each group sent to or heard.
    assert central["requests"]["first_60s"] == (5 + 8) * 20


def test_large_sizes_are_computed_once_and_say_what_they_leave_out() -> None:
    result = {label: each for label, _seed, each in values(sizes="100,100000")}
    assert [seed for label, seed, _each in values(sizes="100,100000") if label.endswith(" 100")] == [1, 2, 3, 1, 2, 3]
    assert not result["lks 100"]["ring_by_ring"] and result["lks 100"]["rest_s"] is None
    assert result["lks 100000"]["ring_by_ring"] and not result["central-mgmt 100000"]["ring_by_ring"]
    assert result["lks 100000"]["processes"] == 2 and result["central-mgmt 100000"]["processes"] == 1
    assert result["central-mgmt 100000"]["until_s"] == 15.0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sizes": "ten"}, "is not a list of sizes"),
        ({"sizes": 2}, "2 routers"),
        ({"size": 100}, "unknown option 'size'"),
        ({"rate": 0}, "0"),
        ({"service": {"init": 1}}, "init"),
        ({"ospf": 4, "pim": False}, "4"),
        ({"ospf": 3}, "OSPFv3 alone provides none"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        values(**options)


def test_a_computed_experiment_takes_neither_topology_nor_kernel() -> None:
    with pytest.raises(InputError, match="without a guest"):
        experiment().check(Request("storm_at_scale", topology="ring:4"))
    with pytest.raises(InputError, match="without a guest"):
        experiment().check(Request("storm_at_scale", kernel="uml"))


def test_a_session_writes_what_others_write_and_keeps_what_is_done(tmp_path: Path) -> None:
    request = Request("storm_at_scale", seeds=(1,), jobs=2, out=tmp_path, options={"sizes": 6})
    told: list[str] = []
    first = run(request, lambda outcome, _done, _of: told.append(outcome.status))
    assert first.summary["ok"] and told == ["done", "done"]
    assert {"summary.json", "summary.csv", "report.html"} <= {each.name for each in tmp_path.iterdir()}
    figures = {each.name: each.read_bytes() for each in (tmp_path / "figures").iterdir()}
    again = run(request, lambda _outcome, _done, _of: None)
    assert again.summary["cost"] == first.summary["cost"], "it was computed again"
    assert figures == {each.name: each.read_bytes() for each in (tmp_path / "figures").iterdir()}
    assert first.summary["command"].startswith("./lab run storm_at_scale --keying central-mgmt,lks --seed 1")


@pytest.mark.parametrize("keying", ["lks", "central-mgmt"])
def test_pim_adds_a_group_an_interface_and_a_pair_a_router_and_the_dks_hears_no_more_of_it_with_lkss(
    keying: str,
) -> None:
    alone, both = (computed(replace(SMALL, keying=keying, pim=pim)) for pim in (False, True))
    assert (alone["groups"], both["groups"]) == (2 * 20, 2 * 2 * 20)
    assert (alone["pairs_keyed_s"]["of"], both["pairs_keyed_s"]["of"]) == (0, 2 * 19)
    assert both["complete"] and both["pairs_keyed_s"]["n"] == 2 * 19 and 0 < both["pairs_keyed_s"]["last"] < 60
    if keying == "lks":
        assert both["requests"]["first_60s"] == 0
    measures = experiment().read(both)
    assert (measures.extra["groups that these send to"], measures.extra["power returned to keys for Registers, s"]) == (
        80, both["pairs_keyed_s"]["last"]
    )  # fmt: skip


@pytest.mark.parametrize("keying", ["lks", "central-mgmt"])
def test_with_ospfv3_alone_over_link_local_addresses_the_dks_is_asked_the_same(keying: str) -> None:
    two, three = (computed(replace(SMALL, keying=keying, pim=False, ospf=version)) for version in (2, 3))
    assert two["complete"] and three["complete"] and three["groups"] == 2 * 20
    asked = ("IKE_SA_INIT", "IKE_INTERMEDIATE", "GSA_AUTH", "GSA_REGISTRATION")
    assert [two["requests"]["served"][each] for each in asked] == [three["requests"]["served"][each] for each in asked]
    assert abs(two["keyed_s"]["last"] - three["keyed_s"]["last"]) < 0.1


def test_pim_is_computed_or_not_as_asked_and_nothing_else_is_understood() -> None:
    assert {each["pim"] for _label, _seed, each in values(sizes="20")} == {True}
    assert {each["pim"] for _label, _seed, each in values(sizes="20", pim=False)} == {False}
    with pytest.raises(InputError, match="'some'"):
        values(pim="some")
