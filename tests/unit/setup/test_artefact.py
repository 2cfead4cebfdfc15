"""What is made once is whole, is shared, and is named by what it was made from."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import pytest

from testbed.errors import EnvironmentFailure
from testbed.owned import MARK, claim
from testbed.setup.artefact import Artefact, digest, held, in_use, require_space, unused


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def thing(build, key: str = "k") -> Artefact:
    return Artefact("thing", key, build, space_mib=1)


def test_an_artefact_is_built_once_and_then_found() -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "file").write_text("content")

    assert (thing(build).make() / "file").read_text() == "content"
    assert (thing(build).make() / "file").exists()
    assert len(built) == 1


@pytest.mark.parametrize("interruption", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_build_cut_short_leaves_nothing_that_could_be_taken_for_whole(
    cache: Path, interruption: BaseException
) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("")
        raise interruption

    with pytest.raises(type(interruption)):
        thing(build).make()
    assert not thing(build).ready
    assert [path.name for path in cache.iterdir()] == ["locks"]


def test_what_a_killed_build_left_is_removed_by_the_next(cache: Path) -> None:
    claim(cache / "thing-k.1.part", "")
    (cache / "thing-k.1.part" / "old").write_text("")
    made = thing(lambda folder: (folder / "new").write_text("") and None).make()
    assert sorted(path.name for path in made.iterdir()) == [MARK, "new"]


def test_a_full_disk_is_an_environment_failure_that_says_what_to_do() -> None:
    def build(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EnvironmentFailure, match="filled up") as raised:
        thing(build).make()
    assert raised.value.exit_code == 3
    assert raised.value.allowed and "LAB_CACHE" in raised.value.allowed


def test_too_little_space_is_said_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match="needed"):
        require_space(tmp_path, 10**9)


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        thing(lambda folder: None).make()


def _make_and_count(counter, barrier) -> None:
    def build(folder: Path) -> None:
        with counter.get_lock():
            counter.value += 1
        (folder / "file").write_text("")

    barrier.wait()
    thing(build).make()


def test_two_processes_that_start_at_once_build_it_once() -> None:
    context = multiprocessing.get_context("fork")
    counter, barrier = context.Value("i", 0), context.Barrier(4)
    workers = [context.Process(target=_make_and_count, args=(counter, barrier)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert counter.value == 1


def test_a_lock_is_free_again_after_its_holder_failed() -> None:
    with pytest.raises(RuntimeError), held("name", "waiting"):
        raise RuntimeError
    with held("name", "waiting"):
        pass


def test_a_digest_changes_with_every_part_and_with_where_one_part_ends(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("b")
    assert digest("a", file) == digest("a", "b")
    assert len({digest("a", "b"), digest("ab"), digest("", "ab"), digest("a", "c")}) == 4


def test_what_is_used_or_being_made_is_not_free_to_be_removed_and_is_again_afterwards() -> None:
    with in_use("thing-k"), in_use("thing-k"), unused("thing-k") as free:
        assert not free
    with held("thing-k", "waiting"), unused("thing-k") as free:
        assert not free
    with unused("thing-k") as free:
        assert free
