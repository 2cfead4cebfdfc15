"""Experiments are found, described and judged; what is wrong with one is said with its file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.runner.execute import run_key
from testbed.runner.experiment import KEYINGS, Measures, Table, find, names
from testbed.runner.summarise import spread
from testbed.topology.load import load

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("topology", ["abilene", "lan:3", "line:2", "ring:20"])
def test_every_experiment_makes_a_plan_that_can_be_played_on_any_topology(name: str, topology: str) -> None:
    experiment = find(name)
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
    page = (ROOT / "docs" / "experiments.md").read_text()
    (example,) = re.findall(r"<!-- tested: my_experiment.py -->\n```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_experiment.py").write_text(example)
    experiment = find(str(tmp_path / "my_experiment.py"))
    check_plan(experiment.plan(load(experiment.topology), "lks", 1, {}))
    assert experiment.judge(Table({"lks": [Measures(None, 8, 6)]}))[0].ok is False


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


def test_a_run_is_known_by_everything_that_decides_its_result() -> None:
    experiment, ring = find("link_cut"), load("ring")
    plan = experiment.plan(ring, "lks", 1, {})
    keys = {
        run_key(plan, "virtual", "code"),
        run_key(plan, "uml", "code"),
        run_key(plan, "virtual", "other code"),
        run_key(experiment.plan(ring, "lks", 2, {}), "virtual", "code"),
        run_key(experiment.plan(ring, "none", 1, {}), "virtual", "code"),
        run_key(experiment.plan(ring, "lks", 1, {"x": 1}), "virtual", "code"),
    }
    assert len(keys) == 6
    assert run_key(experiment.plan(ring, "lks", 1, {}), "virtual", "code") in keys


def test_the_storm_fails_when_an_adjacency_is_missing_or_the_dks_is_asked_early_or_it_is_slow() -> None:
    storm = find("recovery_storm")
    none = [Measures(10.0, 8, 8)] * 3

    def verdicts(lks: Measures) -> list[bool]:
        return [each.ok for each in storm.judge(Table({"none": none, "lks": [lks] * 3}))]

    assert verdicts(Measures(11.0, 8, 8)) == [True, True, True]
    assert verdicts(Measures(11.0, 8, 7)) == [False, True, True]
    assert verdicts(Measures(11.0, 8, 8, 5, 5, 1)) == [True, False, True]
    assert verdicts(Measures(11.1, 8, 8)) == [True, True, False]
    assert verdicts(Measures(None, 8, 8)) == [True, True, False]


def test_a_run_that_never_converged_is_counted_and_is_in_no_median() -> None:
    shape = spread([3.0, None, 1.0])
    assert (shape["median"], shape["n"], shape["values"]) == (2.0, 3, [3.0, None, 1.0])
    assert spread([])["median"] is None
    assert Table({"lks": [Measures(1.0, 8, 8), Measures(None, 8, 8)]}).median_s("lks") is None
