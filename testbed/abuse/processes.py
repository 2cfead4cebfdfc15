"""All processes that come of one command, also those that its death has orphaned; and what of the host it changes.

Knows nothing of the laboratory's commands.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from testbed.probes.processes import ENDED, table

_PR_SET_CHILD_SUBREAPER = 36
_STEP_S = 0.05


@contextmanager
def adopting() -> Iterator[None]:
    """Orphans of what is started in the block become children of this process, so that none is overlooked."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


def descendants() -> list[int]:
    """Every process below this one that has not ended, parents first."""
    children: dict[int, list[int]] = {}
    for each in table():
        if each.state not in ENDED:
            children.setdefault(each.parent, []).append(each.pid)
    pids = list(children.get(os.getpid(), []))
    for pid in pids:  # grows while it is read
        pids += children.get(pid, [])
    return pids


def bury() -> None:
    """Take the exit codes of orphans that have ended; those of known children are left to who waits for them."""
    known = {child.pid for child in _started}
    for each in table():
        if each.state == "Z" and each.parent == os.getpid() and each.pid not in known:
            with suppress(ChildProcessError):
                os.waitpid(each.pid, os.WNOHANG)


_started: list[subprocess.Popen[str]] = []


def start(argv: Sequence[str], output: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a command in a session of its own, its words going to a file."""
    with output.open("w") as sink:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(environment),
            start_new_session=True,
        )
    _started.append(child)
    return child


def ended(children: Sequence[subprocess.Popen[str]], patience_s: float) -> bool:
    """Whether these and all that came of them end within this time."""
    end = time.monotonic() + patience_s
    while True:
        for child in children:
            child.poll()
        bury()
        # No list of /proc is of one moment: what had its parent in it and lost it meanwhile is ours at the second look.
        if not descendants() and not descendants():
            break
        if time.monotonic() > end:
            return False
        time.sleep(_STEP_S)
    for child in children:
        child.wait()
        _started.remove(child)
    return True


def end_all() -> list[str]:
    """Kill what is left; what it was."""
    said = []
    while left := descendants():
        for pid in left:
            with suppress(OSError):
                said.append(
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
                )
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for child in _started:
            child.poll()
        bury()
        time.sleep(_STEP_S)
    _started.clear()
    return said


def of_the_host() -> dict[str, frozenset[str]]:
    """What a command could leave behind outside its folders: interfaces, network namespaces, mounts."""
    namespaces = Path("/run/netns")
    return {
        "interface": frozenset(os.listdir("/sys/class/net")),
        "namespace": frozenset(os.listdir(namespaces) if namespaces.is_dir() else ()),
        "mount": frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
    }
