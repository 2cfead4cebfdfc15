"""Wheels come by uv from where pip takes them, by pip where uv cannot be had, and in layers that verbs add."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.setup import installer, locks, python_env
from testbed.setup.artefact import Artefact

LISTED = """\
:env:.cert='/etc/own.pem'
:env:.find-links='/wheels  http://near/wheels'
:env:.quiet='1'
global.cert='/etc/other.pem'
global.extra-index-url='file:///a/simple\\nfile:///b/simple'
global.index-url='http://near/simple'
install.index-url='http://nearer/simple'
wheel.index-url='http://far/simple'
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run, instead of running it."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    ran: list[list[str]] = []

    def run(argv: list[object], **options: object) -> str:
        ran.append([str(word) for word in argv])
        return LISTED if "config" in ran[-1] else ""

    monkeypatch.setattr(installer, "run", run)
    return ran


def test_the_settings_of_pip_are_uvs_too_the_nearest_word_first() -> None:
    assert installer.translated(LISTED) == {
        "SSL_CERT_FILE": "/etc/own.pem",
        "UV_FIND_LINKS": "/wheels,http://near/wheels",
        "UV_INDEX": "file:///a/simple file:///b/simple",
        "UV_DEFAULT_INDEX": "http://nearer/simple",
    }


def test_what_is_set_for_uv_itself_stands(programs: list[list[str]]) -> None:
    assert "UV_INDEX" not in installer.uv_settings({"UV_INDEX": "http://mine/simple"})


def test_wheels_are_installed_by_uv_with_their_hashes_and_nothing_else(
    programs: list[list[str]], tmp_path: Path
) -> None:
    installer.install(Path("some.txt"), into=tmp_path / "site", what="x", guest=installer.Guest("3.13", ("a", "p_q")))
    words = programs[-1]
    assert words[0].endswith("/uv") and {"--require-hashes", "--no-deps", "--only-binary"} <= set(words)
    assert words[words.index("--python-version") + 1] == "3.13"


def test_without_uv_pip_does_the_same_and_it_is_said(
    programs: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def absent(folder: Path) -> None:
        raise EnvironmentFailure("no matching distribution")

    monkeypatch.setattr(installer, "uv", lambda: Artefact("uv", "k", absent, 1))
    installer.install(Path("some.txt"), into=tmp_path / "site", what="x")
    words = programs[-1]
    assert words[1:4] == ["-m", "pip", "install"] and {"--require-hashes", "--no-deps"} <= set(words)
    assert "uv is not available, so pip installs the packages" in capfd.readouterr().err


def test_a_layer_is_made_once_and_is_there_for_this_process_and_those_it_starts(
    programs: list[list[str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "/project")
    python_env.use("sweep", "grid")
    folders = [str(python_env.layer(name).path) for name in ("sweep", "grid")]
    assert os.environ["PYTHONPATH"].split(os.pathsep) == ["/project", *folders]
    assert set(folders) <= set(sys.path)
    assert "the table of a sweep: its Python packages are added now, once" in capfd.readouterr().err
    before = len(programs)
    python_env.use("sweep", "grid")
    assert len(programs) == before and os.environ["PYTHONPATH"].count("layer-sweep") == 1


def locked(name: str) -> dict[str, str]:
    return locks.blocks((locks.LOCKS / f"{name}.txt").read_text())


def names(found: dict[str, str]) -> set[str]:
    return {line.partition("==")[0] for line in found}


def test_what_runs_need_holds_nothing_that_only_other_verbs_need() -> None:
    only = {"polars", "pyarrow", "pandas", "scipy", "mypy", "atheris", "pytest", "distributed", "maude"}
    assert not names(locked("run")) & only


def test_layers_bring_each_package_in_one_version_and_none_that_runs_have() -> None:
    found = [locked(name) for name in python_env.LAYERS]
    assert all(not names(each) & names(locked("run")) for each in found)
    every = {line for each in found for line in each}
    markers = {re.sub(r"==[^ ]+", "", line) for line in every}
    assert len(every) == len(markers)


@pytest.mark.parametrize("name", ["run", "guest", "uv", *python_env.LAYERS])
def test_every_wheel_is_locked_by_its_hashes(name: str) -> None:
    assert locked(name)
    assert all("==" in line and "--hash=sha256:" in block for line, block in locked(name).items())
