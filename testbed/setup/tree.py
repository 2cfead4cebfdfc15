"""The guest's root: a Debian trixie tree with FRR, Mininet, strongSwan and the locked Python packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from testbed.setup import host_packages, python_env
from testbed.setup.artefact import Artefact, digest
from testbed.setup.command import run
from testbed.setup.paths import PROJECT

SUITE = "trixie"
GUEST_PYTHON = "3.13"
SITE = Path("opt/lab/site")
LOCK = PROJECT / "locks" / "guest.txt"
PACKAGES = (
    "bridge-utils", "e2fsprogs", "ethtool", "frr", "frr-pythontools", "iperf3", "iproute2", "iputils-ping", "kmod",
    "libstrongswan-extra-plugins", "libstrongswan-standard-plugins", "mininet", "nftables", "openvswitch-switch",
    "procps", "python3", "strongswan-charon", "strongswan-swanctl", "tcpdump", "tshark",
)  # fmt: skip
MOUNT_POINTS = ("lab/project", "lab/run", "usr/lib/modules", "opt/lab")
STAGE1 = PROJECT / "testbed" / "guest" / "stage1.sh"
INIT = Path("opt/lab/init")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")
# pip 23 holds some wheels against the Python it runs on instead of the one named: the lock has settled versions already.
# The guest reads its root through hostfs with the rights of whoever runs it.
READABLE = "chmod -R a+rX,u+w"


def tree() -> Artefact:
    recipe = Path(__file__)
    return Artefact("guest-tree", digest(LOCK, STAGE1, recipe), _build, space_mib=2000)


def _build(folder: Path) -> None:
    host_packages.install(host_packages.FOR_TREE)
    mode = "root" if os.geteuid() == 0 else "unshare"
    root = folder / "root"
    run(
        ["mmdebstrap", "--variant=minbase", f"--mode={mode}", f"--include={','.join(PACKAGES)}",
         '--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Acquire::Retries "3"',
         "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
         "--dpkgopt=path-exclude=/usr/share/man/*", SUITE, root],
        what=f"mmdebstrap {SUITE}", tries=1, env={"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    for point in MOUNT_POINTS:
        (root / point).mkdir(parents=True, exist_ok=True)
    shutil.copy2(STAGE1, root / INIT)
    (root / INIT).chmod(0o755)
    run(
        [python_env.python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
         "--only-binary=:all:", "--python-version", GUEST_PYTHON, "--implementation", "cp", "--ignore-requires-python",
         *(f"--platform={platform}" for platform in PLATFORMS), "--target", root / SITE, "-r", LOCK],
        what="installing the guest's Python packages", tries=3,
    )  # fmt: skip
    run(["chroot", root, "python3", "-m", "compileall", "-q", f"/{SITE}"], what="compiling the guest's Python packages")
    (folder / "packages.txt").write_text(
        run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W"], what="listing the guest's packages")
    )
    run([*READABLE.split(), root], what="making the guest tree readable")
