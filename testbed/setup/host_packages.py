"""Debian packages on the host: finds which are missing and installs those, with one apt-get call."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from testbed.errors import EnvironmentFailure
from testbed.setup.command import run
from testbed.setup.progress import say, step

# Indexes of a mirror that has not been refreshed for weeks are still signed; only their date is stale.
APT_OPTIONS = ("-o", "Acquire::Check-Valid-Until=false", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=600")

FOR_VENV = ("python3-venv",)
FOR_TREE = ("mmdebstrap", "debian-archive-keyring")
# Without root, mmdebstrap works in a user namespace with a range of user numbers.
FOR_TREE_WITHOUT_ROOT = ("uidmap",)
FOR_KERNEL = ("gcc", "libc6-dev", "make", "flex", "bison", "bc", "xz-utils", "patch", "dpkg")
# Spin makes a C program of a model, and that is compiled: the tests of models/.
FOR_MODELS = ("spin", "gcc", "libc6-dev")

# A browser without a screen: the tests of pages open them as people do.
FOR_PAGES = ("chromium-headless-shell",)


def for_pages() -> tuple[str, ...]:
    """What opening pages in a browser lacks."""
    return () if shutil.which("chromium-headless-shell") else FOR_PAGES


def for_models() -> tuple[str, ...]:
    """What checking models/ lacks: nothing when Spin and a compiler are found, wherever they come from."""
    return () if shutil.which("spin") and shutil.which("gcc") else FOR_MODELS


def missing(packages: Sequence[str]) -> list[str]:
    """Those of the Debian packages that are not installed."""
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *packages],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    installed = {line.split()[0] for line in listed.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def version(package: str) -> str | None:
    """The version of an installed package."""
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package],
        text=True,
        capture_output=True,
        check=False,
    ).stdout.split()
    return listed[1] if len(listed) == 2 and listed[0] == "installed" else None


def install(packages: Sequence[str]) -> None:
    """Install what is missing of `packages`. Raises EnvironmentFailure naming the command a person can type."""
    if shutil.which("dpkg-query") is None:
        raise EnvironmentFailure(
            "this is not a Debian-family machine", allowed="Debian 12 or 13, or a relative with apt"
        )
    wanted = missing(packages)
    if not wanted:
        return
    by_hand = f"sudo apt-get update && sudo apt-get install {' '.join(wanted)}"
    apt = [*_as_root(by_hand), "apt-get", *APT_OPTIONS, "-q", "-y"]
    with step(f"installing {', '.join(wanted)}"):
        try:
            run([*apt, "update"], what="apt-get update", tries=3, next_command=by_hand)
        except EnvironmentFailure as error:
            # One source of several that cannot be read is not fatal: the packages may come from another.
            say(f"{error.problem}\ntrying with the package lists as they are")
        run(
            [*apt, "install", "--no-install-recommends", *wanted], env={"DEBIAN_FRONTEND": "noninteractive"},
            what="apt-get install", tries=3, end_with=None, next_command=by_hand,
        )  # fmt: skip


def may_install() -> bool:
    """Whether this user is root, or may become root without a password."""
    return os.geteuid() == 0 or _sudo()


def _as_root(by_hand: str) -> list[str]:
    """The words that turn a command into root's, or EnvironmentFailure."""
    if os.geteuid() == 0:
        return []
    if _sudo():
        return ["sudo", "-n"]
    raise EnvironmentFailure(
        "Debian packages are missing and this user may not install them", allowed="root, or sudo", next_command=by_hand
    )


def _sudo() -> bool:
    return (
        shutil.which("sudo") is not None
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    )
