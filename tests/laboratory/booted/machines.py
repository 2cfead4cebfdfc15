"""Machines inside the guest, each with systemd as its process 1 and Debian's tree as its disk.

A machine has namespaces of its own for processes, mounts, network, name and control groups; a reboot ends all of them
but the disk, as it ends a kernel. The kernel is one. It knows nothing of what is installed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

DISKS = Path("/mnt")
GROUPS = Path("/sys/fs/cgroup")
TREE = Path("/mnt/tree")
INIT = "/usr/lib/systemd/systemd"
BOOT_S = 120.0
NAMESPACES = os.CLONE_NEWNS | os.CLONE_NEWPID | os.CLONE_NEWNET | os.CLONE_NEWUTS | os.CLONE_NEWCGROUP
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
    "TERM": "dumb",
}  # fmt: skip
"""Of what is typed at a machine."""


def inside(pid: int, *command: str) -> list[str]:
    """The words that run a command in all namespaces of a machine, by its process 1."""
    return ["nsenter", "--target", str(pid), "--all", *command]


def ran(*command: str | Path) -> str:
    """What a command of the guest prints. AssertionError with its words when it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.strip()}"
    return done.stdout


def prepare() -> None:
    """Mount what all machines need, beside the tree. Once in a guest."""
    ran("mount", "-t", "cgroup2", "cgroup2", GROUPS)


@dataclass(frozen=True)
class Port:
    """An interface of a machine: its name, the last octet of its MAC address, and the bridge it is plugged into."""

    name: str
    number: int
    bridge: str

    @property
    def mac(self) -> str:
        return f"02:00:00:00:00:{self.number:02x}"


class Machine:
    """One machine. It has a disk from the beginning, and runs between `boot` and its end."""

    def __init__(self, name: str, ports: Iterable[Port]) -> None:
        self.name, self.ports = name, tuple(ports)
        self.folder = DISKS / name
        self.root = self.folder / "root"
        for part in ("changes", "work", "root"):
            (self.folder / part).mkdir(parents=True)
        layers = f"lowerdir={TREE},upperdir={self.folder}/changes,workdir={self.folder}/work"
        ran("mount", "-t", "overlay", "-o", layers, "overlay", self.root)
        (self.root / "etc" / "hostname").write_text(f"{name}\n")
        for mark in ("etc/.updated", "var/.updated"):  # it is no machine's first boot after an upgrade of all
            (self.root / mark).touch()
        self.pid = 0
        self.boots = 0

    # -- power

    def boot(self) -> None:
        """Switch it on, and wait until systemd says that it has started all that it was to start."""
        self.boots += 1
        group = GROUPS / self.name
        group.mkdir(exist_ok=True)
        ready, plugged = os.pipe(), os.pipe()
        self._starter = os.fork()
        if self._starter == 0:
            try:
                (group / "cgroup.procs").write_text(str(os.getpid()))
                os.unshare(NAMESPACES)
                init = os.fork()
                if init == 0:
                    os.read(plugged[0], 1)
                    self._become()
                os.write(ready[1], str(init).encode())
                _, status = os.waitpid(init, 0)
                os._exit(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
            except BaseException as error:
                print(f"{self.name}: {error}", file=sys.stderr, flush=True)
                os._exit(99)
        self.pid = int(os.read(ready[0], 16))
        for port in self.ports:
            far = f"{self.name}-{port.name}"
            ran("ip", "link", "add", far, "type", "veth", "peer", "name", port.name, "address", port.mac, "netns",
                str(self.pid))  # fmt: skip
            ran("ip", "link", "set", far, "master", port.bridge, "up")
        os.write(plugged[1], b"!")
        for end in (*ready, *plugged):
            os.close(end)
        self._wait_started()

    def _become(self) -> None:
        """Be the machine's process 1. Never returns."""
        root = self.root
        ran("mount", "--make-rprivate", "/")
        ran("mount", "-t", "proc", "proc", root / "proc")
        # A writable /sys would have systemd wait for udev, which containers lack.
        ran("mount", "-t", "sysfs", "-o", "ro", "sysfs", root / "sys")
        ran("mount", "-t", "cgroup2", "cgroup2", root / "sys/fs/cgroup")
        ran("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "dev")
        for name in DEVICES:
            os.mknod(root / "dev" / name, 0o020666, os.stat(f"/dev/{name}").st_rdev)
            os.chmod(root / "dev" / name, 0o666)
        for folder in ("pts", "shm"):
            (root / "dev" / folder).mkdir()
        ran("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=666,mode=620", "devpts", root / "dev/pts")
        (root / "dev/ptmx").symlink_to("pts/ptmx")
        console = os.open(self.folder / "console.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.chdir(root)
        ran("pivot_root", ".", "mnt")
        os.chroot(".")
        os.chdir("/")
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(b"/mnt", 2):  # with all that is below: the guest's own files
            raise OSError(ctypes.get_errno(), "umount /mnt")
        os.setsid()
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(console, 1)
        os.dup2(console, 2)
        os.execve(INIT, [INIT], {"container": "guest", "TERM": "dumb", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def _wait_started(self) -> None:
        """Until the first answer of systemctl, and then until all is started."""
        until = time.monotonic() + BOOT_S
        while (state := self.tried("systemctl is-system-running --wait").stdout.strip()) in ("", "offline"):
            assert time.monotonic() < until, f"{self.name} does not boot:\n{self.console()}"
            time.sleep(0.1)
        self.state = state

    def wait_off(self) -> int:
        """Wait until process 1 has ended; the signal that the kernel gives in its place: 1 reboot, 2 power off."""
        _, status = os.waitpid(self._starter, 0)
        self.pid = 0
        code = os.waitstatus_to_exitcode(status)
        for port in self.ports:
            subprocess.run(["ip", "link", "del", f"{self.name}-{port.name}"], capture_output=True, check=False)
        return code

    def reboot(self) -> None:
        """As somebody who types `reboot`."""
        self.tried("systemctl reboot")
        assert self.wait_off() == signal.SIGHUP
        self.boot()

    def cut_power(self) -> None:
        """No process of it gets a word."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait_off()

    # -- what somebody types at it

    def tried(self, text: str) -> subprocess.CompletedProcess[str]:
        """A script of bash as root, however it ends."""
        words = inside(self.pid, "bash", "-euo", "pipefail", "-c", text)
        return subprocess.run(
            words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def run(self, text: str) -> str:
        """What a script prints. AssertionError with all that was said when it fails."""
        done = self.tried(text)
        assert done.returncode == 0, f"on {self.name}:\n{text}\n{done.stdout}\n{done.stderr}\n{self.journal()[-4000:]}"
        return done.stdout

    def journal(self, *words: str) -> str:
        """Its journal, with all that was written until now."""
        ask = " ".join(("journalctl --no-pager -o short-monotonic", *words))
        return self.tried(f"journalctl --sync; {ask}").stdout

    def console(self) -> str:
        """What process 1 wrote before there was a journal."""
        file = self.folder / "console.log"
        return file.read_text(errors="replace")[-4000:] if file.exists() else ""

    def path(self, place: str) -> Path:
        """Where a file of the machine is in the guest."""
        return (Path(f"/proc/{self.pid}/root") if self.pid else self.root) / place.lstrip("/")

    def write(self, place: str, text: str) -> None:
        """Put a file on its disk."""
        self.path(place).parent.mkdir(parents=True, exist_ok=True)
        self.path(place).write_text(text)

    def put(self, files: Sequence[Path], folder: str) -> None:
        """Copy files of the guest to its disk, as somebody who brings them."""
        self.path(folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, self.path(folder))
