"""All packages of a commit for some releases, into one folder."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from testbed.packages import deb, layout
from testbed.packages.releases import RELEASES, release
from testbed.packages.source import source
from testbed.setup.progress import step

SYSUSERS = "systemd | systemd-standalone-sysusers | systemd-sysusers"


def build(out: Path, releases: Sequence[int] = (), commit: str | None = None) -> list[Path]:
    """Write the packages into `out`/debian-NUMBER, for all releases where none is named; their files.

    Packages of the same name there are replaced. `commit`: of its agents, with today's packaging. InputError,
    EnvironmentFailure.
    """
    wanted = [release(each) for each in releases] or list(RELEASES)
    made = []
    with source(commit) as of:
        for each in wanted:
            folder = out / each.folder
            folder.mkdir(parents=True, exist_ok=True)
            values = {
                "version": layout.debian_version(of, each), "maintainer": layout.maintainer(), "sysusers": SYSUSERS,
                "python": each.python, "next_python": each.next_python,
            }  # fmt: skip
            with step(f"building the packages for Debian {each.number}"), tempfile.TemporaryDirectory() as name:
                layout.lay(of, each, Path(name))
                for package, stanza in deb.stanzas(values).items():
                    for old in folder.glob(f"{package}_*.deb"):
                        old.unlink()
                    made.append(deb.build(package, stanza, Path(name) / package, folder, of.epoch_s))
    return made
