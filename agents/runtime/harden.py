"""What every agent does before it reads a key: no core files, no looking into its memory, no folder that others write.

Holds also where no service manager sees to it. Knows nothing of keys.
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
    """Make it for this user alone, if it is not there. PermissionError when others could put files into it or take
    them away: what is retained there is believed."""
    make_folder(path, 0o700)
    found = path.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        mode = stat.S_IMODE(found.st_mode)
        why = f"user {os.geteuid()} must own it and nobody else may write (its mode is {mode:04o})"
        raise PermissionError(errno.EPERM, why, str(path))
