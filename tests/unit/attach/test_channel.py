"""The control channel of files, and finding what a crashed laboratory left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agents.policy.errors import PolicyError
from testbed.attach.channel import MAX_UNREAD, Stream, encode, folders, put, take
from testbed.attach.running import MARK, Refused, Running, chosen, laboratories, marked_processes, taken
from testbed.errors import EnvironmentFailure, InputError
from testbed.inside.answer import answered
from testbed.owned import claim, is_own


def test_a_stream_gives_the_bytes_in_order_and_once(tmp_path: Path) -> None:
    writer, reader = Stream(tmp_path, "in"), Stream(tmp_path, "in")
    assert reader.read() == b""
    writer.write(b"one ")
    writer.write(b"two")
    assert reader.read() == b"one two"
    writer.write(b"!")
    assert reader.read() == b"!"
    assert list(tmp_path.iterdir()) == []


def test_a_stream_is_full_until_somebody_reads(tmp_path: Path) -> None:
    writer, reader = Stream(tmp_path, "in"), Stream(tmp_path, "in")
    for number in range(MAX_UNREAD):
        assert not writer.full
        writer.write(bytes([number]))
    assert writer.full
    writer.close()
    assert reader.closed
    assert reader.read() == bytes(range(MAX_UNREAD))
    assert not writer.full


def test_unfinished_files_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / ".a.json.new").write_bytes(b"half")
    put(tmp_path / "b.json", b"whole")
    assert list(take(tmp_path, ".json")) == [("b", b"whole")]
    assert list(take(tmp_path, ".json")) == []


def answer_once(folder: Path, message: dict[str, object]) -> threading.Thread:
    requests, answers, _ = folders(folder)

    def serve() -> None:
        for _ in range(10_000):
            for name, _ in take(requests, ".json"):
                put(answers / f"{name}.json", encode(message))
                return
            threading.Event().wait(0.001)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_an_answer_comes_back(tmp_path: Path) -> None:
    thread = answer_once(tmp_path, {"ok": True, "topology": "ring"})
    assert Running(tmp_path).ask("status") == {"topology": "ring"}
    thread.join()


def test_a_refusal_carries_its_lines_and_exit_code(tmp_path: Path) -> None:
    thread = answer_once(tmp_path, {"ok": False, "lines": ["no such node"], "exit_code": 2})
    with pytest.raises(Refused, match="no such node") as caught:
        Running(tmp_path).ask("fault")
    assert caught.value.exit_code == 2
    thread.join()


def test_nobody_answering_is_an_error_and_leaves_no_request(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure):
        Running(tmp_path).ask("status", timeout_s=0.05)
    assert list(folders(tmp_path)[0].iterdir()) == []


def sleeper(mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "import sys,time; print(1, flush=True); time.sleep(60)"],
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
    )


def test_down_ends_its_own_leftovers_and_nobody_elses(tmp_path: Path) -> None:
    own, other = tmp_path / "up" / "own", tmp_path / "up" / "other"
    for folder in (own, other):
        claim(folder, "--name")
    mine, theirs = sleeper(str(own)), sleeper(str(other))
    try:
        for process in (mine, theirs):
            assert process.stdout is not None
            process.stdout.readline()
        assert marked_processes(str(own)) == [mine.pid]
        reaper = threading.Thread(target=mine.wait)
        reaper.start()
        assert Running(own).end()
        reaper.join()
        assert not own.exists()
        assert theirs.poll() is None
        assert [lab.name for lab in laboratories(tmp_path / "up")] == ["other"]
        assert chosen(tmp_path / "up", None).name == "other"
    finally:
        for process in (mine, theirs):
            process.kill()
            process.wait()


def test_without_a_laboratory_one_is_told_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no laboratory is up"):
        chosen(tmp_path, None)


def test_what_is_up_is_said_and_advice_touches_one_laboratory_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "dead"):
        claim(tmp_path / name, "--name")
    monkeypatch.setattr(Running, "processes", lambda self: [] if self.name == "dead" else [1])
    assert chosen(tmp_path, "a").name == "a"
    with pytest.raises(InputError) as other:
        chosen(tmp_path, "c")
    assert other.value.lines() == ["--lab: no laboratory 'c' is up", "  allowed: a, b"]
    with pytest.raises(InputError) as several:
        chosen(tmp_path, None)
    assert several.value.allowed == "a, b"
    with pytest.raises(InputError, match="cannot be a name"):
        chosen(tmp_path, "../a")
    assert taken(Running(tmp_path / "a")).next_command == "lab down --lab a"
    with pytest.raises(InputError, match="'a' is already up"), Running(tmp_path / "a").begun():
        pass
    with pytest.raises(EnvironmentFailure) as silent:
        Running(tmp_path / "a").ask("status", timeout_s=0.05)
    assert silent.value.next_command == "lab down --lab a"


def test_of_two_that_begin_at_the_same_moment_one_is_refused_and_the_other_keeps_its_folder(tmp_path: Path) -> None:
    with Running(tmp_path / "a").begun():
        (tmp_path / "a" / "plan.json").touch()
        with pytest.raises(InputError, match="'a' is already up"), Running(tmp_path / "a").begun():
            pass
        assert (tmp_path / "a" / "plan.json").exists()
    assert not (tmp_path / "a").exists()
    with Running(tmp_path / "a").begun():
        pass


@pytest.mark.parametrize(
    ("name", "said"), [("c", "allowed: a"), ("../a", "allowed: 1 to 63"), ("", "allowed: 1 to 63")]
)
def test_a_laboratory_that_is_not_there_cannot_be_ended_and_what_is_there_stays(
    tmp_path: Path, name: str, said: str
) -> None:
    claim(tmp_path / "up" / "a", "")
    done = subprocess.run(
        [sys.executable, "-m", "testbed.cli", "down", "--lab", name],
        env={**os.environ, "LAB_CACHE": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert is_own(tmp_path / "up" / "a")


@pytest.mark.parametrize("error", [AssertionError("x"), KeyError("x"), RecursionError("x"), PolicyError("x")])
def test_an_error_that_nobody_foresaw_is_an_answer_too(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    def handle() -> dict[str, str]:
        raise error

    said = answered(handle)
    assert (said["ok"], said["exit_code"], said["lines"]) == (False, 3, [f"{type(error).__name__}: {error}"])
    assert "Traceback" in capfd.readouterr().err


def test_a_refusal_has_its_own_exit_code_and_an_answer_what_was_asked_for() -> None:
    def raise_errors() -> dict[str, str]:
        raise InputError("no", allowed="yes")

    assert answered(raise_errors) == {"ok": False, "exit_code": 2, "lines": ["no", "  allowed: yes"]}
    assert answered(lambda: {"a": 1}) == {"ok": True, "a": 1}
