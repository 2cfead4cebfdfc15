"""The guest kernel: User-Mode Linux with time travel, from Debian's linux-source, our configuration and patches.

The source is the one that locks/debian.txt names, else the newest `linux-source-*` of trixie-backports or trixie
that can be had; where one does not take the patches or does not build, the next older one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup import archive, host_packages
from testbed.setup.archive import Archive, Package, sha256
from testbed.setup.artefact import Artefact, digest
from testbed.setup.command import DiskFull, run
from testbed.setup.paths import PROJECT
from testbed.setup.progress import Counter, say, step

FOLDER = PROJECT / "testbed" / "guest" / "kernel"
CONFIG = FOLDER / "config"
# Raised when what this file does to the kernel changes, so that every cached kernel is built anew.
RECIPE = 4
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
FILES = 868
# What compiling them takes of a processor, in seconds.
CPU_S = 400
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
MIN_VERSION = (6, 12)
NAMED = re.compile(r"linux-source-(\d+(?:\.\d+)*)")
# A patch says with such a line that others have no use for it.
SINCE = re.compile(r"^Kernels: (\d+(?:\.\d+)*) and newer$", re.MULTILINE)
BEFORE = re.compile(r"^Kernels: older than (\d+(?:\.\d+)*)$", re.MULTILINE)


class Refused(EnvironmentFailure):
    """This source does not take the patches, the configuration, or the compiler; an older one may."""


def patches(version: tuple[int, ...] | None = None) -> list[Path]:
    """All patches in their order; of a kernel's `version` those that it has a use for."""
    files = sorted((FOLDER / "patches").glob("*.patch"))
    return [patch for patch in files if version is None or _is_for(patch.read_text(), version)]


def _is_for(patch: str, version: tuple[int, ...]) -> bool:
    since, before = SINCE.search(patch), BEFORE.search(patch)
    return (not since or version >= _numbers(since[1])) and (not before or version < _numbers(before[1]))


def kernel() -> Artefact:
    """Its key holds the source that the lock names: a newer one in the archive asks for no rebuild.

    Nor do the patches of others; raise RECIPE when those change and a kernel may have been made of a fallback.
    """
    locked = archive.locked("kernel")
    return Artefact("guest-kernel", _key(locked, *map(str, locked)), _build, space_mib=2500)


def _key(sources: Sequence[Package], *more: str) -> str:
    version = version_of(sources[0].name) if sources else None
    return digest(CONFIG, *patches(version), repr((RECIPE, STAMP, UNUSED)), *more)


def made_of() -> dict[str, str]:
    """The source and the programs that the kernel was made of, by name: version and SHA-256; none before."""
    path = kernel().path / MADE_OF
    return dict(json.loads(path.read_text())) if path.exists() else {}


def source() -> tuple[Package, ...]:
    """The source package that the kernel was made of; none before it is built."""
    return tuple(Package(name, *text.split()) for name, text in made_of().items() if name.startswith("linux-source-"))


def identity() -> str:
    """The hash of all that the kernel was made of, the compiler too."""
    return _key(source(), *(f"{name} {text}" for name, text in sorted(made_of().items())))


def binary() -> Path:
    return kernel().path / "linux"


def _build(folder: Path) -> None:
    host_packages.install((*host_packages.FOR_KERNEL, "debian-archive-keyring"))
    refused: list[str] = []
    while True:
        taken, file = fetched(refused)
        made = {taken.name: f"{taken.version} {taken.architecture} {taken.sha256}", **_compiler()}
        (folder / MADE_OF).write_text(json.dumps(made, indent=1) + "\n")
        try:
            _compile(file, version_of(taken.name), folder)
            return
        except Refused as error:
            refused.append(taken.name)
            shutil.rmtree(folder / "work")
            say(f"{taken.name} cannot be used: {error.problem}\ntrying the next older kernel source")


def _compile(package: Path, version: tuple[int, ...], folder: Path) -> None:
    """Build the kernel of one source package. Raises Refused when it takes not what we bring, or does not compile."""
    work = folder / "work"
    with step(f"unpacking {package.name}"):
        run(["dpkg-deb", "-x", package, work], what="unpacking the kernel source")
        (tarball,) = (work / "usr" / "src").glob("linux-source-*.tar.xz")
        unused = [f"--exclude={pattern}" for pattern in UNUSED]
        run(["tar", "-xf", tarball, "-C", work, *unused], what="unpacking the kernel source")
        tarball.unlink()
    (source,) = (path for path in work.glob("linux-source-*") if path.is_dir())
    make = ["make", "ARCH=um", f"-j{os.cpu_count() or 1}"]
    env = {"KCONFIG_ALLCONFIG": str(CONFIG)}
    with _may_refuse():
        for patch in patches(version):
            # Kernels differ in how deep the changed lines are indented.
            run(
                ["patch", "-p1", "--forward", "--ignore-whitespace", "-i", patch],
                cwd=source, what=f"applying {patch.name}",
            )  # fmt: skip
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


@contextmanager
def _may_refuse() -> Iterator[None]:
    """What fails within is the source's fault, unless the disk is full: then no other source helps either."""
    try:
        yield
    except DiskFull:
        raise
    except EnvironmentFailure as error:
        raise Refused(error.problem, where=error.where, next_command=error.next_command) from error


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


def fetched(refused: Sequence[str] = ()) -> tuple[Package, Path]:
    """The source that the lock names, or the newest where it cannot be had, and its file. None of those `refused`."""
    with archive.opened() as debian:
        locked = [one for one in archive.locked("kernel") if one.name not in refused]
        if newer := debian.obtainable(locked):
            return newer[0], debian.fetch(newer)[0]
        package = newest_source(debian, refused)
        if locked:
            say(
                f"the kernel is not of the locked source: {archive.abridged(archive.differences(locked, [package]))}. "
                "Records will differ from those of the locked one"
            )
        return package, debian.fetch([package])[0]


def newest_source(debian: Archive, refused: Sequence[str] = ()) -> Package:
    """The newest kernel source that the mirror has. EnvironmentFailure when there is none."""
    return debian.newest(newest(debian.named(r"^linux-source-[0-9.]+$"), refused))


def _compiler() -> dict[str, str]:
    """What compiles, assembles and links, by name: version, and the SHA-256 of the program."""
    versions = {}
    for name, program in (("gcc", "cc1"), ("as", "as"), ("ld", "ld")):
        path = run(["gcc", f"-print-prog-name={program}"], what="asking for the compiler").strip()
        says = run([name, "--version"], what="asking for the compiler's version").splitlines()[0]
        packaged = re.search(r"\(Debian (\S+)\)", says)
        version = packaged[1] if packaged else says.split()[-1]
        versions[name] = f"{version} {sha256(Path(shutil.which(path) or path))}"
    return versions


def newest(names: Iterable[str], refused: Sequence[str] = ()) -> str:
    """The linux-source package with the highest version, without those that were `refused`.

    Raises EnvironmentFailure when there is none.
    """
    versions = {version_of(name): name for name in names if NAMED.fullmatch(name)}
    usable = {version: name for version, name in versions.items() if version >= MIN_VERSION and name not in refused}
    if usable:
        return usable[max(usable)]
    raise EnvironmentFailure(
        f"no kernel source can be used: {', '.join(refused)} did not take the patches or did not build"
        if refused
        else "no kernel source that is new enough was found in the package lists",
        allowed=f"linux-source-{MIN_VERSION[0]}.{MIN_VERSION[1]} or newer, from trixie or trixie-backports",
        next_command="./lab run … --kernel uml, which needs only the package user-mode-linux",
    )


def version_of(name: str) -> tuple[int, ...]:
    """The version in the name of a linux-source package."""
    return _numbers(name.removeprefix("linux-source-"))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
