"""The protected half of `sub_region` through weeks, computed: what holds, and that a judge sees what does not."""

from __future__ import annotations

import json
import sys
from typing import Any

from testbed.runner.experiment import find
from testbed.setup.paths import PROJECT
from testbed.simulation import weeks
from testbed.topology.load import load

sub_region = sys.modules[type(find("sub_region")).__module__]
KEPT: dict[str, Any] = json.loads((PROJECT / "results" / "sub_region" / "weeks.json").read_text())


def test_the_links_are_those_that_the_experiment_protects() -> None:
    topology = load(sub_region.SubRegion.topology)
    region = sub_region.Region(topology, "across")
    assert {name: tuple(end.router for end in topology.ends(name)) for name in region.inside} == weeks.LINKS
    ways = [each.router for name in region.clear for each in topology.ends(name)]
    assert {name for name in region.members if name in ways} == set(weeks.BORDER)


def test_a_day_with_a_dead_dks_cut_links_and_power_failures_takes_no_adjacency_and_no_key_twice() -> None:
    said = weeks.summary(weeks.play(1.0, 4))
    assert not any(said["must_not"].values()), said
    assert all(said["happened"].values()) and said["faults"]["DKS dead"] == 1 and len(said["faults"]) >= 3


def test_a_lease_that_ends_while_the_dks_is_dead_is_seen_as_what_must_not_be() -> None:
    played = weeks.play(0.5, 4, lease_s=3 * 3600)
    assert played.outcome.silent and played.outcome.open == 0, "keys go, and nothing opens"


def test_the_result_that_is_kept_is_of_four_weeks_with_every_fault_and_holds() -> None:
    assert KEPT["days"] >= 28 and KEPT["dks_dead_days"] >= 9
    assert set(KEPT["faults"]) == {"DKS dead", "all off", "clear side off", "link cut", "router off"}
    assert not any(KEPT["must_not"].values()) and all(KEPT["happened"].values())
    page = (PROJECT / "docs" / "results" / "sub_region.md").read_text()
    assert all(f"{count:,}" in page for count in KEPT["happened"].values())
