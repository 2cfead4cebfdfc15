"""The Debian mirrors that this machine's own apt uses, so that a local mirror is honoured."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from testbed.errors import EnvironmentFailure

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TRUST = f"[signed-by={KEYRING}]"


def source_lines(suite: str, *more: str) -> list[str]:
    """apt source lines for a release and `more` suites, and its security updates where this machine has a mirror."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(ORIGIN)"],
        text=True,
        capture_output=True,
        check=False,
    ).stdout
    plain, security = chosen(listed)
    lines = [f"deb {TRUST} {plain} {name} main" for name in (suite, *more)]
    if security:
        lines.append(f"deb {TRUST} {security} {suite}-security main")
    return lines


def snapshot_lines(service: str, time: str, suites: Sequence[str]) -> list[str]:
    """The same from a snapshot service, which has the archive as it was at any time: SERVICE/debian/TIME."""
    base = service.rstrip("/")
    return [
        *(f"deb {TRUST} {base}/debian/{time} {name} main" for name in suites),
        f"deb {TRUST} {base}/debian-security/{time} {suites[0]}-security main",
    ]


def chosen(listed: str) -> tuple[str, str | None]:
    """The site most of Debian comes from, and the one of the security updates, from lines "SITE RELEASE ORIGIN".

    Raises EnvironmentFailure when there is no Debian mirror.
    """
    plain: list[str] = []
    security: list[str] = []
    for line in listed.splitlines():
        site, _, rest = line.partition(" ")
        release, _, origin = rest.partition(" ")
        if origin.strip() == "Debian":
            (security if "security" in release or site.rstrip("/").endswith("-security") else plain).append(site)
    if not plain:
        raise EnvironmentFailure(
            "no Debian mirror is configured on this machine, or its package lists were never read",
            where="/etc/apt",
            allowed="a Debian source for apt",
            next_command="sudo apt-get update",
        )
    return max(set(plain), key=plain.count), max(set(security), key=security.count) if security else None
