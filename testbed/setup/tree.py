"""The guest's root: a Debian trixie tree with FRR, Mininet, strongSwan and the locked Python packages.

Root makes it in place; any other user through a user namespace, and owns all its files then. The guest sees it
read-only, as root, with the rights that whoever runs the guest has to the files.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from testbed.setup import host_packages, installer
from testbed.setup.artefact import Artefact, digest, remove
from testbed.setup.command import run
from testbed.setup.mirrors import source_lines
from testbed.setup.paths import PROJECT

# Raised when what this file does to the tree changes, so that every cached tree is made anew.
RECIPE = 2
SUITE = "trixie"
GUEST_PYTHON = "3.13"
SITE = Path("opt/lab/site")
LOCK = PROJECT / "locks" / "guest.txt"
PACKAGES = (
    "bridge-utils", "e2fsprogs", "ethtool", "frr", "frr-pythontools", "iperf3", "iproute2", "iputils-ping", "kmod",
    "libstrongswan-extra-plugins", "libstrongswan-standard-plugins", "mininet", "nftables", "openvswitch-switch",
    "procps", "python3", "strongswan-charon", "strongswan-swanctl", "tcpdump", "tshark",
)  # fmt: skip
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
# Root's mmdebstrap mounts the machine's /proc and /sys in the tree: they go when it is killed,
# and all its processes.
OWN_NAMESPACES = ("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child")
MOUNT_POINTS = ("lab/project", "lab/run", "usr/lib/modules", "opt/lab")
STAGE1 = PROJECT / "testbed" / "guest" / "stage1.sh"
INIT = Path("opt/lab/init")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")


def tree() -> Artefact:
    recipe = repr((RECIPE, SUITE, GUEST_PYTHON, PACKAGES, LEFT_OUT, MOUNT_POINTS, PLATFORMS))
    return Artefact("guest-tree", digest(LOCK, STAGE1, recipe), _build, space_mib=2000)


def packages_for_setup() -> tuple[str, ...]:
    """Debian packages that making the tree needs."""
    return host_packages.FOR_TREE + (() if os.geteuid() == 0 else host_packages.FOR_TREE_WITHOUT_ROOT)


def _build(folder: Path) -> None:
    host_packages.install(packages_for_setup())
    root = folder / "root"
    if os.geteuid() == 0:
        _bootstrap("root", root)
        become_root: tuple[str, ...] = ()
    else:
        archive = folder / "tree.tar"
        _bootstrap("unshare", archive)
        root.mkdir()
        run(
            ["tar", "-xf", archive, "-C", root, "--no-same-owner", "--exclude=./dev/*"], what="unpacking the guest tree"
        )
        archive.unlink()
        become_root = ("unshare", "--map-root-user")
    # The guest reads its root through hostfs with the rights of whoever runs it.
    run(["chmod", "-R", "a+rX,u+w", root], what="making the guest tree readable")
    for point in MOUNT_POINTS:
        (root / point).mkdir(parents=True, exist_ok=True)
    shutil.copy2(STAGE1, root / INIT)
    (root / INIT).chmod(0o755)
    guest = installer.Guest(GUEST_PYTHON, PLATFORMS)
    installer.install(LOCK, into=root / SITE, what="installing the guest's Python packages", guest=guest)
    run(
        [*become_root, "chroot", root, "python3", "-m", "compileall", "-q", f"/{SITE}"],
        what="compiling the guest's Python packages",
    )
    (folder / "packages.txt").write_text(
        run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W"], what="listing the guest's packages")
    )


def _bootstrap(mode: str, target: Path) -> None:
    run(
        [*_own_namespaces(mode), "mmdebstrap", "--variant=minbase", f"--mode={mode}", f"--include={','.join(PACKAGES)}",
         '--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Acquire::Retries "3"',
         *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
         SUITE, target, *source_lines(SUITE, f"{SUITE}-updates")],
        what=f"mmdebstrap {SUITE}", tries=3, env={"LC_ALL": "C.UTF-8"}, before_retry=lambda: _discard(target),
        end_with=signal.SIGKILL,
    )  # fmt: skip


def _own_namespaces(mode: str) -> tuple[str, ...]:
    """The words that contain mmdebstrap; none where root may not have namespaces, and so may not mount either."""
    if mode != "root":
        return ()  # it makes its own
    tried = subprocess.run([*OWN_NAMESPACES, "true"], capture_output=True, check=False)
    return OWN_NAMESPACES if tried.returncode == 0 else ()


def _discard(target: Path) -> None:
    if target.is_dir():
        remove(target)
    else:
        target.unlink(missing_ok=True)
