"""Network namespaces that live as long as this process, and code that runs inside one.

Each namespace is held by a sleeping thread: that costs 0.1 ms where a process costs 10, and
the thread's id serves wherever a process id names a namespace (`ip link ... netns PID`,
`mnexec -a PID`, /proc/PID/net). It must not know what a node is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


class Namespace:
    """One network namespace. `pid` and `fd` name it; `inode` tells whose a process is."""

    def __init__(self, name: str) -> None:
        """Make it. OSError when the process may not (needs CAP_SYS_ADMIN)."""
        self.name = name
        self._let_go = threading.Event()
        made = threading.Event()
        failure: list[OSError] = []

        def hold() -> None:
            try:
                os.unshare(os.CLONE_NEWNET)
                self.pid = threading.get_native_id()
                self.fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                failure.append(error)
            made.set()
            if not failure:
                self._let_go.wait()

        self._thread = threading.Thread(target=hold, name=f"ns-{name}", daemon=True)
        self._thread.start()
        made.wait()
        if failure:
            raise failure[0]
        self.inode = os.fstat(self.fd).st_ino

    @contextmanager
    def enter(self) -> Iterator[None]:
        """The calling thread is in the namespace; so are sockets and processes it makes."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.setns(self.fd, os.CLONE_NEWNET)
            try:
                yield
            finally:
                os.setns(before, os.CLONE_NEWNET)
        finally:
            os.close(before)

    def call(self, function: Callable[[], _T]) -> _T:
        """What `function` returns, called in the namespace."""
        with self.enter():
            return function()

    def sysctl(self, settings: dict[str, str | int]) -> None:
        """Write settings below /proc/sys/net ("ipv4/ip_forward": 1). OSError when one is unknown."""
        with self.enter():
            for key, value in settings.items():
                Path("/proc/sys/net", key).write_text(str(value))

    def processes(self) -> list[int]:
        """The ids of the processes in the namespace."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                inode = os.stat(f"/proc/{entry}/ns/net").st_ino
            except OSError:
                continue
            if inode == self.inode:
                found.append(int(entry))
        return found

    def close(self) -> None:
        """Let it go; it ends when the last process and device in it has gone."""
        if not self._let_go.is_set():
            self._let_go.set()
            os.close(self.fd)
