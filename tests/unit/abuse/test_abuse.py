"""What the abuse of the laboratory would find: left processes, hung commands, a next command that does not work."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from testbed import owned
from testbed.abuse import campaign as abuse
from testbed.abuse.campaign import Abuse, Deed, Way, deeds
from testbed.abuse.processes import adopting, end_all, ended, of_the_host, start


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abuse, "PATIENCE_S", 0.5)
    monkeypatch.setattr(abuse, "WHOLE_S", 0.5)


def worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, way: Way, at_s: float = 0.0) -> Abuse:
    """A deed, and a proof, with this shell script in the place of every command."""
    made = Abuse(tmp_path / "abuse", 100, lambda _line: None)
    made._done.mkdir()
    monkeypatch.setattr(Abuse, "_words", lambda _self, _command, _out: ["sh", "-c", script])
    made.do([Deed(0, "run", way, at_s, 1)])
    return made


def test_what_is_drawn_is_the_same_for_one_seed_and_has_every_way_and_command() -> None:
    drawn = deeds(1, 200, root=True)
    assert drawn == deeds(1, 200, root=True) != deeds(2, 200, root=True)
    assert {each.way for each in drawn} == set(Way)
    assert {each.command for each in drawn} == {"run", "sweep", "setup", "clean", "report"}
    assert Way.FULL_DISK not in {each.way for each in deeds(1, 200, root=False)}


def test_processes_that_outlive_their_starter_are_found_and_ended(tmp_path: Path) -> None:
    with adopting():
        child = start(["sh", "-c", "setsid sleep 1000 & exit 0"], tmp_path / "output", os.environ)
        assert not ended([child], 0.5)
        assert any("sleep 1000" in each for each in end_all())
        assert ended([], 0.0)


def test_a_command_that_ends_well_is_all_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: None) -> None:
    assert worked(tmp_path, monkeypatch, "exit 0", Way.KILL).tally.wrong == []


def test_a_blow_that_comes_too_late_is_dealt_again_earlier_and_counts_when_it_meets_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = worked(tmp_path, monkeypatch, "test -d run && exit 0; exec sleep 0.5", Way.KILL, at_s=1.5).tally
    assert (found.deeds.total(), found.missed) == (1, 0)


def test_a_command_that_has_always_ended_before_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abuse, "TRIES", 2)
    found = worked(tmp_path, monkeypatch, "exit 0", Way.TWO_AT_ONCE, at_s=0.5).tally
    assert (found.deeds.total(), found.missed, found.wrong) == (0, 1, [])


def test_every_command_finds_something_to_do(tmp_path: Path) -> None:
    made = Abuse(tmp_path / "abuse", 100, lambda _line: None)
    folder = tmp_path / "abuse"
    assert made._layer.parent == folder / "cache" and not made._layer.exists()
    owned.claim(made._layer, "made before")
    made._give_work("setup", folder)
    assert not made._layer.exists()
    made._give_work("clean", folder)
    (left,) = (folder / "cache").glob("*.part")
    assert owned.is_own(left) and sum(1 for _ in left.iterdir()) > abuse.LEFT_FILES
    for name, whole in (("run", "report.html"), ("sweep", "results.parquet")):
        (folder / name).mkdir()
        made._give_work(name, folder)
        assert (folder / name).exists(), "what was not finished is gone on with"
        (folder / name / whole).touch()
        made._give_work(name, folder)
        assert not (folder / name).exists(), "what is finished is not done again"
    (folder / "done").mkdir()
    (folder / "done" / "summary.json").touch()
    made._give_work("report", folder)
    assert (folder / "report" / "summary.json").exists()


@pytest.mark.parametrize("way", [Way.KILL, Way.KILL_ALL, Way.INTERRUPT_TWICE, Way.TERMINATE])
def test_a_process_left_behind_is_wrong_however_the_command_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: None, way: Way
) -> None:
    script = "trap '' INT TERM; test -e once || { touch once; setsid sleep 1000 & sleep 1000; }"
    monkeypatch.chdir(tmp_path)
    found = worked(tmp_path, monkeypatch, script, way, at_s=0.3).tally
    assert any("still there" in each for each in found.wrong)


def test_a_next_command_that_fails_is_wrong_and_its_last_words_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: None
) -> None:
    found = worked(tmp_path, monkeypatch, "echo the folder is locked; exit 3", Way.TERMINATE).tally
    assert found.wrong and all("ended with 3: the folder is locked" in each for each in found.wrong)


def test_a_next_command_that_hangs_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: None) -> None:
    found = worked(tmp_path, monkeypatch, "sleep 1000", Way.KILL).tally
    assert any("did not end" in each for each in found.wrong)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_a_mount_left_behind_is_wrong_and_so_is_success_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: None
) -> None:
    place = tmp_path / "left"
    place.mkdir()
    try:
        script = f"mountpoint -q {place} || mount -t tmpfs tmpfs {place}"
        found = worked(tmp_path, monkeypatch, script, Way.FULL_DISK).tally
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert any(f"left the mount {place}" in each for each in found.wrong)
    assert any("although the disk was full" in each for each in found.wrong)


def test_of_the_host_everything_is_named() -> None:
    assert "lo" in of_the_host()["interface"] and "/" in of_the_host()["mount"]
