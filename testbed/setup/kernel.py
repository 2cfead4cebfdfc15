"""The guest kernel: User-Mode Linux with time travel, from Debian's linux-source, our configuration and patches.

The source is the newest `linux-source-*` of trixie-backports, else of trixie. It comes through a private set of
apt lists, so the host's own sources and package lists are not touched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup import host_packages
from testbed.setup.artefact import Artefact, digest, held
from testbed.setup.command import run
from testbed.setup.paths import PROJECT, cache_dir
from testbed.setup.progress import step

FOLDER = PROJECT / "testbed" / "guest" / "kernel"
CONFIG = FOLDER / "config"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES = ("trixie", "trixie-backports")
# Should a source fail to take the patches or to build, the release's own kernel is the next choice.
MIN_VERSION = (6, 12)


def patches() -> list[Path]:
    return sorted((FOLDER / "patches").glob("*.patch"))


def kernel() -> Artefact:
    """Its key does not hold the source's version: a newer one in the archive asks for no rebuild."""
    return Artefact("guest-kernel", digest(CONFIG, *patches(), Path(__file__)), _build, space_mib=3500)


def binary() -> Path:
    return kernel().path / "linux"


def _build(folder: Path) -> None:
    host_packages.install((*host_packages.FOR_KERNEL, "debian-archive-keyring"))
    package = _download(folder)
    work = folder / "work"
    with step(f"unpacking {package.name}"):
        run(["dpkg-deb", "-x", package, work], what="unpacking the kernel source")
        (tarball,) = (work / "usr" / "src").glob("linux-source-*.tar.xz")
        run(["tar", "-xf", tarball, "-C", work], what="unpacking the kernel source")
    (source,) = (path for path in work.glob("linux-source-*") if path.is_dir())
    for patch in patches():
        run(["patch", "-p1", "--forward", "-i", patch], cwd=source, what=f"applying {patch.name}")
    make = ["make", "ARCH=um", f"-j{os.cpu_count() or 1}"]
    env = {"KCONFIG_ALLCONFIG": str(CONFIG)}
    run([*make, "allnoconfig"], cwd=source, env=env, what="configuring the kernel")
    _check_configuration(source / ".config")
    with step("compiling the kernel (minutes)"):
        run([*make, "linux"], cwd=source, log=folder / "build.log", what="compiling the kernel")
    shutil.copy2(source / "linux", folder / "linux")
    shutil.copy2(source / ".config", folder / "config")
    release = run(["make", "-s", "ARCH=um", "kernelrelease"], cwd=source, what="asking for the kernel's release")
    (folder / "version").write_text(f"{package.name.removesuffix('.deb')} {release.strip()}\n")
    run(["strip", "--strip-debug", folder / "linux"], what="stripping the kernel")
    shutil.rmtree(work)


def _check_configuration(written: Path) -> None:
    """Kconfig drops silently what lacks a dependency; say so before the build instead of in the middle of a run."""
    have = set(written.read_text().splitlines())
    wanted = [line for line in CONFIG.read_text().splitlines() if re.fullmatch(r"CONFIG_\w+=y", line)]
    if lost := [line for line in wanted if line not in have]:
        raise EnvironmentFailure(f"this kernel source does not offer {', '.join(lost)}", where=str(CONFIG))


def _download(folder: Path) -> Path:
    """The newest kernel source package, kept in the cache so that a build cut short does not fetch it again."""
    with held("linux-source", "another process fetches the kernel source"):
        state = cache_dir() / "apt"
        for part in ("lists/partial", "archives/partial"):
            (state / part).mkdir(parents=True, exist_ok=True)
        sources = state / "sources.list"
        sources.write_text("".join(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n" for suite in SUITES))
        options = [
            *host_packages.APT_OPTIONS, "-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null",
            "-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}", "-o", "Dir::State::status=/dev/null",
            "-o", "APT::Sandbox::User=",
        ]  # fmt: skip
        run(["apt-get", *options, "update"], what="reading the package lists of trixie", tries=3)
        listed = run(["apt-cache", *options, "search", "--names-only", r"^linux-source-[0-9.]+$"], what="apt-cache search")
        name = newest(line.split()[0] for line in listed.splitlines() if line.strip())
        with step(f"fetching {name}"):
            run(["apt-get", *options, "download", name], cwd=state / "archives", what=f"fetching {name}", tries=3)
        return max((state / "archives").glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)


def newest(names: object) -> str:
    """The linux-source package with the highest version. Raises EnvironmentFailure when there is none."""
    versions: dict[tuple[int, ...], str] = {}
    for name in names:  # type: ignore[attr-defined]
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


def mirror() -> str:
    """The Debian mirror that this machine's own apt uses, so that a local mirror is honoured."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN)"], text=True, capture_output=True, check=False
    ).stdout
    sites = [line.split()[0] for line in listed.splitlines() if line.endswith(" Debian")]
    mirrors = [site for site in sites if not site.rstrip("/").endswith("-security")]
    if not mirrors:
        raise EnvironmentFailure(
            "no Debian mirror is configured on this machine", allowed="a Debian source for apt", where="/etc/apt"
        )
    return max(set(mirrors), key=mirrors.count)
