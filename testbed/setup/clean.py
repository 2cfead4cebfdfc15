"""Clean trees of Debian, which packages of the agents are installed in; and one of programs that look at packages.

A clean tree has what every Debian has, Python, openssl, and no systemd. Knows nothing of what is installed.
"""

from __future__ import annotations

from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup import archive, tree
from testbed.setup.artefact import Artefact, digest
from testbed.setup.command import run

# Raised when what this file does changes, so that every cached tree is made anew.
RECIPE = 1
SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
"""The release that the packages of each section of the lock are of."""
NAMES = ("openssl", "python3", "systemd-standalone-sysusers")
PROGRAMS = ("lintian", "umoci")
TOOLS = "lintian"
SECTIONS = (*SUITES, TOOLS)
BY_DPKG = Path("etc/dpkg/dpkg.cfg.d/99mmdebstrap")
"""Tells the tree's dpkg to leave out manual pages."""


def clean(section: str) -> Artefact:
    """The tree of this release: its `root` is nobody's to change."""
    suite = SUITES[section]

    def build(folder: Path) -> None:
        what, locked = archive.SECTIONS[section], archive.locked(section)
        tree.bootstrapped(folder, what, locked, names(section), tree.LEFT_OUT, suite)
        (folder / "root" / BY_DPKG).unlink(missing_ok=True)

    return Artefact(section, _key(section), build, 600)


def tools() -> Artefact:
    """Lintian and umoci with all that they need, unpacked and not set up: they run by chroot."""

    def build(folder: Path) -> None:
        with archive.opened() as debian:
            resolved = debian.resolve(archive.SECTIONS[TOOLS], archive.locked(TOOLS), names(TOOLS))
            files = debian.fetch(resolved.packages)
        root = folder / "root"
        root.mkdir()
        # base-files first: it brings the links from /bin to /usr/bin.
        for file in sorted(files, key=lambda each: (not each.name.startswith("base-files_"), each.name)):
            run(["dpkg-deb", "-x", file, root], what=f"unpacking {file.name}")
        (root / "etc" / "dpkg" / "origins" / "default").symlink_to("debian")  # base-files' script does it elsewhere
        for name in ("dev", "mnt", "proc", "tmp"):
            (root / name).mkdir(exist_ok=True)

    return Artefact("package-tools", _key(TOOLS), build, 600)


def names(section: str) -> tuple[str, ...]:
    """What is asked for, of which the rest follows."""
    return (*tree.BASE, *(PROGRAMS if section == TOOLS else NAMES))


def _key(section: str) -> str:
    if not archive.locked(section):
        raise EnvironmentFailure(f"the lock names no package of {section}", next_command="./lab lock renew")
    return digest(repr((RECIPE, names(section))), "\n".join(map(str, archive.locked(section))))
