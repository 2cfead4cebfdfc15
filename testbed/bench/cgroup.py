"""Processes held to a share of a processor, by the kernel's CPU controller (cgroup v2, or v1 where that has it).

So responders can be made the narrow place on a machine whose processors the initiators need as well. Needs root.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from testbed.errors import EnvironmentFailure

MOUNT = Path("/sys/fs/cgroup")
PERIOD_US = 40_000
"""Short, so that a process that has had its share waits for a time that is short beside a measurement."""


@contextmanager
def held(pids: Sequence[int], share: float) -> Iterator[None]:
    """Each of these processes has at most this share of one processor. EnvironmentFailure."""
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(_held(pid, share))
        yield


@contextmanager
def _held(pid: int, share: float) -> Iterator[None]:
    quota = round(PERIOD_US * share)
    try:
        root, settings = _controller(quota)
        group = root / f"lab-bench-{pid}"
        group.mkdir()
        for name, value in settings:
            (group / name).write_text(value)
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        raise EnvironmentFailure(
            f"processes cannot be held to a share of a processor here: {error}",
            allowed="a machine whose cpu cgroup root may write",
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (root / "cgroup.procs").write_text(str(pid))
        _remove(group)


def _controller(quota_us: int) -> tuple[Path, list[tuple[str, str]]]:
    """Where groups are made, and what is written into one."""
    unified = MOUNT / "cgroup.controllers"
    if unified.exists() and "cpu" in unified.read_text().split():
        (MOUNT / "cgroup.subtree_control").write_text("+cpu")
        return MOUNT, [("cpu.max", f"{quota_us} {PERIOD_US}")]
    return MOUNT / "cpu", [("cpu.cfs_period_us", str(PERIOD_US)), ("cpu.cfs_quota_us", str(quota_us))]


def _remove(group: Path) -> None:
    """Empty a moment after its process has left or ended."""
    for _time in range(100):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.01)
