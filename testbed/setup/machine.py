"""A Debian trixie as an installer leaves it, with systemd and FRR: the root of machines that boot inside the guest.

Nothing of the project is in it, and nobody changes it: a machine writes over it in memory. It knows nothing of what is
installed there.
"""

from __future__ import annotations

from pathlib import Path

from testbed.setup import archive, tree
from testbed.setup.artefact import Artefact, digest

# Raised when what this file does to the tree changes.
RECIPE = 1
SECTION = "machine"
PACKAGES = (
    "apt", "dbus", "frr", "frr-pythontools", "iproute2", "iputils-ping", "kmod", "nftables", "openssl", "procps",
    "python3", "systemd-sysv", "tcpdump",
)  # fmt: skip
# A package's own pages are looked at by those who install it.
LEFT_OUT = ("/usr/share/locale/*",)


def machine() -> Artefact:
    """The tree, in the folder `root`."""
    locked = archive.locked(SECTION)
    return Artefact("machine-tree", digest(repr((RECIPE, names(), LEFT_OUT)), *map(str, locked)), _build, 1500)


def names() -> tuple[str, ...]:
    """The Debian packages that are asked for."""
    return (*tree.BASE, *PACKAGES)


def _build(folder: Path) -> None:
    tree.bootstrapped(folder, archive.SECTIONS[SECTION], archive.locked(SECTION), names(), LEFT_OUT)
