"""What our kernel does to save time changes no byte of a record, and each of its shortcuts saves what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.analysis.first_difference import record
from testbed.guest.boot import GuestResult, GuestSpec, run_guest
from testbed.guest.uml import NO_SHORTCUT, Shortcut
from testbed.runner.experiment import find
from testbed.runner.session import Request, prepare
from testbed.setup import kernel, tree
from testbed.topology.resolved import Topology

pytestmark = pytest.mark.skipif(
    not (kernel.kernel().ready and tree.tree().ready), reason="./lab setup has not made the guest yet"
)
SEED = 3
SAME_BYTES = Shortcut(sum(Shortcut)) & ~Shortcut.DEAR_POLLS
COMMAND = ("python3", "-m", "testbed.inside", "/lab/run/plan.json")


def played(folder: Path, without: Shortcut) -> tuple[bytes, GuestResult]:
    """The record of one router that loses its power, of all, with a Local Key Server each."""
    request = Request("recovery_storm", topology="line:3", keyings=("lks",), seeds=(SEED,))
    plan = prepare(find(request.experiment), request, Topology.load(request.topology)).plans[0]
    folder.mkdir()
    plan.write(folder / "plan.json")
    ended = run_guest(GuestSpec("virtual", COMMAND, folder, seed=SEED, without=without), timeout_s=600)
    assert ended.exit_code == 0, ended.console_log.read_text()
    with record(folder) as lines:
        return lines.read(), ended


@pytest.fixture(scope="module")
def with_all(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, GuestResult]:
    return played(tmp_path_factory.mktemp("with") / "run", NO_SHORTCUT)


def test_without_its_shortcuts_the_kernel_gives_the_same_record_for_twice_the_round_trips(
    with_all: tuple[bytes, GuestResult], tmp_path: Path
) -> None:
    assert len(with_all[0]) > 10_000
    bytes_without, ended = played(tmp_path / "run", SAME_BYTES)
    assert bytes_without == with_all[0]
    assert ended.counts["programs"] == with_all[1].counts["programs"]
    assert ended.counts["trips"] > 1.5 * with_all[1].counts["trips"]


@pytest.mark.parametrize(
    ("shortcut", "what", "factor"),
    [
        (Shortcut.WRITE_AROUND, "faults", 1.5),
        pytest.param(
            Shortcut.READ_OLD,
            "faults",
            1.1,
            marks=pytest.mark.skipif(
                "ospke" not in Path("/proc/cpuinfo").read_text().split(), reason="a page is never withheld here"
            ),
        ),
        (Shortcut.VDSO_CLOCK, "syscalls", 1.2),
        (Shortcut.DEAR_POLLS, "syscalls", 1.1),
    ],
)
def test_each_shortcut_saves_what_it_is_for(
    shortcut: Shortcut, what: str, factor: float, with_all: tuple[bytes, GuestResult], tmp_path: Path
) -> None:
    bytes_without, ended = played(tmp_path / "run", shortcut)
    assert ended.counts[what] > factor * with_all[1].counts[what]
    assert (bytes_without == with_all[0]) == (shortcut in SAME_BYTES)
