"""What a user's experiment raises or returns wrongly is told with his file, his line and the method; runs stay."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import InputError, Interrupted, LabError, parts
from testbed.runner import answers, execute, session, simulated, sweep, sweepfile
from testbed.runner.execute import MEASURE_AGAIN, Outcome, first_problem
from testbed.runner.experiment import Experiment, Table, find, step
from testbed.runner.hosted import hosted
from testbed.runner.played import played
from testbed.setup.paths import PROJECT
from testbed.topology.load import load

RING = load("ring:4")
HEAD = """\
import sys
from testbed.record.plan import Flow, Stream
from testbed.runner.experiment import Adjacencies, Criterion, Experiment, Measures, RequestCounts, step
class Mine(Experiment):
    name = "mine"; title = "t"; question = "q"; method = "m"; topology = "ring:4"; keyings = ("none",); seeds = 1
    duration_s = 60.0
"""
GOOD = {
    "timeline": "[step(20, 'mark', name='x')]",
    "flows": "[]",
    "streams": "[]",
    "measure": "Measures(1.0, Adjacencies(8, 8))",
    "judge": "[Criterion('none', 'holds', '1', True)]",
    "findings": "['found']",
    "draw": "[]",
}
ARGUMENTS = {
    "timeline": "topology, rng", "flows": "topology", "streams": "topology", "measure": "run", "judge": "table",
    "findings": "table", "draw": "folder, runs",
}  # fmt: skip


def write(folder: Path, more: str = "", **answers_: str) -> Path:
    """An experiment's file, with other answers for some methods; "!x" raises x."""
    text = HEAD
    for method, answer in {**GOOD, **answers_}.items():
        body = f"raise {answer[1:]}" if answer.startswith("!") else f"return {answer}"
        text += f"    def {method}(self, {ARGUMENTS[method]}):\n        {body}\n"
    (folder / "mine.py").write_text(text + more)
    return folder / "mine.py"


def line(path: Path, words: str) -> int:
    return next(number for number, text in enumerate(path.read_text().splitlines(), 1) if words in text)


RAISED = [
    ("!ZeroDivisionError('oops')", "raised ZeroDivisionError: oops"),
    ("!SystemExit(0)", "raised SystemExit: 0"),
    ("!RecursionError('deep')", "raised RecursionError: deep"),
    ("!KeyError('k')", "raised KeyError: 'k'"),
    ("!BaseException()", "raised BaseException"),
    ("!type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "raised Odd"),
    ("![]", "raised TypeError: exceptions must derive from BaseException"),
]
CALLS: dict[str, Callable[[Experiment, Path], Any]] = {
    "timeline": lambda mine, _: answers.planned(mine, RING, "none", 1),
    "flows": lambda mine, _: answers.planned(mine, RING, "none", 1),
    "streams": lambda mine, _: answers.planned(mine, RING, "none", 1),
    "measure": lambda mine, _: answers.measured(mine, None),  # type: ignore[arg-type]
    "judge": lambda mine, _: answers.judged(mine, Table({})),
    "findings": lambda mine, _: answers.findings(mine, Table({})),
    "draw": lambda mine, folder: answers.drawn(mine, folder, []),
}
WRONG = {
    "timeline": ["None", "'power_off'", "[None]", "[(5, 'mark')]", "{'a': 1}", "5"],
    "flows": ["None", "[('r1', 'r2')]", "5"],
    "streams": ["None", "['239.1.1.1']", "[Flow(src='r1', dst='r2', rate_pps=1)]"],
    "measure": [
        "None", "1.0", "Measures(float('nan'))", "Measures(float('inf'))", "Measures('1')", "Measures(1.0, (8, 8))",
        "Measures(1.0, Adjacencies(None, 8))", "Measures(1.0, Adjacencies(8, -1))",
        "Measures(1.0, Adjacencies(8, True))", "Measures(1.0, dks=3)", "Measures(1.0, dks=RequestCounts(float('nan')))",
        "Measures(1.0, extra=None)",
        "Measures(1.0, extra={'a': float('nan')})", "Measures(1.0, extra={'a': 'b'})", "Measures(1.0, extra={1: 2})",
    ],
    "judge": ["None", "True", "['ok']", "[Criterion('none', 'a', 5, True)]", "[Criterion('none', 'a', 'b', 'yes')]"],
    "findings": ["None", "'one text'", "[5]"],
    "draw": ["None", "['figure.svg']", "5"],
}  # fmt: skip


@pytest.mark.parametrize(("answer", "said"), RAISED, ids=[said for _, said in RAISED])
@pytest.mark.parametrize("method", GOOD)
def test_what_a_method_raises_is_told_with_file_line_and_method(
    method: str, answer: str, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path, **{method: answer})
    with pytest.raises(LabError) as caught:
        CALLS[method](find(str(path)), tmp_path)
    assert caught.value.lines()[0] == f"{path}:{line(path, 'raise ')}: {method}() {said}"
    assert caught.value.exit_code == (2 if method in ("timeline", "flows", "streams") else 3)


@pytest.mark.parametrize(("method", "answer"), [(method, each) for method, found in WRONG.items() for each in found])
def test_what_a_method_returns_that_is_of_no_use_is_told_in_the_same_way(
    method: str, answer: str, tmp_path: Path
) -> None:
    path = write(tmp_path, **{method: answer})
    with pytest.raises(LabError) as caught:
        CALLS[method](find(str(path)), tmp_path)
    first = caught.value.lines()[0]
    assert first.startswith(f"{path}:{line(path, f'def {method}')}: {method}() returned ") and caught.value.allowed
    assert caught.value.exit_code == (2 if method in ("timeline", "flows", "streams") else 3)


def test_answers_as_they_should_be_pass(tmp_path: Path) -> None:
    mine = find(str(write(tmp_path)))
    for call in CALLS.values():
        call(mine, tmp_path)


GIVEN = [
    ("[Stream('a', 'r1', '239.1.1.1', ['r2'], 5)]", ["streams(): arguments without their names"]),
    (
        "[Stream(name='a', source='r1', group='10.1.1.1', receivers=['r2'], rate_pps='ten', speed=3)]",
        ["Stream: group is '10.1.1.1'", "Stream: rate_pps is 'ten'", "Stream: unknown argument 'speed'"],
    ),
    ("[Flow(src='r1', rate_pps=5)]", ["Flow: dst is missing"]),
]


@pytest.mark.parametrize(("answer", "said"), GIVEN, ids=["by place", "bad values", "missing"])
def test_wrong_arguments_of_a_stream_or_flow_are_told_one_by_one_with_what_is_allowed(
    answer: str, said: list[str], tmp_path: Path
) -> None:
    path = write(tmp_path, streams=answer)
    with pytest.raises(InputError) as caught:
        answers.planned(find(str(path)), RING, "none", 1)
    found = parts(caught.value)
    assert len(found) == len(said)
    for each, words in zip(found, said, strict=True):
        assert words in each.problem and "pydantic" not in str(each) and each.allowed
        assert str(each.where) == f"{path}:{line(path, f'return {answer}')}"


@pytest.mark.parametrize("error", [KeyboardInterrupt, lambda: Interrupted(130), GeneratorExit])
def test_an_interrupt_stays_an_interrupt(error: Callable[[], BaseException]) -> None:
    with pytest.raises(type(error())), hosted("mine.py", "measure()", InputError):
        raise error()


def test_the_line_is_the_users_own_also_when_it_called_something_that_raised(tmp_path: Path) -> None:
    path = write(tmp_path, timeline="topology.routers['nobody'].interface('x')")
    with pytest.raises(InputError, match=r"timeline\(\) raised KeyError: 'nobody'") as caught:
        answers.planned(find(str(path)), RING, "none", 1)
    assert str(caught.value.where) == f"{path}:{line(path, 'nobody')}"


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("import nonsense_module\n", 1, "the file raised ModuleNotFoundError: No module named 'nonsense_module'"),
        ("x = 1\ndef broken(:\n", 2, "the file raised SyntaxError"),
        ("x = 1\n\nimport sys\nsys.exit(0)\n", 4, "the file raised SystemExit: 0"),
        ("def f(): f()\nf()\n", 1, "the file raised RecursionError"),
        ("", None, "holds 0 experiments"),
        (HEAD, None, "holds 0 experiments"),
        (HEAD + HEAD.replace("Mine", "Other"), None, "holds 0 experiments"),
        ("x = '\0'\n", None, "raised"),
        ("raise KeyError\n", 1, "the file raised KeyError"),
    ],
)
def test_a_file_that_is_no_experiment_is_told_with_its_line(
    text: str, where: int | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        find(str(path))
    first = caught.value.lines()[0]
    assert said in first and first.startswith(f"{path}:{where}: " if where else str(path))


def test_two_experiments_in_a_file_are_named_and_a_base_class_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, "class Other(Mine):\n    name = 'other'\n")
    with pytest.raises(InputError, match="holds 2 experiments: Mine, Other"):
        find(str(path))
    text = path.read_text().replace("class Mine", "class Base").replace("(Mine)", "(Base)")
    path.write_text(text.replace("def measure(self, run)", "def other(self, run)") + "    measure = None\n")
    path.write_text(path.read_text().replace("    measure = None", "    def measure(self, run): return None"))
    assert find(str(path)).name == "other"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "mine"', 'name = "../mine"', "name is '../mine'"),
        ('name = "mine"', "name = 5", "name is 5"),
        ('name = "mine"; ', "", "name is None"),
        ('title = "t"; ', "", "title is missing"),
        ('keyings = ("none",)', 'keyings = "none"', "keyings is 'none'"),
        ('keyings = ("none",)', "keyings = ()", "keyings is ()"),
        ("seeds = 1", "seeds = 0", "seeds is 0"),
        ("seeds = 1", "seeds = True", "seeds is True"),
        ("duration_s = 60.0", "duration_s = -1", "duration_s is -1"),
        ("duration_s = 60.0", "duration_s = float('nan')", "duration_s is nan"),
        ("duration_s = 60.0", "duration_s = 1e12", "duration_s is 1000000000000.0"),
        ("duration_s = 60.0", "pass", "duration_s is missing"),
        ("duration_s = 60.0", "duration_s = 60.0; options = None", "options is None"),
        ("duration_s = 60.0", "duration_s = 60.0; topology = 5", "topology is 5"),
    ],
)
def test_what_a_class_does_not_say_of_itself_is_told_with_its_line(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError) as caught:
        find(str(path))
    assert caught.value.lines()[0] == f"{path}:{line(path, 'class Mine')}: {said}" and caught.value.allowed


def test_a_duration_of_zero_and_options_that_are_wrong_are_told_where_the_class_is(tmp_path: Path) -> None:
    path = write(tmp_path)
    text = path.read_text()
    for new, said in (
        ("duration_s = 0", "duration_s is 0"),
        ("duration_s = 60.0; options = {'mode': 'bogus'}; keyings = ('lks',)", "options: mode is 'bogus'"),
    ):
        path.write_text(text.replace("duration_s = 60.0", new))
        with pytest.raises(InputError) as caught:
            answers.planned(find(str(path)), RING, "lks", 1)
        assert caught.value.lines()[0].startswith(f"{path}:{line(path, 'class Mine')}: {said}")


def test_a_plan_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "    def plan(self, *_):\n        return {'keying': 'none'}\n")
    with pytest.raises(InputError, match=r"plan\(\) returned \{'keying': 'none'\}"):
        answers.planned(find(str(path)), RING, "none", 1)
    path = write(tmp_path, "    def plan(self, *_):\n        raise OSError('no')\n")
    with pytest.raises(InputError, match=r"plan\(\) raised OSError: no"):
        answers.planned(find(str(path)), RING, "none", 1)


def test_a_flow_that_cannot_be_is_told_at_the_method_that_gave_it(tmp_path: Path) -> None:
    path = write(tmp_path, flows="[Flow(src='r1', dst='r1', rate_pps=1)]")
    with pytest.raises(InputError) as caught:
        answers.planned(find(str(path)), RING, "none", 1)
    assert caught.value.lines()[0] == f"{path}:{line(path, 'def flows')}: flows[0]: r1 sends to itself"


def test_a_stream_that_cannot_be_is_told_at_the_method_that_gave_it(tmp_path: Path) -> None:
    stream = "Stream(name='a', source='r1', group='239.1.1.1', receivers=['r1'], rate_pps=1)"
    path = write(tmp_path, streams=f"[{stream}]")
    with pytest.raises(InputError) as caught:
        answers.planned(find(str(path)), RING, "none", 1)
    assert f"{path}:{line(path, 'def streams')}: streams[0]: r1 sends to itself" in caught.value.lines()


def finished(folder: Path, mine: Experiment) -> list[Outcome]:
    """A finished run of it, as a guest would have left it."""
    own = folder / "runs" / "none-1-x"
    own.mkdir(parents=True)
    answers.planned(mine, RING, "none", 1).write(own / "plan.json")
    events = [("run_start", 0), ("ready", 1), ("run_end", 60)]
    (own / "record.jsonl").write_text(
        "".join(
            json.dumps({"t": at * 10**9, "node": "lab", "source": "lab", "kind": kind, "status": "done"}) + "\n"
            for kind, at in events
        )
    )
    hashes = {name: hashlib.sha256((own / name).read_bytes()).hexdigest() for name in ("plan.json", "record.jsonl")}
    (own / "manifest.json").write_text(json.dumps({"sha256": hashes}))
    outcome = Outcome("none", 1, own, "done", 1.0, 60.0)
    execute.keep(outcome)
    return [outcome]


ABOUT = {"topology": "ring-4", "routers": 4, "kernel": "virtual", "command": "./lab run mine.py", "seeds": [1],
         "source": None}  # fmt: skip


@pytest.mark.parametrize("method", ["measure", "judge", "findings"])
def test_runs_that_could_not_be_measured_stay_and_are_measured_when_the_file_is_mended(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "provenance", lambda _runs: {})
    path = write(tmp_path, **{method: "!ValueError('oops')"})
    outcomes = finished(tmp_path, find(str(path)))
    with pytest.raises(LabError) as caught:
        played(find(str(path))).conclude(outcomes, ABOUT, tmp_path)
    assert caught.value.exit_code == 3 and f"{path}:{line(path, 'raise')}" in str(caught.value)
    assert f"{method}() raised ValueError: oops" in str(caught.value)
    assert execute.kept(outcomes[0].folder) is not None and not (tmp_path / "summary.json").exists()
    summary = played(find(str(write(tmp_path)))).conclude(outcomes, ABOUT, tmp_path)
    assert summary["ok"] and summary["findings"] == ["found"]


def test_a_figure_that_fails_is_told_in_a_report_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "provenance", lambda _runs: {})
    path = write(tmp_path, draw="!SystemExit(1)")
    summary = played(find(str(path))).conclude(finished(tmp_path, find(str(path))), ABOUT, tmp_path)
    assert any("draw() raised SystemExit: 1" in each and "mine.py:" in each for each in summary["flaws"])


def test_the_same_command_again_is_advised_where_it_can_help_only(tmp_path: Path) -> None:
    def next_command(status: str, kind: str) -> str | None:
        (tmp_path / "origin.json").write_text(json.dumps({"kind": kind, "kernel": "", "tree": "", "code": ""}))
        problem = first_problem([Outcome("lks", 1, tmp_path, status, 1.0, 1.0)])
        assert problem is not None
        return problem.next_command

    assert next_command("no guest", "virtual") == "the same command again: finished runs are kept"
    assert next_command("exit code 1", "uml") == "the same command again: finished runs are kept"
    assert next_command("exit code 1", "virtual") == f"less {tmp_path}/console.log"
    assert next_command("not measured", "virtual") == MEASURE_AGAIN


SIMULATED = """\
from testbed.runner.experiment import Measures
from testbed.runner.simulated import Simulated
class Mine(Simulated):
    name = "mine"; title = "t"; question = "q"; method = "m"; topology = "rings"; keyings = ("lks",); seeds = 1
    module = "testbed.storm"
    def cases(self, request): {cases}
    def read(self, result): {read}
    def figures(self, folder, results): {figures}
"""


@pytest.mark.parametrize(
    "cases", ["raise KeyError('c')", "return None", "return []", "return [1]", "return [('a', 1, {})]",
              "return [('a', 1, {'routers': 1, 'processes': 1, 'x': set()})]"],
)  # fmt: skip
def test_cases_of_a_computed_experiment_that_are_none_are_told_before_anything_is_computed(
    cases: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(SIMULATED.format(cases=cases, read="return None", figures="return []"))
    mine = find(str(path))
    assert isinstance(mine, simulated.Simulated)
    with pytest.raises(InputError) as caught:
        simulated.Computed(mine).prepare(session.Request(str(path), out=tmp_path / "out"), load)
    assert caught.value.lines()[0].startswith(f"{path}:6: cases() ") and not (tmp_path / "out").exists()


@pytest.mark.parametrize("read", ["raise KeyError('r')", "return None", "return Measures(float('nan'))"])
def test_results_of_a_computed_experiment_that_cannot_be_read_are_told_and_stay(read: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(SIMULATED.format(cases="return []", read=read, figures="return []"))
    own = tmp_path / "runs" / "lks-1-x"
    own.mkdir(parents=True)
    (own / "result.json").write_text("{}")
    (own / "cost.json").write_text('{"wall_s": 1, "cpu_s": 1, "peak_mib": 1}')
    mine = find(str(path))
    assert isinstance(mine, simulated.Simulated)
    with pytest.raises(LabError, match=r"read\(\) r") as caught:
        simulated.Computed(mine).conclude([Outcome("lks", 1, own, "done", 1.0, 1.0)], ABOUT, tmp_path, {})
    assert caught.value.exit_code == 3 and f"{path}:7" in str(caught.value) and (own / "result.json").exists()


def test_a_sweep_tells_every_error_of_every_cell_once_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "experiment: recovery_storm\nfactors:\n  topology: ['ring:4', 'nowhere']\n  keying: [none, lks, lsk]\n"
        "  boot_jitter_s: [1, -5, abc, .nan]\n  mode: [clear, bogus]\n  transform: [esp]\n"
    )
    with pytest.raises(InputError) as caught:
        sweepfile.read(tmp_path / "sweep.yaml")
    heads = [each.removeprefix(f"{tmp_path}/") for each in caught.value.lines() if not each.startswith(" ")]
    assert [head.split(":")[1] for head in heads] == ["3", "4", "5", "5", "5", "6", "7"]
    assert len(set(heads)) == len(heads) and "did you mean 'lks'?" in heads[1]


def test_a_sweep_tells_what_is_wrong_with_its_keys_and_with_its_levels_at_once(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "experiment: recovery_storm\nfactors:\n  topology: ['ring:4', 'nowhere']\n  keying: [none, lsk]\n"
        "seeds: 0\nkernel: other\nmore: 1\noptions: {bogus: 1}\n"
    )
    with pytest.raises(InputError) as caught:
        sweepfile.read(tmp_path / "sweep.yaml")
    heads = [each.removeprefix(f"{tmp_path}/") for each in caught.value.lines() if not each.startswith(" ")]
    assert [head.split(":")[1] for head in heads] == ["5", "6", "7", "3", "4", "8"]


def test_all_steps_of_a_timeline_that_are_wrong_are_told_at_once_with_options_and_flows(tmp_path: Path) -> None:
    steps = "[step(1, 'mork'), step('x', 'mark', name='a'), None, step(3, 'link_heal', at='r1--r2'), 7]"
    path = write(tmp_path, timeline=steps, flows="[1]")
    with pytest.raises(InputError) as caught:
        answers.planned(find(str(path)), RING, "none", 1, {"sad": "maybe"})
    said = caught.value.lines()
    for words in (
        "-o sad", "no action 'mork'", "at_s is 'x'", "segment is missing", "unknown argument 'at'",
        "timeline() returned None", "timeline() returned 7", "flows() returned 1",
    ):  # fmt: skip
        assert sum(words in each for each in said) == 1, (words, said)
    assert not any("a step that is wrong" in each for each in said)
    with pytest.raises(InputError, match="no action 'mork'"):
        step(1, "mork")


def test_a_timeline_that_raises_after_a_wrong_step_is_told_with_both(tmp_path: Path) -> None:
    path = write(tmp_path, timeline="[step(1, 'mork'), 1 / 0]")
    with pytest.raises(InputError) as caught:
        answers.planned(find(str(path)), RING, "none", 1)
    said = str(caught.value)
    assert "no action 'mork'" in said and "timeline() raised ZeroDivisionError" in said


def test_a_sweep_over_a_users_experiment_tells_his_line_once(tmp_path: Path) -> None:
    path = write(tmp_path, timeline="!KeyError('mine')")
    (tmp_path / "sweep.yaml").write_text(f"experiment: {path}\nfactors:\n  boot_jitter_s: [1, 2]\nseeds: 5\n")
    with pytest.raises(InputError) as caught:
        sweepfile.read(tmp_path / "sweep.yaml")
    assert [each for each in caught.value.lines() if not each.startswith(" ")] == [
        f"{path}:{line(path, 'raise')}: timeline() raised KeyError: 'mine'"
    ]


def test_a_run_of_a_sweep_that_could_not_be_measured_stays_and_is_only_measured_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep.origin, "here", lambda *_: sweep.origin.Origin("virtual", "", "", ""))
    path = write(tmp_path, measure="!ValueError('oops')")
    (tmp_path / "sweep.yaml").write_text(f"experiment: {path}\nseeds: 1\n")
    out = tmp_path / "out"
    outcomes = finished(out, find(str(path)))
    first = sweep.play(sweepfile.read(tmp_path / "sweep.yaml"), out, lambda *_: outcomes, lambda *_: None)
    (failure,) = first.failures
    assert failure["status"] == "not measured" and f"{path}:{line(path, 'raise')}" in failure["detail"]
    assert (out / failure["folder"] / "record.jsonl").exists() and execute.kept(outcomes[0].folder) is not None
    write(tmp_path)
    again = sweep.play(sweepfile.read(tmp_path / "sweep.yaml"), out, lambda *_: outcomes, lambda *_: None)
    assert not again.failures and again.rows[0]["convergence_s"] == 1.0


@pytest.mark.parametrize("case", ["raise2", "neg", "badnetem"])
def test_a_user_sees_no_traceback_unless_he_asks_for_it(case: str, tmp_path: Path) -> None:
    text = {
        "raise2": "!KeyError('oops')",
        "neg": "[step(-5, 'mark', name='a')]",
        "badnetem": "[step(5, 'link_netem', segment=next(iter(topology.segments)), loss_percent=500)]",
    }[case]
    path = write(tmp_path, timeline=text)
    for debug in ("", "1"):
        done = subprocess.run(
            [sys.executable, "-m", "testbed.cli", "run", str(path), "--out", str(tmp_path / "out")], cwd=PROJECT,
            env={**os.environ, "LAB_DEBUG": debug}, text=True, capture_output=True, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
        assert done.returncode == 2 and f"{path}:" in done.stderr and not (tmp_path / "out").exists()
        assert ("Traceback" in done.stderr) == (debug == "1" and case == "raise2")
