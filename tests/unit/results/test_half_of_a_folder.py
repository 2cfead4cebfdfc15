# ruff: noqa: E501 (rows of tables stay rows)
"""Half of a folder: what is missing, damaged, older or changed is named by file and line, and the rest is done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from testbed.cli import calibrate, compare, decode, replay, report, reproduce
from testbed.errors import LabError
from testbed.record.plan import Plan
from testbed.runner import execute
from testbed.runner.calibrate import plans
from testbed.runner.execute import Outcome
from tests.unit.results import made
from tests.unit.results.made import KEY_LINE, capture

VERBS: dict[str, Any] = {
    "report": report, "compare": compare, "replay": replay, "decode": decode, "reproduce": reproduce,
    "calibrate": calibrate,
}  # fmt: skip
LKS, NONE = "lks-2-0123456789ab", "none-1-0123456789ab"


class Done(NamedTuple):
    code: int
    out: str
    err: str


def lab(verb: str, *words: object) -> Done:
    """One verb as the program runs it. What is raised and is no error for a person fails the test."""
    app = typer.Typer()
    VERBS[verb].register(app)
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    if isinstance(result.exception, LabError):
        return Done(result.exception.exit_code, result.stdout, result.stderr + str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def edited(path: Path, change: Callable[[Any], None]) -> None:
    kept = json.loads(path.read_text())
    change(kept)
    path.write_text(json.dumps(kept, indent=1))


def cut(path: Path, keep: float = 0.5) -> None:
    octets = path.read_bytes()
    path.write_bytes(octets[: int(len(octets) * keep)])


def line(path: Path, number: int, text: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    lines[number - 1] = text
    path.write_text("".join(lines))


def rename(path: Path, name: str, key: str, value: Any) -> None:
    edited(path / name, lambda kept: kept.update({key: value}))


def whole_lines(path: Path, keep: int) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:keep]))


def as_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


# what is done to the run lks-2 → what `lab report` says of it, and whether it is still measured
OF_A_RUN: dict[str, tuple[Callable[[Path], Any], str, bool]] = {
    "removed": (shutil.rmtree, f"runs/{LKS}: the run is missing", False),
    "a file where its folder should be": (as_a_file, f"runs/{LKS}: the run is missing", False),
    "outcome removed": (lambda run: (run / "outcome.json").unlink(), "outcome.json: is missing", True),
    "outcome cut": (lambda run: cut(run / "outcome.json"), "outcome.json:1:", True),
    "manifest removed": (lambda run: (run / "manifest.json").unlink(), "manifest.json: is missing: changes", True),
    "manifest cut": (lambda run: cut(run / "manifest.json"), "manifest.json:", True),
    "manifest of a later format": (lambda run: rename(run, "manifest.json", "format", 9), "of format 9", True),
    "manifest of hashes that are none": (lambda run: rename(run, "manifest.json", "sha256", [1]), "manifest.json:", True),
    "origin removed": (lambda run: (run / "origin.json").unlink(), "", True),
    "origin cut": (lambda run: cut(run / "origin.json"), "", True),
    "plan removed": (lambda run: (run / "plan.json").unlink(), "plan.json: lks, seed 2, cannot be measured: is missing", False),
    "plan cut": (lambda run: cut(run / "plan.json"), "cannot be measured: is truncated", False),
    "plan changed": (lambda run: rename(run, "plan.json", "duration_s", 999.0), "plan.json: was changed since the run", True),
    "plan with a key that is none": (lambda run: rename(run, "plan.json", "no_such", 1), "plan.json:", False),
    "plan of another mode": (lambda run: rename(run, "plan.json", "keying", "none"), "plan.json: lks, seed 2, cannot be measured: is of power_cycle, none, seed 2", False),
    "record removed": (lambda run: (run / "record.jsonl").unlink(), "the record is missing", False),
    "record empty": (lambda run: (run / "record.jsonl").write_text(""), "the record is empty", False),
    "record cut in a line": (lambda run: cut(run / "record.jsonl"), "a damaged line, truncated", False),
    "record cut between lines": (lambda run: whole_lines(run / "record.jsonl", 9), "record.jsonl:9: lks, seed 2, cannot be measured: the record is truncated", False),
    "a line of rubbish": (lambda run: line(run / "record.jsonl", 4, "rubbish\n"), "record.jsonl:4: lks, seed 2, cannot be measured: a damaged line", False),
    "a line of a later format": (lambda run: line(run / "record.jsonl", 1, '{"v": 2}\n'), "record.jsonl:1:", False),
    "a line without what its kind has": (lambda run: line(run / "record.jsonl", 15, '{"t":175000000000,"node":"r1","source":"route","kind":"add"}\n'), "record.jsonl:15: lks, seed 2, cannot be measured: a damaged line: the event has no 'dst'", False),
    "a line with an address that is none": (lambda run: line(run / "record.jsonl", 15, '{"t":175000000000,"node":"r1","source":"route","kind":"add","dst":"1.2.3.x/3","nexthops":[]}\n'), "cannot be measured: measure() raised ValueError", False),
    "lines in another order": (lambda run: line(run / "record.jsonl", 9, '{"t":1,"node":"r1","source":"lab","kind":"x"}\n'), "time runs backwards", False),
    "octets that are no text": (lambda run: (run / "record.jsonl").write_bytes(b"\xff\xfe\n"), "record.jsonl:1:", False),
    "record changed": (lambda run: line(run / "record.jsonl", 1, '{"t":1,"node":"lab","source":"lab","kind":"ready"}\n'), "record.jsonl: was changed since the run", True),
    "a folder where the record should be": (lambda run: ((run / "record.jsonl").unlink(), (run / "record.jsonl").mkdir()), "cannot be read: Is a directory", False),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_A_RUN)
def test_report_names_what_a_run_lacks_and_measures_the_others(folder: Path, kind: str) -> None:
    damage, said, measured = OF_A_RUN[kind]
    damage(folder / "runs" / LKS)
    done = lab("report", folder)
    assert done.code == 0 and said in done.out
    summary = json.loads((folder / "summary.json").read_text())
    assert [row["n"] for row in summary["keyings"].values()] == [2, 2 if measured else 1]
    assert any(said in flaw for flaw in summary["flaws"]) or not said
    assert summary["ok"] is measured
    assert not said or "Missing, damaged or changed" in (folder / "report.html").read_text()


def test_a_run_that_is_put_back_is_measured_again(folder: Path, tmp_path: Path) -> None:
    (folder / "runs" / LKS).rename(tmp_path / LKS)
    assert "the run is missing" in lab("report", folder).out
    (tmp_path / LKS).rename(folder / "runs" / LKS)
    done = lab("report", folder)
    assert "missing" not in done.out and json.loads((folder / "summary.json").read_text())["flaws"] == []


# what is done to the folder → what `lab report` says of it
OF_A_FOLDER: dict[str, tuple[Callable[[Path], Any], str]] = {
    "summary removed": (lambda at: (at / "summary.json").unlink(), "summary.json: is missing: it is made again from the runs"),
    "summary cut": (lambda at: cut(at / "summary.json"), "is truncated"),
    "summary empty": (lambda at: (at / "summary.json").write_text(""), "summary.json:1:1: is empty"),
    "summary of a later format": (lambda at: rename(at, "summary.json", "format", 99), "is of format 99"),
    "summary with a run elsewhere": (lambda at: edited(at / "summary.json", lambda kept: kept["runs"][0].update(folder="../../etc")), "runs.0.folder is '../../etc'"),
    "summary with a text for a number": (lambda at: edited(at / "summary.json", lambda kept: kept["keyings"]["lks"]["convergence_s"].update(values=["x"])), "keyings.lks.convergence_s.values.0 is 'x'"),
    "summary that is a list": (lambda at: (at / "summary.json").write_text("[]"), "summary.json:1: the whole is []"),
    "summary of another experiment": (lambda at: rename(at, "summary.json", "experiment", "no_such_one"), ""),
    "figures removed": (lambda at: shutil.rmtree(at / "figures"), "report"),
    "calibration cut": (lambda at: (at / "calibration.json").write_text("[{"), "calibration.json:1:3: is truncated"),
    "calibration of other numbers": (lambda at: (at / "calibration.json").write_text('[{"keying": 1}]'), "calibration.json:1: 0."),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_A_FOLDER)
def test_report_does_what_it_can_without_the_rest_of_the_folder(folder: Path, kind: str) -> None:
    damage, said = OF_A_FOLDER[kind]
    damage(folder)
    done = lab("report", folder)
    if kind == "summary of another experiment":
        assert done.code == 2 and "unknown experiment 'no_such_one'" in done.err
        return
    assert done.code == 0 and said in done.out
    summary = json.loads((folder / "summary.json").read_text())
    assert [row["n"] for row in summary["keyings"].values()] == [2, 2] and summary["topology"] == "ring-4"


def test_report_of_a_folder_in_which_nothing_is_left_writes_nothing(folder: Path, tmp_path: Path) -> None:
    before = (folder / "summary.json").read_bytes()
    for path in folder.glob("runs/*/record.jsonl"):
        cut(path)
    done = lab("report", folder)
    assert done.code == 2 and "no run here can be measured" in done.err and "record.jsonl" in done.err
    assert (folder / "summary.json").read_bytes() == before
    shutil.rmtree(folder / "runs")
    assert lab("report", folder).code == 2 and (folder / "summary.json").read_bytes() == before
    assert lab("report", tmp_path / "nothing").code == 2 and not (tmp_path / "nothing").exists()
    assert lab("report", folder / "summary.json").code == 2


def test_a_folder_with_a_file_where_figures_should_be_cannot_be_written(folder: Path) -> None:
    as_a_file(folder / "figures")
    done = lab("report", folder)
    assert done.code == 2 and "figures: cannot be written" in done.err


# -- compare


@pytest.fixture
def other(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "other")
    return tmp_path / "other"


def test_a_mode_that_one_of_two_lacks_is_absent_there_and_never_means_something_else(folder: Path, other: Path) -> None:
    edited(other / "summary.json", lambda kept: kept["keyings"].pop("lks"))
    done = lab("compare", folder, other)
    # No kernel made these records, so that no tree ever was right in them.
    kept = "\n".join(line for line in done.out.splitlines() if "trees right" not in line)
    assert done.code == 0 and "never" not in kept.replace("never: it did not happen", "")
    row = next(each for each in done.out.splitlines() if "lks" in each)
    assert "every measure" in row and "- → -" in row and "absent in the second" in row
    assert "absent in the first" in lab("compare", other, folder).out


def test_a_measure_that_one_of_two_lacks_is_absent_and_a_zero_is_a_number(folder: Path, other: Path) -> None:
    edited(other / "summary.json", lambda kept: kept["keyings"]["lks"]["extra"].popitem())
    edited(folder / "summary.json", lambda kept: kept["keyings"]["lks"]["dks_requests"].update(total=[7, 7]))
    out = lab("compare", folder, other).out.splitlines()
    assert any("absent in the second" in each and "→ -" in each for each in out)
    assert any("DKS requests" in each and "7 → 0" in each for each in out)


@pytest.mark.parametrize("kind", ["summary removed", "summary cut", "summary of a later format", "summary that is a list",
                                  "summary with a text for a number"])  # fmt: skip
def test_compare_names_the_summary_that_cannot_be_read(folder: Path, other: Path, kind: str) -> None:
    damage, said = OF_A_FOLDER[kind]
    damage(other)
    done = lab("compare", folder, other)
    assert done.code == 2 and str(other / "summary.json") in done.err and said.split(": what")[0][:20] in done.err
    assert f"lab report {other}" in done.err


def test_compare_refuses_another_experiment_and_tells_of_another_topology(folder: Path, other: Path) -> None:
    rename(other, "summary.json", "topology", "abilene")
    done = lab("compare", folder, other)
    assert done.code == 0 and "topology: ring-4 → abilene" in done.out
    rename(other, "summary.json", "experiment", "link_cut")
    assert lab("compare", folder, other).code == 2


def test_compare_reads_a_summary_that_has_no_format_yet_and_one_of_a_few_keys(folder: Path, other: Path) -> None:
    edited(other / "summary.json", lambda kept: [kept.pop(key) for key in ("format", "measured", "provenance", "runs")])
    assert lab("compare", folder, other).code == 0


# -- replay, calibrate


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run played again leaves what the run of that mode and seed in the folder of the plans left."""

    def play(plans: list[Plan], folder: Path, *_words: Any, **_more: Any) -> list[Outcome]:
        found = []
        for plan in plans:
            own = made.run(folder, plan.keying, plan.seed)
            found.append(Outcome(plan.keying, plan.seed, own, "done", 1.0, 1.0))
        return found

    monkeypatch.setattr(execute, "play", play)
    monkeypatch.setattr("testbed.setup.all.make_all", lambda kernel: None)
    monkeypatch.setattr("testbed.record.origin.here", lambda kind, code: execute.origin.Origin(kind, "k", "t", "c"))


@pytest.mark.usefixtures("played")
def test_replay_tells_what_cannot_be_played_and_plays_the_others(folder: Path) -> None:
    assert lab("replay", folder).code == 0
    (folder / "runs" / LKS / "plan.json").unlink()
    cut(folder / "runs" / NONE / "record.jsonl")
    done = lab("replay", folder)
    assert done.code == 1 and f"{LKS}: could not be played again" in done.out and "plan.json: " in done.out
    assert f"{NONE}: differs" in done.out and done.out.count("identical") == 2
    assert "record.jsonl: was changed since the run" in done.out


@pytest.mark.usefixtures("played")
def test_replay_says_that_a_plan_was_changed(folder: Path) -> None:
    rename(folder / "runs" / LKS, "plan.json", "duration_s", 271.0)
    done = lab("replay", folder / "runs" / LKS)
    assert "note: plan.json: was changed since the run" in done.out


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("kind", ["plan removed", "plan cut", "record removed", "plan with a key that is none"])
def test_replay_of_a_run_without_plan_or_record_is_bad_input(folder: Path, kind: str) -> None:
    damage, _said, _ = OF_A_RUN[kind]
    damage(folder / "runs" / LKS)
    done = lab("replay", folder / "runs" / LKS)
    assert done.code == 2 and LKS in done.err
    for other in folder.glob("runs/*"):
        shutil.rmtree(other) if other.name != LKS else None
    assert lab("replay", folder).code == 2
    assert lab("replay", folder / "figures").code == 2


def test_calibrate_leaves_damaged_runs_out_and_says_so(folder: Path) -> None:
    cut(folder / "runs" / LKS / "record.jsonl")
    (folder / "runs" / NONE / "plan.json").unlink()
    flaws: list[Any] = []
    assert len(plans(folder, (), None, flaws)) == 2
    assert [LKS in str(flaw.where) or NONE in str(flaw.where) for flaw in flaws] == [True, True]


# -- run and sweep into a folder that is there


def test_a_run_that_is_whole_is_kept_and_a_damaged_one_is_put_aside_and_played_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = folder / "runs" / LKS
    assert execute.kept(own) is not None and capsys.readouterr().err == ""
    text = (own / "record.jsonl").read_text()
    line(own / "record.jsonl", 1, "rubbish\n")
    assert execute.kept(own) is None and not own.exists()
    assert (folder / "damaged" / LKS / "record.jsonl").read_text() != text
    assert f"{LKS}/record.jsonl: was changed since the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "kind", [kind for kind in OF_A_RUN if kind.split()[0] in ("plan", "record", "manifest", "outcome")]
)
def test_no_run_is_taken_for_done_that_is_not_as_it_was(folder: Path, kind: str) -> None:
    OF_A_RUN[kind][0](folder / "runs" / LKS)
    assert execute.kept(folder / "runs" / LKS) is None


def test_results_of_another_experiment_are_not_written_over(folder: Path) -> None:
    from testbed.errors import InputError
    from testbed.runner import session

    with pytest.raises(InputError, match="holds results of power_cycle"):
        session.run(session.Request("link_cut", topology="ring:4", keyings=("none",), seeds=(1,), out=folder), print)


# -- reproduce, decode


def test_reproduce_names_the_summaries_that_cannot_be_read_and_does_the_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = tmp_path / "reference"
    for name in ("good", "cut", "bare", "command"):
        shutil.copytree(folder, reference / name)
    cut(reference / "cut" / "summary.json")
    (reference / "bare" / "summary.json").unlink()
    rename(reference / "command", "summary.json", "command", "./lab clean --all")
    asked: list[str] = []

    def again(name: str, summary: Any, out: Path) -> Any:
        from testbed.analysis.equal_numbers import numbers
        from testbed.runner.reproduce import Reproduced

        asked.append(name)
        return Reproduced(name, summary["command"], numbers(summary, summary), [], [], 1.0, 1.0)

    monkeypatch.setattr("testbed.runner.reproduce.reproduce", again)
    monkeypatch.setattr("testbed.setup.all.make_all", lambda kernel: None)
    done = lab("reproduce", "--results", reference, "--out", tmp_path / "out")
    assert done.code == 1 and asked == ["good"]
    assert all(f"{name}/summary.json" in done.err for name in ("cut", "bare", "command"))
    done = lab("reproduce", "cut", "--results", reference)
    assert done.code == 2 and asked == ["good"] and "is truncated" in done.err


def test_a_capture_that_is_cut_is_decoded_up_to_there(tmp_path: Path) -> None:
    path = capture(tmp_path / "x.pcap")
    whole = lab("decode", path)
    assert whole.code == 0 and whole.out.count("IKE_SA_INIT") == 2 and whole.err == ""
    path.write_bytes(path.read_bytes()[:-5])
    done = lab("decode", path)
    assert done.code == 0 and done.out.count("IKE_SA_INIT") == 1
    assert done.err == f"lab: {path}: truncated at octet {path.stat().st_size}, in the middle of a packet\n"
    assert json.loads(lab("decode", path, "--json").out)["flaws"]
    path.write_bytes(path.read_bytes()[:20])
    assert lab("decode", path).code == 2


def test_rubbish_among_keys_is_left_out_by_line_and_a_file_of_rubbish_is_refused(tmp_path: Path) -> None:
    path, keys = capture(tmp_path / "x.pcap"), tmp_path / "keys"
    keys.write_text("rubbish\n" + KEY_LINE)
    done = lab("decode", path, "--keys", keys)
    assert done.code == 0 and f"{keys}:1: " in done.err and "is skipped" in done.err
    keys.write_bytes(bytes(range(256)))
    done = lab("decode", path, "--keys", keys)
    assert done.code == 2 and f"{keys}:1" in done.err
    assert lab("decode", path, "--keys", tmp_path / "none").code == 2
    assert lab("decode", tmp_path).code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission_are_named(folder: Path) -> None:
    (folder / "runs" / LKS / "record.jsonl").chmod(0)
    assert "record.jsonl" in lab("report", folder).out
    (folder / "summary.json").chmod(0)
    assert "summary.json: cannot be read" in lab("report", folder).out
