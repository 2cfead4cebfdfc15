"""Disks that lose what was not fsynced: ext4 on a loop device over a file in memory.

`cut` is the power failing: EXT4_IOC_SHUTDOWN without flushing the log, so that what no fsync
(or the file system's own 5 s commit) carried to the disk is gone at the next `mount`. It must
not know what is kept on the disks.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.net.runner import run

_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_LOOP_CTL_GET_FREE, _LOOP_CONFIGURE, _LOOP_CLR_FD = 0x4C82, 0x4C0A, 0x4C01
_LO_FLAGS_AUTOCLEAR = 4
_LOOP_CONFIG = struct.Struct("=II232s64x")  # fd, block size, loop_info64, reserved
_INFO_FLAGS_OFFSET = 52
_MNT_DETACH = 2
_MS_NOATIME = 1024
_MS_BIND = 4096
_LOOP_MAJOR = 7


class Disk:
    """One node's disk: an image file, and the folder it is mounted at."""

    def __init__(self, image: Path, mountpoint: Path) -> None:
        self.image = image
        self.mountpoint = mountpoint
        self._loop: int | None = None

    @property
    def mounted(self) -> bool:
        """Whether the disk is in use."""
        return self._loop is not None

    def mount(self) -> None:
        """Attach and mount it, replaying its journal. EnvironmentFailure if that cannot be."""
        if self.mounted:
            return
        self.mountpoint.mkdir(parents=True, exist_ok=True)
        try:
            self._loop, device = _attach(self.image)
        except OSError as error:
            raise EnvironmentFailure(
                f"no loop device for {self.image}: {error}",
                allowed="a kernel with BLK_DEV_LOOP and EXT4",
            ) from None
        try:
            _mount(device, self.mountpoint)
        except OSError as error:
            os.close(self._loop)
            self._loop = None
            raise EnvironmentFailure(
                f"cannot mount {self.image} at {self.mountpoint}: {error}",
                allowed="a kernel with EXT4",
            ) from None

    def cut(self) -> None:
        """The power fails now: nothing more is written. Processes may still hold files open."""
        if not self.mounted:
            return
        folder = os.open(self.mountpoint, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _EXT4_IOC_SHUTDOWN, struct.pack("=I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def unmount(self) -> None:
        """Let the disk go, after `cut` or in order. Nobody may have a file open on it."""
        if self._loop is None:
            return
        _umount(self.mountpoint)
        os.close(self._loop)
        self._loop = None


def make_images(images: list[Path], mebibytes: int = 8) -> None:
    """Make ext4 images, each a copy of the first. EnvironmentFailure without mke2fs."""
    if not images:
        return
    first = images[0]
    first.parent.mkdir(parents=True, exist_ok=True)
    if shutil.which("mke2fs") is None:
        raise EnvironmentFailure("mke2fs is missing", allowed="the package e2fsprogs")
    with open(first, "wb") as file:
        file.truncate(mebibytes * 1024 * 1024)
    run(
        [
            "mke2fs", "-q", "-t", "ext4", "-m", "0", "-b", "1024", "-I", "256",
            "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
            "-J", "size=1", str(first),
        ]
    )  # fmt: skip
    data = first.read_bytes()
    pieces = list(_pieces(data))
    for image in images[1:]:
        with open(image, "wb", buffering=0) as file:
            file.truncate(len(data))
            for start, end in pieces:
                os.pwrite(file.fileno(), data[start:end], start)


def writable(folder: Path) -> None:
    """Put a file system in memory over a folder that is read-only. OSError when that cannot be."""
    if os.access(folder, os.W_OK):
        return
    if _libc().mount(b"tmpfs", str(folder).encode(), b"tmpfs", ctypes.c_ulong(0), b"mode=755") != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))


def bind(file: Path, target: Path) -> None:
    """Let `file` be seen in `target` until `unbind`. OSError when that cannot be."""
    if _libc().mount(str(file).encode(), str(target).encode(), None, ctypes.c_ulong(_MS_BIND), None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def unbind(target: Path) -> None:
    """Let what was there before be seen again."""
    _umount(target)


def _pieces(data: bytes, block: int = 65536) -> Iterator[tuple[int, int]]:
    """From where to where there are blocks that are not all zeros, neighbours together."""
    begin: int | None = None
    for start in range(0, len(data), block):
        holds = any(data[start : start + block])
        if holds and begin is None:
            begin = start
        elif not holds and begin is not None:
            yield begin, start
            begin = None
    if begin is not None:
        yield begin, len(data)


def _attach(image: Path) -> tuple[int, str]:
    """Bind the image to a free loop device that frees itself with its last user."""
    backing = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
        device = f"/dev/loop{number}"
        if not os.path.exists(device):
            os.mknod(device, 0o60600, os.makedev(_LOOP_MAJOR, number))
        loop = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        information = bytearray(232)
        struct.pack_into("=I", information, _INFO_FLAGS_OFFSET, _LO_FLAGS_AUTOCLEAR)
        try:
            fcntl.ioctl(loop, _LOOP_CONFIGURE, _LOOP_CONFIG.pack(backing, 0, bytes(information)))
        except OSError:
            os.close(loop)
            raise
        # Kernels may refuse to mount a device that somebody holds open for writing (BLK_DEV_WRITE_MOUNTED).
        reader = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        os.close(loop)
        return reader, device
    finally:
        os.close(control)
        os.close(backing)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(device: str, folder: Path) -> None:
    code = _libc().mount(
        device.encode(), str(folder).encode(), b"ext4", ctypes.c_ulong(_MS_NOATIME), b"errors=continue"
    )
    if code != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), device)


def _umount(folder: Path) -> None:
    if _libc().umount2(str(folder).encode(), ctypes.c_int(_MNT_DETACH)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
