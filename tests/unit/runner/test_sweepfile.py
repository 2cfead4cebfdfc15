"""What may stand in a sweep file, and what is said, with its line, of what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.runner import sweepfile
from testbed.setup.paths import PROJECT

GOOD = """\
experiment: recovery_storm
factors:
  topology: ["ring:4", "line:3"]
  keying: [none, lks]
  boot_jitter_s: [0, 2]
seeds: [3, 5]
"""


def read(tmp_path: Path, text: str) -> sweepfile.Sweep:
    (tmp_path / "mine.yaml").write_text(text)
    return sweepfile.read(tmp_path / "mine.yaml")


def test_every_level_meets_every_other_and_every_seed_once(tmp_path: Path) -> None:
    sweep = read(tmp_path, GOOD)
    assert sweep.factors == ("topology", "keying", "boot_jitter_s")
    assert len(sweep.cells) == 2 * 2 * 2 * 2
    assert len({(*cell.levels.values(), cell.seed) for cell in sweep.cells}) == 16
    for cell in sweep.cells:
        assert cell.plan.topology.name == cell.levels["topology"].replace(":", "-")
        assert cell.plan.keying == cell.levels["keying"] and cell.plan.seed == cell.seed
        assert cell.plan.options.boot_jitter_s == cell.levels["boot_jitter_s"]


def test_what_is_not_said_is_the_experiments_own(tmp_path: Path) -> None:
    sweep = read(tmp_path, "experiment: power_cycle\nseeds: 2\n")
    assert {cell.levels["topology"] for cell in sweep.cells} == {"abilene"}
    assert [cell.seed for cell in sweep.cells[:2]] == [1, 2]
    assert len(sweep.cells) == 2 * len(sweep.experiment.keyings)


@pytest.mark.parametrize(
    "file", sorted((PROJECT / sweepfile.EXAMPLE).parent.glob("*.yaml")), ids=lambda file: file.stem
)
def test_every_sweep_that_comes_along_can_be_played(file: Path) -> None:
    for cell in sweepfile.read(file).cells:
        check_plan(cell.plan)


def test_the_example_is_a_sweep() -> None:
    assert len(sweepfile.read(PROJECT / sweepfile.EXAMPLE).cells) == 120


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("recovery_storm", "storm_of_recovery", 1, "unknown experiment 'storm_of_recovery'"),
        ("seeds: [3, 5]", "seed: 3", 6, "unknown key 'seed'; did you mean 'seeds'?"),
        ("seeds: [3, 5]", "seeds: none", 6, "'none'"),
        ("seeds: [3, 5]", "seeds: 0", 6, "0"),
        ('"line:3"]', '"line:x"]', 3, "line:x"),
        ('"line:3"]', '"nowhere"]', 3, "unknown topology 'nowhere'"),
        ('"line:3"]', "7]", 3, "7 is not a topology"),
        ("[none, lks]", "[none, magic]", 4, "unknown keying mode 'magic'"),
        ("[none, lks]", "[none, none]", 4, "level 'none' is given twice"),
        ("[none, lks]", "[]", 4, "[]"),
        ("boot_jitter_s: [0, 2]", "bot_jitter_s: [0, 2]", 5, "unknown factor 'bot_jitter_s'"),
        ("seeds: [3, 5]", "options: {boot_jitter_s: 1}", 6, "is both an option of every run and a factor"),
        ("experiment: recovery_storm\n", "", 1, "the key 'experiment' is missing"),
        ("seeds: [3, 5]", "kernel: hurd", 6, "'hurd'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, told: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    first = caught.value.lines()[0]
    assert f"mine.yaml:{line}:" in first and told in first


def test_too_many_runs_are_refused_before_anything_is_started(tmp_path: Path) -> None:
    levels = ", ".join(map(str, range(1000)))
    with pytest.raises(InputError, match="5000000 runs"):
        read(tmp_path, f"experiment: recovery_storm\nfactors: {{boot_jitter_s: [{levels}]}}\nseeds: 1000\n")


def test_what_of_a_topology_will_not_come_up_is_told_before_the_first_run(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("links: [{between: [a, b], loss: 100%}, b-c, c-a]\n")
    text = f"experiment: power_cycle\nfactors: {{topology: ['ring:4', '{tmp_path / 'odd.yaml'}']}}\nseeds: 1\n"
    (caution,) = read(tmp_path, text).cautions
    assert caution.line().startswith(f"{tmp_path / 'odd.yaml'}:1:9: warning: a--b: loses every packet")


@pytest.mark.parametrize(
    ("wrong", "right"), [("topolgy", "topology"), ("keyin", "keying"), ("boot_jiter_s", "boot_jitter_s")]
)
def test_a_factor_that_is_misspelt_is_told_what_it_probably_is(wrong: str, right: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"unknown factor '{wrong}'; did you mean '{right}'") as caught:
        read(tmp_path, GOOD.replace(f"  {right}:", f"  {wrong}:"))
    assert str(caught.value.allowed).startswith("topology, keying, ")
