"""Pictures of the administrator's pages: they show a deployment in its middle, and the verb takes them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agents.policy import confirmation_folder
from agents.policy.deploy import Deployer, from_folder
from agents.policy.store import PolicyStore
from testbed.setup.paths import PROJECT
from testbed.view.policy_page import NEWCOMER, STEPS, WAITED, make

NOW = 1_900_000_000


def lab(*words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "testbed.cli", "screenshots", *map(str, words)]
    return subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_the_domain_of_the_pictures_waits_for_one_router_and_has_another_in_its_draft(tmp_path: Path) -> None:
    make(tmp_path / "store", NOW)
    with closing(PolicyStore(tmp_path / "store")) as store:
        status = Deployer(store, from_folder(store.folder / confirmation_folder.FOLDER)).status()
        assert store.version == STEPS + 1
        assert status["waiting_for"] and all(line.startswith(WAITED) for line in status["waiting_for"])
        assert {mode for each in status["segments"] for mode in each["modes"].values()} >= {
            "clear",
            "listen",
            "required",
        }
        assert set(store.draft().routers) - set(store.domain(store.version).routers) == {NEWCOMER}


def test_the_verb_takes_a_picture_of_a_page(tmp_path: Path) -> None:
    done = lab("--policy", "/deployment", "--out", tmp_path / "page.png", "--width", "390", "--dark")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'page.png'}: /deployment of abilene\n")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("words", [(), ("somewhere", "--policy", "/"), ("--policy", "/nowhere")], ids=str)
def test_what_is_to_be_taken_must_be_clear(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = lab(*words, "--out", tmp_path / "page.png")
    assert done.returncode == 2 and done.stderr.startswith("lab: ")
    assert not list(tmp_path.iterdir())
