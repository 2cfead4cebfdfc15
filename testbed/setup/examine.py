"""Looks at the machine and at the cache, and says of each thing whether it is there. Changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.setup import host_packages, kernel, python_env, tree
from testbed.setup.artefact import Artefact
from testbed.setup.paths import cache_dir


@dataclass(frozen=True)
class Finding:
    """One thing: `missing` will be made when it is needed, `bad` needs a person."""

    what: str
    state: Literal["ok", "missing", "bad"]
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Everything the laboratory depends on, the basic things first."""
    return [
        Finding("Python", "ok", sys.version.split()[0]),
        _debian(),
        _packages(),
        _space(),
        _shared_memory(),
        _made(python_env.venv()),
        _made(tree.tree()),
        _made(kernel.kernel()),
    ]


def _debian() -> Finding:
    if shutil.which("dpkg-query") and shutil.which("apt-get"):
        return Finding("Debian family", "ok", "dpkg and apt-get are there")
    return Finding("Debian family", "bad", "no dpkg or no apt-get", "use Debian 12 or 13")


def _packages() -> Finding:
    made = tree.tree().ready and kernel.kernel().ready
    wanted = (*host_packages.FOR_TREE, *host_packages.FOR_KERNEL)
    absent = host_packages.missing(wanted) if shutil.which("dpkg-query") else list(wanted)
    if not absent or made:
        return Finding("Debian packages for setup", "ok", "installed" if not absent else "no longer needed")
    by_hand = f"sudo apt-get install {' '.join(absent)}"
    if os.geteuid() == 0 or shutil.which("sudo"):
        return Finding(
            "Debian packages for setup", "missing", ", ".join(absent), f"./lab setup installs them, or: {by_hand}"
        )
    return Finding("Debian packages for setup", "bad", ", ".join(absent), by_hand)


def _space() -> Finding:
    folder = next(path for path in (cache_dir(), *cache_dir().parents) if path.exists())
    needed = sum(made.space_mib for made in (python_env.venv(), tree.tree(), kernel.kernel()) if not made.ready)
    free = shutil.disk_usage(folder).free // 2**20
    detail = f"{free} MiB free in {cache_dir()}, {needed} MiB needed for what is missing"
    if not os.access(folder, os.W_OK):
        return Finding("cache", "bad", f"{folder} cannot be written", "set LAB_CACHE to a folder of yours")
    if free < needed:
        return Finding("cache", "bad", detail, "./lab clean --cache, or set LAB_CACHE to a larger disk")
    return Finding("cache", "ok", detail)


def _shared_memory() -> Finding:
    """User-Mode Linux keeps the guest's memory in /dev/shm, or in $TMPDIR."""
    shared = Path("/dev/shm")
    free = shutil.disk_usage(shared).free // 2**20 if shared.is_dir() else 0
    if free < 1024:
        return Finding("guest memory", "bad", f"{free} MiB free in /dev/shm", "mount -o remount,size=4G /dev/shm")
    return Finding("guest memory", "ok", f"{free} MiB free in /dev/shm")


def _made(artefact: Artefact) -> Finding:
    if artefact.ready:
        return Finding(artefact.kind, "ok", str(artefact.path))
    return Finding(artefact.kind, "missing", "not made yet", "./lab setup makes it")
