"""Namespaces of network and hostname that live as long as this process, and code that runs inside one.

Each pair of namespaces is held by a sleeping thread: that costs 0.1 ms where a process costs 10, and
the thread's id serves wherever a process id names a namespace (`ip link ... netns PID`,
`mnexec -a PID`, /proc/PID/net). It must not know what a node is.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

from testbed.errors import EnvironmentFailure

_T = TypeVar("_T")

# ioctls on an interface's flags, and their struct ifreq.
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
_INTERFACE = struct.Struct("16sH22x")

KINDS = {"net": 0x40000000, "uts": 0x04000000}
"""The kinds of namespace that a node has of its own, with the flag of each for setns(2)."""


class _Inside(threading.local):
    """What the calling thread is inside; None: the namespaces of the process."""

    namespace: Namespace | None = None


_inside = _Inside()


class Namespace:
    """A network and a hostname. `pid` and `fd` name the network; `inode` tells whose a process is."""

    def __init__(self, name: str) -> None:
        """Make it, with `name` as its hostname. OSError when the process may not (needs CAP_SYS_ADMIN)."""
        self.name = name
        _home()
        self._let_go = threading.Event()
        made = threading.Event()
        failure: list[OSError] = []

        def hold() -> None:
            try:
                os.unshare(os.CLONE_NEWNET | os.CLONE_NEWUTS)
                socket.sethostname(name)
                self.pid = threading.get_native_id()
                self._held = _opened(self.pid)
                self.fd = self._held["net"]
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
        before = _inside.namespace
        try:
            _join(self._held)
            _inside.namespace = self
            yield
        finally:
            _inside.namespace = before
            _join(before._held if before is not None else _home())

    def restore_hostname(self) -> None:
        """Give it its own name again, whatever somebody inside has made of it."""
        with self.enter():
            socket.sethostname(self.name)

    def call(self, function: Callable[[], _T]) -> _T:
        """What `function` returns, called in the namespace."""
        with self.enter():
            return function()

    def sysctl(self, settings: dict[str, str | int]) -> None:
        """Write settings below /proc/sys/net ("ipv4/ip_forward": 1). OSError when one is unknown."""
        with self.enter():
            for key, value in settings.items():
                Path("/proc/sys/net", key).write_text(str(value))

    def set_links(self, up: Mapping[str, bool]) -> None:
        """Set interfaces up or down, by name: all or none. EnvironmentFailure names the one that could not be set.

        In this process: a program for it costs the guest more than all else that a change of carrier does.
        """
        if not up:
            return
        done: dict[str, bool] = {}
        with self.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
            try:
                for name, wanted in up.items():
                    done[name] = _set_flag(kernel, name, wanted)
            except OSError as error:
                for before, was in done.items():
                    _set_flag(kernel, before, was)
                raise EnvironmentFailure(
                    f"cannot be set {'up' if wanted else 'down'}: {error.strerror}", where=f"{name} in {self.name}"
                ) from error

    def processes(self) -> list[int]:
        """The ids of the processes in the namespace."""
        pids = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                inode = os.stat(f"/proc/{entry}/ns/net").st_ino
            except OSError:
                continue
            if inode == self.inode:
                pids.append(int(entry))
        return pids

    def close(self) -> None:
        """Let it go; it ends when the last process and device in it has gone."""
        if not self._let_go.is_set():
            self._let_go.set()
            for descriptor in self._held.values():
                os.close(descriptor)


def _set_flag(kernel: socket.socket, interface: str, up: bool) -> bool:
    """Set an interface up or down; whether it was up."""
    name = interface.encode()
    flags = _INTERFACE.unpack(fcntl.ioctl(kernel, _GET_FLAGS, _INTERFACE.pack(name, 0)))[1]
    if bool(flags & _UP) is not up:
        fcntl.ioctl(kernel, _SET_FLAGS, _INTERFACE.pack(name, flags ^ _UP))
    return bool(flags & _UP)


def _opened(thread: int | str) -> dict[str, int]:
    """Descriptors of a thread's namespaces, by kind."""
    return {kind: os.open(f"/proc/{thread}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in KINDS}


@cache
def _home() -> dict[str, int]:
    """The namespaces of the process itself. Opened before any thread enters another, and kept."""
    return _opened("thread-self")


def _join(held: dict[str, int]) -> None:
    for kind, descriptor in held.items():
        os.setns(descriptor, KINDS[kind])
