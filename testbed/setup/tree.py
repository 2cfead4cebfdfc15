"""The guest's root: a Debian trixie tree with FRR, Mininet and the locked Python packages; and a second one for tests.

The tests' tree has strongSwan, tshark, promtool and their libraries besides, which no run uses. Root makes a tree in
place; any other user through a user namespace, and owns all its files then. The guest sees it read-only, as root, with
the rights that whoever runs the guest has to the files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup import archive, host_packages, installer
from testbed.setup.archive import Package
from testbed.setup.artefact import Artefact, digest, remove
from testbed.setup.command import run
from testbed.setup.paths import PROJECT

# Raised when what this file does to the tree changes, so that every cached tree is made anew.
RECIPE = 3
SUITE = "trixie"
GUEST_PYTHON = "3.13"
SITE = Path("opt/lab/site")
LOCK = PROJECT / "locks" / "guest.txt"
LOCK_FOR_TESTS = PROJECT / "locks" / "guest-tests.txt"
PACKAGES = (
    "bridge-utils", "e2fsprogs", "ethtool", "frr", "frr-pythontools", "iperf3", "iproute2", "iputils-ping", "kmod",
    "mininet", "nftables", "openvswitch-switch", "procps", "python3", "tcpdump",
)  # fmt: skip
FOR_TESTS = (
    "libstrongswan-extra-plugins", "libstrongswan-standard-plugins", "promtool", "strongswan-charon",
    "strongswan-swanctl", "tshark",
)  # fmt: skip
# What every Debian has.
BASE = ("?essential", "?priority(required)")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
# Root's mmdebstrap mounts the machine's /proc and /sys in the tree: they go when it is killed,
# and all its processes.
OWN_NAMESPACES = ("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child")
MOUNT_POINTS = ("lab/project", "lab/run", "usr/lib/modules", "opt/lab")
STAGE1 = PROJECT / "testbed" / "guest" / "stage1.sh"
INIT = Path("opt/lab/init")
GUEST = installer.Guest(GUEST_PYTHON, ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64"))
# What is in the tree: the lines of a lock.
RESOLVED = "debian.txt"


def tree(*, tests: bool = False) -> Artefact:
    """The guest's root, or the tests' one. Its key holds what the locks name, its `identity` what is in it."""
    kind, what = ("guest-tree-tests", "tests") if tests else ("guest-tree", "guest")
    return Artefact(kind, _key(_locked(tests), tests), lambda folder: _build(folder, tests, what), 1500)


def resolved() -> tuple[Package, ...]:
    """The Debian packages in the tree; none before it is made."""
    file = tree().path / RESOLVED
    return tuple(Package(*line.split()) for line in file.read_text().splitlines()) if file.exists() else ()


def identity() -> str:
    """The hash of all that the tree was made of, every package with its version and the hash of its file.

    It is the tree's key where the tree is what the locks name.
    """
    return _key(resolved() or _locked(False), False)


def wheels() -> dict[str, str]:
    """The Python packages in the tree by name: version, and the hash of all that the wheel brought."""
    site = tree().path / "root" / SITE
    digests = {}
    for folder in sorted(site.glob("*.dist-info")):
        name, version = folder.name.removesuffix(".dist-info").rsplit("-", 1)
        lines = (folder / "RECORD").read_text().splitlines()
        own = sorted(line for line in lines if "sha256=" in line and ".dist-info/" not in line)
        digests[name] = f"{version} {hashlib.sha256(chr(10).join(own).encode()).hexdigest()}"
    return digests


def _locked(tests: bool) -> tuple[Package, ...]:
    return archive.locked("guest", "tests") if tests else archive.locked("guest")


def _key(packages: Iterable[Package], tests: bool) -> str:
    recipe = repr((RECIPE, SUITE, _names(tests), LEFT_OUT, MOUNT_POINTS, GUEST))
    return digest(*_wheel_locks(tests), STAGE1, recipe, "\n".join(map(str, sorted(packages))))


def _names(tests: bool) -> tuple[str, ...]:
    """The Debian packages that are asked for."""
    return (*BASE, *PACKAGES, *(FOR_TESTS if tests else ()))


def _wheel_locks(tests: bool) -> tuple[Path, ...]:
    return (LOCK, LOCK_FOR_TESTS) if tests else (LOCK,)


def packages_for_setup() -> tuple[str, ...]:
    """Debian packages that making the tree needs."""
    return host_packages.FOR_TREE + (() if os.geteuid() == 0 else host_packages.FOR_TREE_WITHOUT_ROOT)


def bootstrapped(
    folder: Path,
    what: str,
    locked: Sequence[Package],
    names: Sequence[str],
    left_out: Sequence[str],
    suite: str = SUITE,
) -> tuple[Package, ...]:
    """Make a tree of Debian packages in `folder`/root, and say beside it what is in it: its packages.

    `what` is told where the mirror has not what is `locked`. EnvironmentFailure when it cannot be made.
    """
    host_packages.install(packages_for_setup())
    with archive.opened(suite) as debian:
        resolved = debian.resolve(what, locked, names)
        files = debian.fetch(resolved.packages)
    root = folder / "root"
    if os.geteuid() == 0:
        _bootstrap("root", root, resolved.packages, files, left_out, suite)
    else:
        packed = folder / "tree.tar"
        _bootstrap("unshare", packed, resolved.packages, files, left_out, suite)
        root.mkdir()
        run(["tar", "-xf", packed, "-C", root, "--no-same-owner", "--exclude=./dev/*"], what="unpacking the tree")
        packed.unlink()
    # The guest reads its root through hostfs with the rights of whoever runs it.
    run(["chmod", "-R", "a+rX,u+w", root], what="making the tree readable")
    (root / "etc" / "apt" / "sources.list").unlink(missing_ok=True)  # it names a folder of this machine
    _check(root, resolved.packages)
    (folder / RESOLVED).write_text("".join(f"{package}\n" for package in resolved.packages))
    return resolved.packages


def _build(folder: Path, tests: bool, what: str) -> None:
    packages = bootstrapped(folder, archive.SECTIONS[what], _locked(tests), _names(tests), LEFT_OUT)
    root = folder / "root"
    become_root = () if os.geteuid() == 0 else ("unshare", "--map-root-user")
    for point in MOUNT_POINTS:
        (root / point).mkdir(parents=True, exist_ok=True)
    shutil.copy2(STAGE1, root / INIT)
    (root / INIT).chmod(0o755)
    for lock in _wheel_locks(tests):
        installer.install(lock, into=root / SITE, what="installing the guest's Python packages", guest=GUEST)
    run(
        [*become_root, "chroot", root, "python3", "-m", "compileall", "-q", f"/{SITE}"],
        what="compiling the guest's Python packages",
    )
    _check(root, packages)


def _check(root: Path, packages: Iterable[Package]) -> None:
    """The tree holds these packages and no other. Raises EnvironmentFailure."""
    form = "${Package} ${Version} ${Architecture}\\n"
    query = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", form]
    there = set(run(query, what="listing the guest's packages").splitlines())
    wanted = {f"{each.name} {each.version} {each.architecture}" for each in packages}
    if there != wanted:
        raise EnvironmentFailure(
            f"the guest tree differs from its lock: {archive.abridged(sorted(there ^ wanted))}",
            where=str(root), next_command="./lab clean --cache; ./lab setup",
        )  # fmt: skip


def _bootstrap(
    mode: str, target: Path, packages: Iterable[Package], files: Iterable[Path], left_out: Iterable[str], suite: str
) -> None:
    with _repository(files, target.parent, suite) as source:
        names = ",".join(package.name for package in packages)
        run(
            [*_own_namespaces(mode), "mmdebstrap", "--variant=essential", f"--mode={mode}", f"--include={names}",
             *(f"--dpkgopt=path-exclude={pattern}" for pattern in left_out), suite, target, source],
            what=f"mmdebstrap {suite}", env={"LC_ALL": "C.UTF-8"}, end_with=signal.SIGKILL,
        )  # fmt: skip


@contextmanager
def _repository(files: Iterable[Path], beside: Path, suite: str) -> Iterator[str]:
    """The files as a repository while the tree is made; in a user namespace nothing in somebody's home can be read."""
    if os.geteuid() == 0:
        folder = beside / "repository"
        yield archive.repository(files, folder, suite)
        remove(folder)
        return
    with tempfile.TemporaryDirectory(prefix="lab-repository-") as name:
        os.chmod(name, 0o755)
        yield archive.repository(files, Path(name), suite)


def _own_namespaces(mode: str) -> tuple[str, ...]:
    """The words that contain mmdebstrap; none where root may not have namespaces, and so may not mount either."""
    if mode != "root":
        return ()  # it makes its own
    tried = subprocess.run([*OWN_NAMESPACES, "true"], capture_output=True, check=False)
    return OWN_NAMESPACES if tried.returncode == 0 else ()
