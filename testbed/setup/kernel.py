"""The guest kernel: User-Mode Linux with time travel, from Debian's linux-source, our configuration and patches.

The source is the one that locks/debian.txt names, else the newest `linux-source-*` of trixie-backports or trixie
that can be had.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup import archive, host_packages
from testbed.setup.archive import Archive, Package, sha256
from testbed.setup.artefact import Artefact, digest
from testbed.setup.command import run
from testbed.setup.paths import PROJECT
from testbed.setup.progress import Counter, say, step

FOLDER = PROJECT / "testbed" / "guest" / "kernel"
CONFIG = FOLDER / "config"
# Raised when what this file does to the kernel changes, so that every cached kernel is built anew.
RECIPE = 3
# What it was made of: by name, version and SHA-256.
MADE_OF = "made_of.json"
# The kernel mixes its own version line into its randomness: when and where it was built must not be in it.
STAMP = {
    "KBUILD_BUILD_TIMESTAMP": "Tue Jan  1 00:00:00 UTC 2030",
    "KBUILD_BUILD_USER": "lab",
    "KBUILD_BUILD_HOST": "lab",
    "KBUILD_BUILD_VERSION": "1",
}
# Roughly how many files our configuration compiles, for the progress shown.
FILES = 860
# What compiling them takes of a processor, in seconds.
CPU_S = 600
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
    """Its key holds the source that the lock names: a newer one in the archive asks for no rebuild."""
    return Artefact("guest-kernel", _key(*map(str, archive.locked("kernel"))), _build, space_mib=2500)


def _key(*more: str) -> str:
    return digest(CONFIG, *patches(), repr((RECIPE, STAMP, UNUSED)), *more)


def made_of() -> dict[str, str]:
    """The source and the programs that the kernel was made of, by name: version and SHA-256; none before."""
    path = kernel().path / MADE_OF
    return dict(json.loads(path.read_text())) if path.exists() else {}


def source() -> tuple[Package, ...]:
    """The source package that the kernel was made of; none before it is built."""
    return tuple(Package(name, *text.split()) for name, text in made_of().items() if name.startswith("linux-source-"))


def identity() -> str:
    """The hash of all that the kernel was made of, the compiler too."""
    return _key(*(f"{name} {text}" for name, text in sorted(made_of().items())))


def binary() -> Path:
    return kernel().path / "linux"


def _build(folder: Path) -> None:
    host_packages.install((*host_packages.FOR_KERNEL, "debian-archive-keyring"))
    taken, package = fetched()
    made = {taken.name: f"{taken.version} {taken.architecture} {taken.sha256}", **_compiler()}
    (folder / MADE_OF).write_text(json.dumps(made, indent=1) + "\n")
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


def fetched() -> tuple[Package, Path]:
    """The source that the lock names, or the newest where it cannot be had, and its file."""
    with archive.opened() as debian:
        locked = [one for one in archive.locked("kernel")]
        if found := debian.obtainable(locked):
            return found[0], debian.fetch(found)[0]
        package = newest_source(debian)
        if locked:
            say(
                f"the kernel is not of the locked source: {archive.abridged(archive.differences(locked, [package]))}. "
                "Records will differ from those of the locked one"
            )
        return package, debian.fetch([package])[0]


def newest_source(debian: Archive) -> Package:
    """The newest kernel source that the mirror has. EnvironmentFailure when there is none."""
    return debian.newest(newest(debian.named(r"^linux-source-[0-9.]+$")))


def _compiler() -> dict[str, str]:
    """What compiles, assembles and links, by name: version, and the SHA-256 of the program."""
    found = {}
    for name, program in (("gcc", "cc1"), ("as", "as"), ("ld", "ld")):
        path = run(["gcc", f"-print-prog-name={program}"], what="asking for the compiler").strip()
        says = run([name, "--version"], what="asking for the compiler's version").splitlines()[0]
        packaged = re.search(r"\(Debian (\S+)\)", says)
        version = packaged[1] if packaged else says.split()[-1]
        found[name] = f"{version} {sha256(Path(shutil.which(path) or path))}"
    return found


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
