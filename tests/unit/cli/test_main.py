"""The program as a person starts it: exit codes, errors in four parts, and what ./lab makes for which verb."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from types import ModuleType

import pytest

from testbed.setup.paths import PROJECT


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-m", "testbed.cli", *words], env=environment, text=True, capture_output=True, check=False
    )


@pytest.mark.parametrize("words", [["no-such-verb"], ["doctor", "--no-such-option"], ["setup", "--kernel", "xen"]])
def test_bad_usage_leaves_with_2_and_says_what_is_wrong(words: list[str]) -> None:
    done = lab(*words)
    assert done.returncode == 2
    assert words[-1] in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_names_what_is_allowed() -> None:
    assert lab("setup", "--kernel", "xen").stderr.splitlines() == [
        "lab: --kernel: unknown kernel 'xen'",
        "lab:   allowed: virtual, uml, native",
    ]


def test_an_error_for_a_program_is_json_with_the_same_parts() -> None:
    done = lab("run", "no_such_experiment", "--json")
    assert done.returncode == 2
    assert set(json.loads(done.stdout)["error"]) == {"problem", "where", "allowed", "next_command"}


def test_help_names_the_program_and_its_verbs() -> None:
    done = lab("--help")
    assert done.returncode == 0
    assert "Usage: lab" in done.stdout
    for verb in ("run", "test", "setup", "doctor", "clean", "validate"):
        assert verb in done.stdout


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    """./lab as a module; it starts nothing unless it is the program."""
    loader = importlib.machinery.SourceFileLoader("bootstrap", str(PROJECT / "lab"))
    spec = importlib.util.spec_from_loader("bootstrap", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("words", "kernel"),
    [
        (["run", "recovery_storm"], "virtual"),
        (["run", "link_cut", "--kernel", "uml"], "uml"),
        (["setup", "--kernel=native"], "native"),
        (["test"], "virtual"),
        (["test", "--unit"], None),
        (["run", "--help"], None),
        (["validate", "ring:4"], None),
        (["doctor"], None),
        ([], None),
    ],
)
def test_only_verbs_that_boot_guests_make_more_than_the_python_environment(
    bootstrap: ModuleType, words: list[str], kernel: str | None
) -> None:
    assert bootstrap.wanted_kernel(words) == kernel


def test_an_old_python_is_replaced_by_a_newer_one_of_the_machine(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "python3.12" else None)
    monkeypatch.setattr(bootstrap.os, "execv", lambda program, words: started.append(program))
    assert not bootstrap.python_is_new_enough()
    assert started == ["/usr/bin/python3.12"]
