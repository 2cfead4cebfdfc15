"""Hardening of every agent before it reads a key: no core files, no access to its memory, no folder that others can
write.

Works without a service manager too. Knows nothing of keys.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import stat
from pathlib import Path

from agents.runtime.storage import make_folder

_PR_SET_DUMPABLE = 4


def process() -> None:
    """This process leaves no core file, and others of the same user may not trace it (prctl(2))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def folder(path: Path) -> None:
    """Make it for this user only, if it does not exist. PermissionError when others could add or remove files, since
    its content is trusted. OSError when its disk is full or read-only."""
    make_folder(path, 0o700)
    status = path.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        why = (
            f"user {os.geteuid()} must own it and no other user may write (it is user {status.st_uid}'s, mode "
            f"{mode:04o})"
        )
        error = PermissionError(errno.EPERM, why, str(path))
        error.add_note(f"chown {os.geteuid()} {path} && chmod 0700 {path}")
        raise error
    room(path)


def room(path: Path) -> None:
    """OSError when files cannot be written below this folder: no space, no inode, read-only."""
    disk = os.statvfs(path)
    free = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
    if disk.f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
    if free == 0 or (disk.f_files and disk.f_ffree == 0):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
