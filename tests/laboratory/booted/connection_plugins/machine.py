"""Ansible's way into a machine that boots inside the guest: its namespaces, in place of SSH.

Knows a machine by its process 1, which the environment variable MACHINES names for each host, as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

from ansible.plugins.connection import ConnectionBase

from tests.laboratory.booted.machines import ENVIRONMENT, inside

DOCUMENTATION = """
name: machine
short_description: A machine with systemd inside the guest
description: Runs commands in the namespaces of the machine's process 1, as root.
author: the project
options: {}
"""


class Connection(ConnectionBase):  # type: ignore[misc]
    """One machine."""

    transport = "machine"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._pid = int(json.loads(os.environ["MACHINES"])[self._play_context.remote_addr])
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a command of the shell there. Its exit code and what it printed."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        words = inside(self._pid, "/bin/sh", "-c", cmd)
        done = subprocess.run(words, env=ENVIRONMENT, input=in_data or b"", capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file to it."""
        shutil.copyfile(in_path, self._there(out_path))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file from it."""
        shutil.copyfile(self._there(in_path), out_path)

    def _there(self, path: str) -> str:
        return f"/proc/{self._pid}/root{path}"

    def close(self) -> Any:
        """Nothing is held."""
        self._connected = False
