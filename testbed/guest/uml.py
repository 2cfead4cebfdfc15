"""How User-Mode Linux is started: its binary, its command line, and where its memory is kept.

Knows nothing of what the guest runs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from enum import IntFlag
from pathlib import Path
from types import MappingProxyType

from testbed.errors import EnvironmentFailure
from testbed.setup import code, kernel, tree
from testbed.setup.artefact import Artefact
from testbed.setup.paths import PROJECT

READY_UML = Path("/usr/bin/linux.uml")
READY_MODULES = Path("/usr/lib/uml/modules")
# When every guest in virtual time starts, 2030-01-01, so that dates repeat with the seed. Nanoseconds since 1970.
VIRTUAL_EPOCH_NS = 1893456000 * 10**9
# What a guest may see of the host, as links in the folder it is started in. The kernel mixes its command line into its
# randomness: with the same words for every run, folder and machine, the same seed gives the same run. hostfs takes
# absolute paths only.
HERE = "/proc/self/cwd"
ROOT, PROJECT_LINK, CODE, RUN, MODULES = "root", "project", "code", "run", "modules"
# What the kernel's own process reads and writes on the host beside what the guest sees; none of it is of any secret.
READ = (
    "/lib", "/lib64", "/usr/lib", "/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo", "/dev/random", "/dev/urandom",
)  # fmt: skip
WRITE = ("/dev/null", "/dev/zero", "/dev/ptmx", "/dev/pts", "/dev/tty")


class Shortcut(IntFlag):
    """What our kernel's patches do to save time, as arch/um/include/shared/testbed.h numbers it."""

    WRITE_AROUND = 1
    READ_OLD = 2
    KEEP_MEMORY = 4
    POPULATE = 8
    FAST_CLOCK = 16
    VDSO_CLOCK = 32
    DEAR_POLLS = 64


NO_SHORTCUT = Shortcut(0)


def argv(
    *,
    root: Artefact,
    virtual: bool,
    run_dir: Path,
    control_dir: Path,
    seed: int,
    memory_mib: int,
    without: Shortcut = NO_SHORTCUT,
    folders: Mapping[str, Path] = MappingProxyType({}),
) -> list[str]:
    """The command that boots a guest with `run_dir` as /lab/run, to be started in `control_dir`, which gets links.

    `folders`: further links there, by name; the guest may read what they name.

    Raises EnvironmentFailure when nothing can be booted.
    """
    if not root.ready:
        raise EnvironmentFailure("the guest tree is not made", next_command="./lab setup")
    binary, modules = _kernel(virtual=virtual)
    links = {ROOT: root.path / "root", PROJECT_LINK: PROJECT, CODE: code.code().path, RUN: run_dir, **folders}
    words = {
        "mem": f"{memory_mib}M",
        "root": "/dev/root",
        "rootfstype": "hostfs",
        "rootflags": f"{HERE}/{ROOT}",
        "con0": "fd:0,fd:1",
        "con": "null",
        "init": f"/{tree.INIT}",
        "uml_dir": "uml",
        "panic": "-1",
        "loglevel": "3",
    }
    if modules is None:
        words["seccomp"] = "on"
        words["testbed_seed"] = str(seed)
        if without:
            words["testbed_without"] = str(int(without))
    else:
        links[MODULES] = modules
        words["lab_modules"] = f"{HERE}/{MODULES}"
    if virtual:
        words["time-travel"] = "inf-cpu"
        words["time-travel-start"] = str(VIRTUAL_EPOCH_NS)
    for name, target in links.items():
        (control_dir / name).symlink_to(target)
    return [str(binary), "ro", "quiet", "lab_guest", *(f"{name}={value}" for name, value in words.items())]


def allowed(control_dir: Path, memory_mib: int) -> dict[str, list[str] | str]:
    """What of the host the guest that `argv` boots in `control_dir` may use, for testbed/guest/supervise.py.

    Raises EnvironmentFailure when there is no room for its memory.
    """
    links = {path.name: str(path.resolve()) for path in control_dir.iterdir() if path.is_symlink()}
    write = [str(control_dir.resolve()), links.pop(RUN), *filter(os.path.exists, WRITE)]
    kernels = (READY_UML, kernel.kernel().path)
    read = [*links.values(), *filter(os.path.exists, (*READ, *map(str, kernels)))]
    return {"read": read, "write": write, "memory": str(memory_folder(memory_mib))}


def _kernel(*, virtual: bool) -> tuple[Path, Path | None]:
    """The kernel's binary, and the folder of its modules if it has any."""
    if kernel.kernel().ready:
        return kernel.binary(), None
    if not virtual and READY_UML.exists():
        return READY_UML, READY_MODULES
    kind = "virtual" if virtual else "uml"
    raise EnvironmentFailure("the guest kernel is not built", next_command=f"./lab setup --kernel {kind}")


def memory_folder(mib: int, candidates: tuple[Path, ...] | None = None) -> Path:
    """Where the file goes that is the guest's memory: in memory if there is room, else on a disk.

    User-Mode Linux maps it executable and dies without a word when it cannot grow. Raises EnvironmentFailure when no
    folder has `mib` MiB free.
    """
    if candidates is None:
        named = [Path(os.environ["TMPDIR"])] if os.environ.get("TMPDIR") else []
        candidates = (Path("/dev/shm"), *named, Path("/tmp"), Path("/var/tmp"))
    seen: list[str] = []
    for folder in candidates:
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            seen.append(f"{folder}: cannot be written")
        elif os.statvfs(folder).f_flag & os.ST_NOEXEC:
            seen.append(f"{folder}: mounted noexec")
        elif (free := shutil.disk_usage(folder).free // 2**20) < mib:
            seen.append(f"{folder}: {free} MiB free")
        else:
            return folder
    raise EnvironmentFailure(
        f"there is no room for the guest's memory of {mib} MiB: {'; '.join(seen)}",
        allowed="a folder with that much room, not mounted noexec, named by TMPDIR",
        next_command="TMPDIR=/some/folder ./lab …, or mount -o remount,exec,size=4G /dev/shm",
    )
