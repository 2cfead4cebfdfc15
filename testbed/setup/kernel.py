"""The guest kernel: User-Mode Linux with time travel, from Debian's linux-source, our configuration and patches.

The source is the newest `linux-source-*` of trixie-backports, else of trixie. It comes through a private set of
apt lists, so the host's own sources and package lists are not touched.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.owned import claim
from testbed.setup import host_packages
from testbed.setup.artefact import Artefact, digest, held
from testbed.setup.command import run
from testbed.setup.mirrors import source_lines
from testbed.setup.paths import PROJECT, cache_dir
from testbed.setup.progress import Counter, say, step

APT_FOLDER = "kernel-source"
# The lock that whoever reads or writes that folder holds.
DOWNLOADS = "linux-source"
FOLDER = PROJECT / "testbed" / "guest" / "kernel"
CONFIG = FOLDER / "config"
# Raised when what this file does to the kernel changes, so that every cached kernel is built anew.
RECIPE = 3
SUITES = ("trixie", "trixie-backports")
# The kernel mixes its own version line into its randomness: when and where it was built must not be in it.
STAMP = {
    "KBUILD_BUILD_TIMESTAMP": "Tue Jan  1 00:00:00 UTC 2030",
    "KBUILD_BUILD_USER": "lab",
    "KBUILD_BUILD_HOST": "lab",
    "KBUILD_BUILD_VERSION": "1",
}
# Roughly how many files our configuration compiles, for the progress shown.
FILES = 860
# Nine tenths of the source is drivers and machines that are never looked at; the Kconfig files must stay.
UNUSED = (
    *(f"*/{folder}/*.[chS]" for folder in (
        "drivers/gpu", "drivers/media", "drivers/staging", "drivers/infiniband", "drivers/net/ethernet",
        "drivers/net/wireless", "drivers/scsi", "drivers/usb", "drivers/iio", "sound",
    )),
    "*/Documentation/*.rst", "*/Documentation/*.yaml", "*/tools/testing/*", "*/tools/perf/*", "*/samples/*.c",
    "*/arch/*/boot/dts/*",
)  # fmt: skip
# What this option's name was before it was merged into another one: kernels have one or the other.
EITHER = {"CONFIG_PROC_SYSCTL=y", "CONFIG_SYSCTL=y"}
# Should a source fail to take the patches or to build, the release's own kernel is the next choice.
MIN_VERSION = (6, 12)


def patches() -> list[Path]:
    return sorted((FOLDER / "patches").glob("*.patch"))


def kernel() -> Artefact:
    """Its key does not hold the source's version: a newer one in the archive asks for no rebuild."""
    return Artefact("guest-kernel", digest(CONFIG, *patches(), repr((RECIPE, SUITES))), _build, space_mib=2500)


def binary() -> Path:
    return kernel().path / "linux"


def _build(folder: Path) -> None:
    host_packages.install((*host_packages.FOR_KERNEL, "debian-archive-keyring"))
    package = _download()
    work = folder / "work"
    with step(f"unpacking {package.name}"):
        run(["dpkg-deb", "-x", package, work], what="unpacking the kernel source")
        (tarball,) = (work / "usr" / "src").glob("linux-source-*.tar.xz")
        unused = [f"--exclude={pattern}" for pattern in UNUSED]
        run(["tar", "-xf", tarball, "-C", work, *unused], what="unpacking the kernel source")
        tarball.unlink()
    (source,) = (path for path in work.glob("linux-source-*") if path.is_dir())
    for patch in patches():
        run(["patch", "-p1", "--forward", "-i", patch], cwd=source, what=f"applying {patch.name}")
    make = ["make", "ARCH=um", f"-j{os.cpu_count() or 1}"]
    env = {"KCONFIG_ALLCONFIG": str(CONFIG)}
    run([*make, "allnoconfig"], cwd=source, env=env, what="configuring the kernel")
    check_configuration((source / ".config").read_text())
    with step("compiling the kernel (minutes)"):
        counter = Counter("compiling the kernel", FILES)
        run(
            [*make, "linux"], cwd=source, env=STAMP, log=folder / "build.log", what="compiling the kernel",
            on_line=lambda line: counter.add() if line.startswith("  CC ") else None,
        )  # fmt: skip
    shutil.copy2(source / "linux", folder / "linux")
    shutil.copy2(source / ".config", folder / "config")
    release = run(["make", "-s", "ARCH=um", "kernelrelease"], cwd=source, what="asking for the kernel's release")
    (folder / "version").write_text(f"{package.name.removesuffix('.deb')} {release.strip()}\n")
    run(["strip", "--strip-debug", folder / "linux"], what="stripping the kernel")
    shutil.rmtree(work)


def check_configuration(written: str) -> None:
    """Kconfig drops silently what lacks a dependency; say so before the build instead of in the middle of a run.

    Raises EnvironmentFailure with the options that the written .config does not have.
    """
    have = set(written.splitlines())
    wanted = [line for line in CONFIG.read_text().splitlines() if re.fullmatch(r"CONFIG_\w+=y", line)]
    lost = [line for line in wanted if line not in have and line not in EITHER]
    if not have & EITHER:
        lost += sorted(EITHER)
    if lost:
        raise EnvironmentFailure(f"this kernel source does not offer {', '.join(lost)}", where=str(CONFIG))


def _download() -> Path:
    """The newest kernel source package, kept in the cache so that a build cut short does not fetch it again."""
    with held(DOWNLOADS, "another process fetches the kernel source"):
        state = cache_dir() / APT_FOLDER
        archives = state / "archives"
        claim(state, str(state))
        for part in (state / "lists" / "partial", archives / "partial"):
            part.mkdir(parents=True, exist_ok=True)
        sources = state / "sources.list"
        sources.write_text("".join(f"{line}\n" for line in source_lines(*SUITES)))
        options = [
            *host_packages.APT_OPTIONS,
            "-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null",
            "-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}", "-o", "Dir::State::status=/dev/null",
            "-o", "APT::Sandbox::User=",
        ]  # fmt: skip
        try:
            run(["apt-get", *options, "update"], what="reading the package lists of trixie", tries=3)
        except EnvironmentFailure as error:
            if not (kept := fetched(archives)):
                raise
            say(f"{error.problem}\ntaking {kept.name}, which was fetched before")
            return kept
        listed = run(
            ["apt-cache", *options, "search", "--names-only", r"^linux-source-[0-9.]+$"], what="apt-cache search"
        )
        name = newest(line.split()[0] for line in listed.splitlines() if line.strip())
        with step(f"fetching {name}"):
            # apt checks the signed list's hash of what it fetched, and of what is there already.
            run(["apt-get", *options, "download", name], cwd=archives, what=f"fetching {name}", tries=3)
        return max(archives.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)


def fetched(archives: Path) -> Path | None:
    """The newest kernel source that an earlier build fetched whole (apt names a file so only when it is)."""
    files = {path.name.split("_")[0]: path for path in archives.glob("linux-source-*_*.deb")}
    return files[newest(files)] if files else None


def newest(names: Iterable[str]) -> str:
    """The linux-source package with the highest version. Raises EnvironmentFailure when there is none."""
    versions: dict[tuple[int, ...], str] = {}
    for name in names:
        if found := re.fullmatch(r"linux-source-(\d+(?:\.\d+)*)", name):
            versions[tuple(int(part) for part in found[1].split("."))] = name
    usable = {version: name for version, name in versions.items() if version >= MIN_VERSION}
    if not usable:
        raise EnvironmentFailure(
            "no kernel source that is new enough was found in the package lists",
            allowed=f"linux-source-{MIN_VERSION[0]}.{MIN_VERSION[1]} or newer, from trixie or trixie-backports",
            next_command="./lab run … --kernel uml, which needs only the package user-mode-linux",
        )
    return usable[max(usable)]
