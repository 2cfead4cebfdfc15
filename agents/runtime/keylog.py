"""The file of `--ike-log`: the keys of every IKE SA, to decrypt an experiment's captures. Never in service.

Appended to by several processes; readable by its owner only. Knows nothing of a line's meaning.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agents.runtime.effects import KeyLines
from agents.runtime.settings import ConfigError

HELP = "experiments only: append the keys of every IKE SA to FILE, for Wireshark and `lab decode`"


class KeyLog:
    """Open only when the command line asked for it."""

    def __init__(self, path: Path) -> None:
        """Make it with mode 0600. ConfigError when it cannot be made, belongs to another user, or others may read
        it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigError(f"--ike-log {path}: {error.strerror}") from error
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.geteuid():
            os.close(self._descriptor)
            raise ConfigError(f"--ike-log {path}: must be a file of your own with mode 0600; it would hold secrets")

    def write(self, keys: KeyLines) -> None:
        """Append. OSError when the disk is full."""
        os.write(self._descriptor, "".join(f"{line}\n" for line in keys.lines).encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
