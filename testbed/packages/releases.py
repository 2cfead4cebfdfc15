"""The releases of Debian that there are packages for. Knows nothing of what is in them."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.errors import InputError
from testbed.setup.installer import Guest

PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")
"""Of wheels; the glibc of the oldest release here is newer than all of them."""


@dataclass(frozen=True)
class Release:
    """One release; `python` is the version that its python3 is of."""

    number: int
    name: str
    python: str

    @property
    def folder(self) -> str:
        """Where its packages are put."""
        return f"debian-{self.number}"

    @property
    def suffix(self) -> str:
        """The end of its packages' versions: an upgrade of the release is one of the packages."""
        return f"~deb{self.number}"

    @property
    def wheels(self) -> Guest:
        """Whose wheels run on it."""
        return Guest(self.python, PLATFORMS)

    @property
    def next_python(self) -> str:
        """The first version of Python whose modules are elsewhere."""
        major, minor = self.python.split(".")
        return f"{major}.{int(minor) + 1}"


RELEASES = (Release(12, "bookworm", "3.11"), Release(13, "trixie", "3.13"))


def release(number: int) -> Release:
    """The release of this number. InputError."""
    for each in RELEASES:
        if each.number == number:
            return each
    raise InputError(
        f"no packages for Debian {number}", where="--release", allowed=", ".join(str(each.number) for each in RELEASES)
    )
