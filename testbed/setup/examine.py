"""Looks at the machine and at the cache, and says of each thing whether it is there. Changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.errors import LabError
from testbed.guest import native, supervise, uml
from testbed.guest.boot import GuestSpec
from testbed.setup import archive, host_packages, kernel, made_of, python_env, tree
from testbed.setup.artefact import Artefact, leftovers
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
        _cache(),
        _memory(),
        _bounds(),
        *(_made(artefact) for artefact in (python_env.venv(), tree.tree(), kernel.kernel())),
        *against_the_lock(),
        _for_tests(),
        _layers(),
        _ready_kernel(),
        _native(),
        *(Finding("leftover of a killed build", "missing", str(path), "./lab clean") for path in _leftovers()),
    ]


def _debian() -> Finding:
    if platform.machine() != "x86_64":
        return Finding(
            "processor", "bad", platform.machine(), "use an x86-64 machine: User-Mode Linux runs on no other"
        )
    if shutil.which("dpkg-query") and shutil.which("apt-get"):
        return Finding("Debian family", "ok", "dpkg and apt-get are there")
    return Finding("Debian family", "bad", "no dpkg or no apt-get", "use Debian 12 or 13")


def _packages() -> Finding:
    what = "Debian packages for setup"
    wanted = () if tree.tree().ready else tree.packages_for_setup()
    if not kernel.kernel().ready:
        wanted += host_packages.FOR_KERNEL
    wanted += host_packages.for_models()
    absent = host_packages.missing(wanted) if shutil.which("dpkg-query") else list(wanted)
    if not absent:
        return Finding(what, "ok", "installed" if wanted else "no longer needed")
    by_hand = f"sudo apt-get install {' '.join(absent)}"
    if host_packages.may_install():
        return Finding(what, "missing", ", ".join(absent), f"./lab setup installs them, or: {by_hand}")
    return Finding(what, "bad", f"{', '.join(absent)}; this user may not install them", by_hand)


def _cache() -> Finding:
    folder = next(path for path in (cache_dir(), *cache_dir().parents) if path.exists())
    needed = sum(made.space_mib for made in (python_env.venv(), tree.tree(), kernel.kernel()) if not made.ready)
    free = shutil.disk_usage(folder).free // 2**20
    detail = f"{free} MiB free in {cache_dir()}, {needed} MiB needed for the missing artefacts"
    if needed and not os.access(folder, os.W_OK):
        return Finding("cache", "bad", f"{folder} cannot be written", "set LAB_CACHE to a folder that you may write")
    if free < needed:
        return Finding("cache", "bad", detail, "./lab clean --cache, or set LAB_CACHE to a larger disk")
    return Finding("cache", "ok", detail)


def _memory() -> Finding:
    size = GuestSpec.memory_mib
    try:
        folder = uml.memory_folder(size)
    except LabError as error:
        return Finding("guest memory", "bad", error.problem, error.next_command or "")
    free = shutil.disk_usage(folder).free // 2**20
    at_once = min(free // size, os.cpu_count() or 1)
    return Finding(
        "guest memory", "ok", f"{free} MiB free in {folder}, enough for {at_once} guests of {size} MiB at once"
    )


def _bounds() -> Finding:
    what, version = "guest's bounds", supervise.landlock()
    if version >= supervise.LANDLOCK:
        return Finding(
            what, "ok", f"Landlock {version}: root in a guest reaches no files of this machine except its own"
        )
    return Finding(
        what,
        "ok",
        "this kernel has no Landlock: root in a guest reaches every file that you may reach; trust the code that "
        "you run",
    )


def _made(artefact: Artefact) -> Finding:
    if artefact.ready:
        return Finding(artefact.kind, "ok", str(artefact.path))
    return Finding(artefact.kind, "missing", "not made yet", "./lab setup makes it")


def against_the_lock() -> list[Finding]:
    """What of the guest is not what locks/debian.txt names."""
    findings = []
    for made, now, named in (
        (tree.tree(), tree.resolved(), archive.locked("guest")),
        (kernel.kernel(), kernel.source(), archive.locked("kernel")),
    ):
        if now and (changed := archive.differences(named, now)):
            findings.append(
                Finding(
                    f"{made.kind} against locks/debian.txt",
                    "ok",
                    archive.abridged(changed),
                    "records of the references cannot be the same; ./lab clean --cache and ./lab setup take the locked "
                    f"packages where the mirror, or {archive.SNAPSHOT}, has them; ./lab lock renew locks the newest",
                )
            )
    return findings


def _for_tests() -> Finding:
    tests = tree.tree(tests=True)
    detail = (
        str(tests.path) if tests.ready else "not made: only ./lab test and ./lab bench ike need it, and they make it"
    )
    return Finding(tests.kind, "ok", detail)


def _layers() -> Finding:
    made = [python_env.layer(name) for name in python_env.LAYERS]
    there = ", ".join(str(each.path) for each in made if each.ready)
    absent = ", ".join(name for name, each in zip(python_env.LAYERS, made, strict=True) if not each.ready)
    later = f"not made: {absent}; the verbs that need them add them" if absent else ""
    return Finding("Python layers", "ok", "; ".join(filter(None, (there, later))))


def _ready_kernel() -> Finding:
    what = f"Debian's {made_of.READY_UML}"
    if kernel.kernel().ready:
        return Finding(what, "ok", "not needed, since the guest kernel is built")
    if uml.READY_UML.exists():
        return Finding(what, "ok", "installed: --kernel uml works before the guest kernel is built")
    return Finding(what, "missing", "not installed; only --kernel uml without the guest kernel needs it")


def _native() -> Finding:
    what = "--kernel native"
    if os.geteuid() != 0:
        return Finding(what, "ok", "not available: this user is not root")
    if not tree.tree().ready:
        return Finding(what, "ok", "unknown until the guest tree is made")
    absent = native.lacking(tree.tree().path / "root")
    return Finding(
        what, "ok", f"not available: the running kernel lacks {', '.join(absent)}" if absent else "available"
    )


def _leftovers() -> list[Path]:
    return leftovers() if cache_dir().is_dir() and os.access(cache_dir(), os.W_OK) else []
