"""Runs the tests where each can run: unit tests here, integration tests inside guests, several at a time.

Three folders: every folder of tests/unit needs only Python and has a process of its own; every file of
tests/laboratory runs here and boots guests itself; every file of tests/integration runs as root inside a guest of its
own, in virtual time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.guest.boot import GuestSpec, run_guest, tail
from testbed.setup import children
from testbed.setup.paths import PROJECT
from testbed.setup.progress import say

TESTS = PROJECT / "tests"
GUEST_TIMEOUT_S = 1200.0
# pytest's exit codes: all passed, or some failed; nothing was selected. Others mean that it did not run to its end.
PYTEST_RAN = (0, 1)
NO_TESTS_COLLECTED = 5
NOT_RUN = -1
NO_BYTE_CODE = "PYTHONDONTWRITEBYTECODE"


@dataclass
class Totals:
    """pytest's counts, summed over all its runs. `broken` are runs that gave no count at all."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.passed > 0 and not self.failed and not self.broken

    def add(self, other: Totals) -> None:
        """Count another's tests too."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.broken += other.broken

    def line(self, seconds: float) -> str:
        """pytest's own last line, for all runs together."""
        failed = self.failed + len(self.broken)
        counts = [(self.passed, "passed"), (failed, "failed"), (self.skipped, "skipped")]
        words = ", ".join(f"{number} {word}" for number, word in counts if number or word == "passed")
        return f"{f' {words} in {seconds:.2f}s ':=^80}"


@dataclass(frozen=True)
class Job:
    """One pytest process: its place and its files."""

    name: str
    paths: tuple[str, ...]
    in_guest: bool


def jobs(*, unit: bool = True, guest: bool = True) -> list[Job]:
    """The longest first, so that the cores stay busy to the end."""
    listed: list[Job] = []
    if unit:
        folders = sorted((each for each in (TESTS / "unit").iterdir() if any(each.glob("test_*.py"))), key=_octets)
        listed += [
            Job(f"unit-{each.name}", (each.relative_to(PROJECT).as_posix(),), in_guest=False) for each in folders
        ]
    if guest:
        files = sorted((TESTS / "laboratory").glob("test_*.py"), key=lambda file: -file.stat().st_size)
        listed += [Job(file.stem, (file.relative_to(PROJECT).as_posix(),), in_guest=False) for file in files]
        files = sorted((TESTS / "integration").glob("test_*.py"), key=lambda file: -file.stat().st_size)
        listed += [Job(file.stem, (file.relative_to(PROJECT).as_posix(),), in_guest=True) for file in files]
    return listed


def _octets(folder: Path) -> int:
    """Larger ones first: they probably take longest."""
    return -sum(each.stat().st_size for each in folder.rglob("*.py"))


def run(wanted: Iterable[Job], select: str | None = None) -> Totals:
    """Run all jobs, as many at a time as there are cores; print failures; return the counts."""
    totals = Totals()
    with tempfile.TemporaryDirectory(prefix="lab-test-") as temporary, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        running = {pool.submit(_run, job, Path(temporary) / job.name, select): job for job in wanted}
        for done in as_completed(running):
            job, result = running[done], done.result()
            own = Totals()
            if result.report is not None:
                _count(result.report, own)
            elif result.code != NO_TESTS_COLLECTED:
                own.broken.append(job.name)
            totals.add(own)
            failed = own.failed + len(own.broken)
            say(f"{job.name}: {own.passed} passed, {failed} failed, {own.skipped} skipped in {result.seconds:.0f} s")
            if failed:
                print(result.output, flush=True)
    return totals


@dataclass(frozen=True)
class _Result:
    """How one pytest process ended; `report` is its JUnit file, if it ran to its end."""

    code: int
    report: Path | None
    output: str
    seconds: float


def _run(job: Job, folder: Path, select: str | None) -> _Result:
    started = time.monotonic()
    folder.mkdir()
    report = folder / "junit.xml"
    seen = Path("/lab/run/junit.xml") if job.in_guest else report
    words = ["-m", "pytest", "-q", "-ra", "--color=no", f"--junitxml={seen}", *job.paths]
    if select:
        words += ["-k", select]
    code, output = _in_guest(words, folder) if job.in_guest else _here(words, _environment(folder.parent))
    whole = code in PYTEST_RAN and report.exists()
    return _Result(code, report if whole else None, output, time.monotonic() - started)


def _in_guest(words: list[str], folder: Path) -> tuple[int, str]:
    try:
        result = run_guest(GuestSpec("virtual", ("python3", *words), folder, tests=True), timeout_s=GUEST_TIMEOUT_S)
    except EnvironmentFailure as error:
        return NOT_RUN, str(error)
    return result.exit_code, tail(result.console_log, 400)


def _here(words: list[str], environment: Mapping[str, str]) -> tuple[int, str]:
    with children.started(
        [sys.executable, *words], cwd=PROJECT, env=environment, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as child:  # fmt: skip
        output, _ = child.communicate()
    return child.returncode, output


def _environment(folder: Path) -> dict[str, str]:
    """Where byte code is not to be written beside the sources, that of this run is kept in `folder` and goes with it:
    otherwise each of its hundreds of processes compiles all that it imports."""
    environment = dict(os.environ)
    if environment.pop(NO_BYTE_CODE, ""):
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "byte-code")
    return environment


def _count(report: Path, totals: Totals) -> None:
    for suite in xml.parse(report).getroot().iter("testsuite"):
        number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        bad = number["failures"] + number["errors"]
        totals.failed += bad
        totals.skipped += number["skipped"]
        totals.passed += number["tests"] - bad - number["skipped"]
