"""A guest's bounds on the host: the processor that it takes, and the files that remain to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.guest import supervise

TRY = """
import sys
from testbed.guest import supervise
assert supervise.stay_within(*map(eval, sys.argv[1:3]))
exec(sys.argv[3])
"""


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[set[int]]:
    """Two of the machine's processors may be used, 4 and 6. What the caller was bound to, in order."""
    bound: list[set[int]] = []
    monkeypatch.setattr(supervise, "LOCK", f"\0{tmp_path}-")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 6})
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, which: bound.append(set(which)))
    return bound


def test_each_guest_takes_a_processor_of_its_own_and_one_too_many_runs_where_it_may(processors: list[set[int]]) -> None:
    locks = [supervise.take_a_processor() for _ in range(3)]
    assert processors == [{4}, {6}]
    assert locks[0] is not None and locks[1] is not None and locks[2] is None


def test_a_processor_is_free_again_when_the_process_that_took_it_has_ended(processors: list[set[int]]) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0 if supervise.take_a_processor() is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
    supervise.take_a_processor()
    assert processors == [{4}]


def test_a_processor_that_was_taken_away_meanwhile_is_passed_over(
    processors: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bind(pid: int, which: set[int]) -> None:
        if which == {4}:
            raise OSError(22, "Invalid argument")
        processors.append(which)

    monkeypatch.setattr(os, "sched_setaffinity", bind)
    lock = supervise.take_a_processor()
    assert lock is not None and processors == [{6}]


@pytest.mark.skipif(supervise.landlock() < supervise.LANDLOCK, reason="this kernel has no Landlock")
@pytest.mark.parametrize(
    ("deed", "works"),
    [
        ("open('{0}/read/file').read()", True),
        ("open('{0}/read/file', 'w')", False),
        ("open('{0}/write/new', 'w').write('x')", True),
        ("import os; os.rename('{0}/write/file', '{0}/write/folder/file')", True),
        ("open('{0}/else/file').read()", False),
        ("open('{0}/write/link').read()", False),
        ("import os; os.listdir('{0}/else')", False),
        (
            "import subprocess, sys; subprocess.run([sys.executable, '-c', 'open(\"{0}/else/file\")'], check=True)",
            False,
        ),
    ],
)
def test_only_the_named_folders_remain_to_a_guest_and_to_all_that_it_starts(
    tmp_path: Path, deed: str, works: bool
) -> None:
    for name in ("read", "write/folder", "else"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("read", "write", "else"):
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "write" / "link").symlink_to(tmp_path / "else" / "file")
    read = [str(tmp_path / "read"), sys.prefix, sys.base_prefix, "/lib", "/usr", "/etc/ld.so.cache", os.getcwd()]
    words = [repr([path for path in read if os.path.exists(path)]), repr([str(tmp_path / "write")])]
    done = subprocess.run(
        [sys.executable, "-c", TRY, *words, deed.format(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == works, done.stderr
    assert works or "PermissionError" in done.stderr
