"""What each package has in it, file by file: folders as they are on the machine that installs it."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import time
from email.parser import HeaderParser
from pathlib import Path

from testbed.packages import completion, manual, words
from testbed.packages.releases import Release
from testbed.packages.source import Source
from testbed.setup import installer, locks
from testbed.setup.paths import PROJECT
from testbed.setup.progress import say

COMMON, LKS, DKS, POLICY = (f"router-keys-{each}" for each in ("common", "lks", "dks", "policy"))
PACKAGES = (COMMON, LKS, DKS, POLICY)
TEXTS = PROJECT / "packaging" / "debian"
HOME = Path("usr/lib/router-keys")
"""A virtual environment: its Python sees the locked packages and the standard library, and nothing else."""
ENTRIES = {"lks": "agents.lks.daemon", "dks": "agents.dks.daemon", "policy": "agents.policy.cli"}
UNITS = {LKS: ("lks.service", "lks-ready.service"), DKS: ("dks.service",), POLICY: ("policy.service",)}
USERS = {DKS: "router-keys-dks", POLICY: "router-keys-policy"}
CONFIGURATION = {LKS: "lks.toml", DKS: "dks.toml"}
NOT_INSTALLED = ("RECORD", "INSTALLER", "REQUESTED", "uv_cache.json", "uv_build.json")
"""Of a wheel's own description: what tells how a folder came to be."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", *NOT_INSTALLED)


def lay(source: Source, release: Release, root: Path) -> None:
    """The files of each package into a folder of its name below `root`."""
    for package in PACKAGES:
        (root / package).mkdir(parents=True)
    _environment(source, release, root)
    for program, package in zip(words.PROGRAMS, (LKS, DKS, POLICY), strict=True):
        _program(source, program, root / package)
        _units(source, package, root / package)
    for package in PACKAGES:
        _documents(source, release, package, root / package)


def _environment(source: Source, release: Release, root: Path) -> None:
    """The venv, its wheels each checked by its hash, and the agents: in the common package; what the Policy Server
    alone needs in its own."""
    common = root / COMMON / HOME
    site = Path("lib") / f"python{release.python}" / "site-packages"
    with tempfile.TemporaryDirectory(prefix="lab-package-") as name:
        router, policy = _locks(source, Path(name))
        for lock, target in ((router, common / site), (policy, root / POLICY / HOME / site)):
            fresh = Path(name) / lock.stem
            what = f"installing the wheels of {release.name}"
            installer.install(lock, into=fresh, what=what, guest=release.wheels)
            shutil.rmtree(fresh / "bin", ignore_errors=True)
            shutil.copytree(fresh, target, ignore=LEFT_OUT)
            (target / ".lock").unlink(missing_ok=True)
    agents = common / site / "agents"
    shutil.copytree(source.folder / "agents", agents, ignore=LEFT_OUT)
    if source.commit:
        (agents / "COMMIT").write_text(source.commit + "\n")
    (common / "bin").mkdir()
    (common / "bin" / "python3").symlink_to(f"/usr/bin/python{release.python}")
    (common / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {release.python}\n"
    )


def _locks(source: Source, folder: Path) -> tuple[Path, Path]:
    """Which wheels; for a commit from before it had these locks, from the versions that it locks."""
    own = source.folder / "locks"
    router, policy = own / locks.ROUTER.name, own / locks.POLICY.name
    if not router.exists():
        router, policy = folder / router.name, folder / policy.name
        versions = "".join(path.read_text() for path in sorted(own.glob("*.txt")) if path.stem in ("run", "metrics"))
        locks.for_packages(source.folder / "pyproject.toml", versions, router, policy)
    return router, policy


def _program(source: Source, program: str, root: Path) -> None:
    script = root / HOME / "bin" / program
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"#!/{HOME}/bin/python3 -I\nfrom {ENTRIES[program]} import entry\n\nentry()\n")
    script.chmod(0o755)
    link = root / "usr" / "bin" / program
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../lib/router-keys/bin/{program}")
    if source.folder != PROJECT:
        say(f"{program} of another commit: without a manual page and completion")
        return
    parser = words.parser_of(program)
    text = manual.page(program, parser, source.release, source.date)
    _packed(root / "usr/share/man" / f"man{manual.SECTION}" / f"{program}.{manual.SECTION}.gz", text)
    for file, text in completion.completions(program, parser):
        _write(root / file, text)


def _units(source: Source, package: str, root: Path) -> None:
    units = source.folder / "packaging" / "systemd"
    for name in UNITS[package]:
        if (units / name).exists():
            text = (units / name).read_text().replace("/opt/router-keys/bin/", "/usr/bin/")
            _write(root / "usr/lib/systemd/system" / name, text)
    if package in USERS:
        lines = (PROJECT / "packaging" / "systemd" / "router-keys.sysusers").read_text().splitlines()
        own = [line for line in lines if line.startswith(f"u {USERS[package]} ")]
        _write(root / "usr/lib/sysusers.d" / f"{USERS[package]}.conf", "\n".join([*own, ""]))
    if package in CONFIGURATION:
        name = CONFIGURATION[package]
        _write(root / "etc/router-keys" / name, (TEXTS / name).read_text())


def _documents(source: Source, release: Release, package: str, root: Path) -> None:
    folder = root / "usr/share/doc" / package
    text = (TEXTS / "copyright").read_text()
    if package in (COMMON, POLICY):
        text = text.replace("\n\nFiles:", f"\n{_others(root)}\nFiles:")
    _write(folder / "copyright", text)
    if (changes := source.folder / "CHANGELOG.md").exists():  # no commit of 0.1.0 has one
        _packed(folder / "changelog.gz", changes.read_text())
    _packed(folder / "changelog.Debian.gz", _entry(source, release))
    overrides = TEXTS / f"{package}.lintian-overrides"
    if overrides.exists():
        _write(root / "usr/share/lintian/overrides" / package, overrides.read_text())


def _entry(source: Source, release: Release) -> str:
    moment = time.strftime("%a, %d %b %Y %H:%M:%S +0000", source.date)
    return (
        f"router-keys ({debian_version(source, release)}) {release.name}; urgency=medium\n\n"
        f"  * Release {source.release}{f', commit {source.commit}' if source.commit else ''}: what changed is in"
        f" changelog.gz.\n\n -- {maintainer()}  {moment}\n"
    )


def debian_version(source: Source, release: Release) -> str:
    """Of its packages: upstream's, and the number of the packaging."""
    return f"{source.version}-1{release.suffix}"


def maintainer() -> str:
    """Who answers for the packages: $DEBFULLNAME and $DEBEMAIL, as Debian's own tools have it."""
    name = os.environ.get("DEBFULLNAME", "The router-keys authors")
    return f"{name} <{os.environ.get('DEBEMAIL', 'router-keys@router-keys.invalid')}>"


def _others(root: Path) -> str:
    """The licences of the Python packages inside, in their own words, and where their texts are."""
    (site,) = root.glob(f"{HOME}/lib/python*/site-packages")
    lines = [f"Comment: The Python packages in /{site.relative_to(root)} are under", " licences of their own:"]
    for folder in sorted(site.glob("*.dist-info")):
        said = HeaderParser().parsestr((folder / "METADATA").read_text())
        licence = said["License-Expression"] or (said["License"] or "").partition("\n")[0] or "as it says"
        lines.append(f" {said['Name']} {said['Version']}: {licence}")
        lines += [f"  {path.relative_to(site)}" for path in sorted(folder.rglob("*")) if _is_licence(path)]
    return "\n".join([*lines, ""])


def _is_licence(path: Path) -> bool:
    return path.is_file() and path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _packed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
