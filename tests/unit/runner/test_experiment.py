"""Experiments are found, described and judged; what is wrong with one is said with its file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.analysis.measures import Adjacencies, RequestCounts
from testbed.analysis.multicast import hears
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.record.plan import Stream
from testbed.runner.execute import run_key
from testbed.runner.experiment import KEYINGS, Measures, Table, find, names
from testbed.runner.simulated import Simulated
from testbed.runner.summarise import distribution
from testbed.topology.load import load

UP = Adjacencies(8, 8)

ROOT = Path(__file__).resolve().parents[3]


TOO_SMALL = {
    ("revocation", "lan:3"): "removal would cut",
    ("revocation", "line:2"): "removal would cut",
    ("partition", "lan:3"): "two connected halves",
    ("partition", "line:2"): "two connected halves",
    **{("sub_region", topology): "no border between" for topology in ("lan:3", "line:2")},
    **{("new_neighbor", topology): "stays connected without" for topology in ("lan:3", "line:2", "ring:20")},
    **{("intruder", topology): "no LAN of three" for topology in ("abilene", "lan:3", "line:2", "ring:20")},
}
"""What an experiment refuses, and with which words: networks with too few routers, or without the segments it needs."""


@pytest.mark.parametrize("name", [name for name in names() if not isinstance(find(name), Simulated)])
@pytest.mark.parametrize("topology", ["abilene", "lan:3", "line:2", "ring:20"])
def test_every_experiment_makes_a_plan_that_can_be_played_or_says_what_it_lacks(name: str, topology: str) -> None:
    experiment = find(name)
    if (name, topology) in TOO_SMALL:
        with pytest.raises(InputError, match=TOO_SMALL[name, topology]):
            experiment.plan(load(topology), "lks", 1, {})
        return
    plan = experiment.plan(load(topology), "lks", 1, {})
    check_plan(plan)
    assert max(step.at_s for step in plan.timeline) < plan.duration_s
    assert experiment.question and experiment.method and set(experiment.keyings) <= set(KEYINGS)


def test_all_keying_modes_of_a_seed_have_one_timeline_and_seeds_differ() -> None:
    experiment, ring = find("link_cut"), load("ring")
    plans = [experiment.plan(ring, keying, 3, {}) for keying in experiment.keyings]
    assert all(plan.timeline == plans[0].timeline for plan in plans)
    assert experiment.plan(ring, "lks", 4, {}).timeline != plans[0].timeline


def test_the_example_of_the_documentation_is_an_experiment(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "your-experiment.md").read_text()
    (example,) = re.findall(r"<!-- tested: my_experiment.py -->\n```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_experiment.py").write_text(example)
    experiment = find(str(tmp_path / "my_experiment.py"))
    check_plan(experiment.plan(load(experiment.topology), "lks", 1, {}))
    assert experiment.judge(Table({"lks": [Measures(None, Adjacencies(8, 6))]}))[0].ok is False


def test_the_example_with_a_stream_and_a_probe_is_an_experiment(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "your-experiment.md").read_text()
    (example,) = re.findall(r"<!-- tested: my_stream.py -->\n```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_stream.py").write_text(example)
    experiment = find(str(tmp_path / "my_stream.py"))
    plan = experiment.plan(load(experiment.topology), "lks", 1, {})
    check_plan(plan)
    assert plan.streams and plan.flows
    heard = {mode: [Measures(1.0, extra={hears(experiment.begin): 1.0})] for mode in ("none", "lks")}
    assert [each.ok for each in experiment.judge(Table(heard))] == [True]


def test_the_documentation_names_every_experiment_and_every_keying_mode() -> None:
    page = (ROOT / "docs" / "experiments.md").read_text()
    assert all(f"`{name}`" in page for name in (*names(), *KEYINGS))


@pytest.mark.parametrize(
    ("text", "told"),
    [("x = 1\n", "0 experiments"), ("raise ValueError('oh')\n", "ValueError: oh"), ("def broken(:\n", "SyntaxError")],
)
def test_a_file_that_holds_no_experiment_is_refused_with_its_name(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError, match=told) as raised:
        find(str(tmp_path / "mine.py"))
    assert "mine.py" in str(raised.value.where)


def test_a_file_may_define_dataclasses_of_its_own(tmp_path: Path) -> None:
    words = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    words += "@dataclass\nclass Note:\n    text: str\n"
    storm = (ROOT / "experiments" / "power_cycle.py").read_text().replace("from __future__ import annotations\n", "")
    (tmp_path / "mine.py").write_text(words + storm)
    assert find(str(tmp_path / "mine.py")).name == "power_cycle"


def test_an_option_that_nobody_reads_is_refused() -> None:
    with pytest.raises(InputError, match="boot_jiter_s") as raised:
        find("power_cycle").plan(load("ring"), "lks", 1, {"boot_jiter_s": 5})
    assert "boot_jitter_s" in str(raised.value.allowed)


def test_a_network_with_ospfv3_alone_is_planned_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "six.yaml").write_text("links: [a-b, b-c, c-d, d-a]\nospf: {versions: [3]}\n")
    six = load(str(tmp_path / "six.yaml"))
    assert find("power_cycle").plan(six, "lks", 1, {}).topology.family == 6


def test_routers_with_long_timers_get_the_time_to_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.yaml").write_text("links: [a-b, b-c, c-a]\nospf: {hello: 30, dead: 120}\n")
    slow = load(str(tmp_path / "slow.yaml"))
    experiment = find("link_cut")
    plan = experiment.plan(slow, "none", 1, {})
    at_s = {each.args["name"]: each.at_s for each in plan.timeline if "name" in each.args}
    assert at_s["heal blackhole"] - at_s["cut blackhole"] > slow.ospf.dead_s
    stream = Stream(name="a", source="a", group="239.1.1.1", receivers=("b",), rate_pps=1, since_s=5, until_s=50)
    monkeypatch.setattr(experiment, "streams", lambda _topology: [stream])
    (longer,) = experiment.plan(slow, "none", 1, {}).streams
    assert (longer.since_s, longer.until_s) == (15, 150)
    assert plan.flows[0].stop_s is not None and at_s["heal blackhole"] < plan.flows[0].stop_s < plan.duration_s
    check_plan(plan)


def test_a_run_is_known_by_everything_that_decides_its_result() -> None:
    experiment, ring = find("link_cut"), load("ring")
    plan = experiment.plan(ring, "lks", 1, {})
    keys = {
        run_key(plan, "virtual", "code"),
        run_key(plan, "uml", "code"),
        run_key(plan, "virtual", "other code"),
        run_key(experiment.plan(ring, "lks", 2, {}), "virtual", "code"),
        run_key(experiment.plan(ring, "none", 1, {}), "virtual", "code"),
        run_key(experiment.plan(ring, "lks", 1, {"retained_mib": 9}), "virtual", "code"),
    }
    assert len(keys) == 6
    assert run_key(experiment.plan(ring, "lks", 1, {}), "virtual", "code") in keys


def test_the_storm_fails_when_an_adjacency_is_missing_or_the_dks_is_asked_early_or_it_is_slow() -> None:
    storm = find("recovery_storm")
    none = [Measures(10.0, UP)] * 3

    def verdicts(lks: Measures) -> list[bool]:
        return [each.ok for each in storm.judge(Table({"none": none, "lks": [lks] * 3}))]

    assert verdicts(Measures(11.0, UP)) == [True, True, True]
    assert verdicts(Measures(11.0, Adjacencies(8, 7))) == [False, True, True]
    assert verdicts(Measures(11.0, UP, RequestCounts(5, 5, 1))) == [True, False, True]
    assert verdicts(Measures(11.1, UP)) == [True, True, False]
    assert verdicts(Measures(None, UP)) == [True, True, False]


def test_recovery_is_judged_by_the_upper_end_of_the_interval_of_what_each_seed_took_longer() -> None:
    storm = find("recovery_storm")

    def ok(lks: list[float | None], none: list[float | None]) -> bool:
        spans = {"lks": lks, "none": none}
        table = Table({name: [Measures(x, 8, 8) for x in each] for name, each in spans.items()})
        (found,) = storm.as_fast(table, "lks")
        return found.ok

    assert ok([10.0, 10.5, 10.9], [10.0, 10.0, 10.0])
    assert not ok([10.0, 10.0, 12.0], [10.0, 10.0, 10.0]), "the median is 1.0, but its interval goes up to 1.2"
    assert ok([30.1, 10.1, 20.1], [30.0, 10.0, 20.0]), "seeds differ, and each took 0.1 s longer"
    assert not ok([30.1, 10.1, 20.1], [10.0, 20.0, 30.0, 20.0]), "not of the same seeds: the runs' own spread counts"
    assert ok([10.5], [10.0]) and not ok([11.5], [10.0]), "one seed has no interval"
    assert not ok([10.0, None, 10.0], [10.0, 10.0, 10.0])


def test_a_run_that_never_converged_is_counted_and_is_in_no_median() -> None:
    shape = distribution([3.0, None, 1.0])
    assert (shape["median"], shape["n"], shape["values"]) == (2.0, 3, [3.0, None, 1.0])
    assert distribution([])["median"] is None
    assert Table({"lks": [Measures(1.0, UP), Measures(None, UP)]}).median_s("lks") is None


def test_a_ratio_to_what_took_no_time_is_none() -> None:
    table = Table(
        {
            "none": [Measures(1.0, Adjacencies(0, 0), extra={"x, s": 0.0})],
            "lks": [Measures(1.0, Adjacencies(0, 0), extra={"x, s": 0.0})],
        }
    )
    assert table.ratio("lks", "x, s") is None and table.ratio("lks") == 1.0
