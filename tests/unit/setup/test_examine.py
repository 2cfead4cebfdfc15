"""`lab doctor` says what is there, what is missing and what to do, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from testbed.cli import clean, doctor
from testbed.owned import claim
from testbed.setup import examine, host_packages, kernel, python_env, tree


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache on a machine with all packages."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(host_packages, "missing", lambda packages: [])
    monkeypatch.setattr(examine.native, "lacking", lambda root: ["ESP"])
    return tmp_path / "cache"


def run(*words: str):
    app = typer.Typer()
    app.callback()(lambda: None)
    doctor.register(app)
    clean.register(app)
    return CliRunner().invoke(app, list(words))


def state_of(what: str) -> examine.Finding:
    return next(finding for finding in examine.examine() if finding.what == what)


def test_what_is_not_made_is_missing_with_the_command_that_makes_it(machine: Path) -> None:
    for artefact in (python_env.venv(), tree.tree(), kernel.kernel()):
        finding = state_of(artefact.kind)
        assert (finding.state, finding.remedy) == ("missing", "./lab setup makes it")
    assert not machine.exists()


def test_what_is_made_is_there_with_its_folder() -> None:
    tree.tree().path.mkdir(parents=True)
    assert state_of("guest-tree") == examine.Finding("guest-tree", "ok", str(tree.tree().path))


def test_packages_that_this_user_may_not_install_are_bad_and_the_command_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_packages, "missing", lambda packages: ["flex", "bison"])
    monkeypatch.setattr(host_packages, "may_install", lambda: False)
    finding = state_of("Debian packages for setup")
    assert (finding.state, finding.remedy) == ("bad", "sudo apt-get install flex bison")


def test_too_little_room_is_bad_and_says_how_much_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine.shutil, "disk_usage", lambda folder: type("usage", (), {"free": 2**30}))
    finding = state_of("cache")
    assert finding.state == "bad" and "1024 MiB free" in finding.detail and "LAB_CACHE" in finding.remedy


def test_a_leftover_is_named_and_cleaned_but_never_what_is_whole(machine: Path) -> None:
    part = machine / "guest-tree-abc.1.part"
    claim(part, "")
    tree.tree().path.mkdir()
    assert state_of("leftover of a killed build").detail == str(part)
    assert run("clean").output == f"removed {part}\n"
    assert not part.exists() and tree.tree().path.exists()
    assert run("clean").output == "nothing to remove\n"


def test_cleaning_the_cache_spares_only_the_environment_that_runs(machine: Path) -> None:
    for artefact in (tree.tree(), kernel.kernel(), python_env.venv()):
        claim(artefact.path, "")
    assert run("clean", "--cache").exit_code == 0
    assert {path.name for path in machine.iterdir()} <= {python_env.venv().name, "locks"}


def test_the_answer_for_a_program_has_the_same_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(run("doctor", "--json").output)
    assert [finding["what"] for finding in told] == [finding.what for finding in examine.examine()]
    assert set(told[0]) == {"what", "state", "detail", "remedy"}


def test_doctor_leaves_with_3_only_when_a_person_must_act(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_examine := examine, "examine", lambda: [examine.Finding("x", "missing", "")])
    assert run("doctor").exit_code == 0
    monkeypatch.setattr(doctor_examine, "examine", lambda: [examine.Finding("x", "bad", "", "do this")])
    result = run("doctor")
    assert result.exit_code == 3 and "→ do this" in result.output


def test_layers_and_the_tests_tree_are_named_and_nobody_has_to_act_for_them() -> None:
    claim(python_env.layer("sweep").path, "")
    layers = state_of("Python layers")
    assert layers.state == "ok" and str(python_env.layer("sweep").path) in layers.detail
    assert (
        "not made: grid, models, fuzz, docs, metrics, package, test; the verbs that need them add them" in layers.detail
    )
    assert state_of("guest-tree-tests").detail.startswith("not made: only ./lab test")
