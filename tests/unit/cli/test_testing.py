"""`lab test` counts what every pytest process counted, and takes nothing for passed that did not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import testing
from testbed.errors import EnvironmentFailure
from testbed.guest.boot import GuestResult, GuestSpec

Write = Callable[[str], testing.Job]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> testing.Job:
        file = tmp_path / "test_written.py"
        file.write_text(text)
        return testing.Job("written", (str(file),), in_guest=False)

    return write


def test_passed_failed_and_skipped_are_counted_and_a_failure_is_shown(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    totals = testing.run(
        [
            write(
                "import pytest\ndef test_a(): pass\ndef test_b(): assert 1 == 2\n"
                "def test_c(): pytest.skip('no')\n@pytest.fixture\ndef broken(): 1/0\ndef test_d(broken): pass\n"
            )
        ]
    )
    assert (totals.passed, totals.failed, totals.skipped, totals.ok) == (1, 2, 1, False)
    assert "assert 1 == 2" in capsys.readouterr().out


def test_a_file_that_cannot_be_imported_is_a_failure(write: Write) -> None:
    assert not testing.run([write("import no_such_module\n")]).ok


@pytest.mark.parametrize("text", ["import os\ndef test_a(): os._exit(0)\n", "import pytest\npytest.exit('enough')\n"])
def test_a_run_that_did_not_end_by_itself_is_a_failure(write: Write, text: str) -> None:
    totals = testing.run([write(text)])
    assert totals.broken == ["written"] and not totals.ok


def test_nothing_selected_is_neither_passed_nor_failed_and_a_whole_run_of_nothing_is_not_ok(write: Write) -> None:
    totals = testing.run([write("def test_a(): pass\n")], select="other")
    assert (totals.passed, totals.failed, totals.broken, totals.ok) == (0, 0, [], False)


def test_a_guest_that_cannot_boot_is_a_failure_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raise_errors(spec: GuestSpec, *, timeout_s: float) -> GuestResult:
        raise EnvironmentFailure("no room for memory")

    monkeypatch.setattr(testing, "run_guest", raise_errors)
    totals = testing.run([testing.Job("guest", ("tests/integration/test_kernel.py",), in_guest=True)])
    assert totals.broken == ["guest"] and not totals.ok
    assert "no room for memory" in capsys.readouterr().out


def test_the_last_line_is_pytests_own_for_everything_together() -> None:
    totals = testing.Totals(passed=3)
    totals.add(testing.Totals(passed=4, failed=1, skipped=2, broken=["x"]))
    assert totals.line(12.345).strip("= ") == "7 passed, 2 failed, 2 skipped in 12.35s"
    assert testing.Totals(passed=1).line(1).strip("= ") == "1 passed in 1.00s"


def test_every_test_file_of_the_project_belongs_to_exactly_one_job() -> None:
    covered: list[Path] = []
    for job in testing.jobs():
        for path in job.paths:
            where = testing.PROJECT / path
            covered += [where] if where.is_file() else where.rglob("test_*.py")
    assert sorted(covered) == sorted((testing.PROJECT / "tests").rglob("test_*.py"))


def test_every_file_of_tests_is_in_exactly_one_job() -> None:
    jobs = testing.jobs()
    files = set(testing.TESTS.rglob("test_*.py"))
    covered = [
        file for job in jobs for each in job.paths for file in files if file.is_relative_to(testing.PROJECT / each)
    ]
    assert len(covered) == len(files) and set(covered) == files
    assert len({job.name for job in jobs}) == len(jobs)
    assert all(job.in_guest == job.paths[0].startswith("tests/integration") for job in jobs)


@pytest.mark.parametrize("forbidden", [False, True])
def test_byte_code_that_may_not_stand_beside_the_sources_is_kept_for_the_run(
    write: Write, monkeypatch: pytest.MonkeyPatch, forbidden: bool
) -> None:
    monkeypatch.delenv(testing.NO_BYTE_CODE, raising=False)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    if forbidden:
        monkeypatch.setenv(testing.NO_BYTE_CODE, "1")
    text = (
        "import pathlib, sys\ndef test_a():\n    import testbed.values\n"
        f"    assert (sys.pycache_prefix is not None) == {forbidden}\n    assert not sys.dont_write_bytecode\n"
        "    kept = pathlib.Path(testbed.values.__cached__)\n"
        f"    assert kept.exists() and kept.is_relative_to(sys.pycache_prefix or '/')\n"
    )
    assert testing.run([write(text)]).passed == 1
