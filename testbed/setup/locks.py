"""Writes the locks of wheels anew: which versions, with which hashes, from pyproject.toml and locks/*.in.

All layers of the host are settled together, so that none brings another version of what the environment has. It knows
nothing of what is installed.
"""

from __future__ import annotations

import re
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup import archive, clean, installer, kernel, machine, python_env, tree
from testbed.setup.command import run
from testbed.setup.paths import PROJECT

LOCKS = PROJECT / "locks"
PROJECT_FILE = PROJECT / "pyproject.toml"
# What `lab run` needs: the agents' own wheels, the Policy Server's and the laboratory's.
RUN_EXTRAS = ("server", "lab")
# What Debian packages of the agents hold: the first for all of them, the second beside it for the Policy Server.
ROUTER, POLICY = LOCKS / "router.txt", LOCKS / "policy.txt"
FORM = (
    "--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links",
    "--index-strategy", "unsafe-best-match",
)  # fmt: skip
HOST = ("--universal", "--python-version", "3.11")
# The extras of a commit from before "router" and "policy" were there.
OLD: dict[str, tuple[str, ...]] = {"router": (), "policy": ("server",)}


def blocks(lock: str) -> dict[str, str]:
    """The lines of a lock by what they lock, "name==version" with a marker where there is one."""
    by_name: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", lock.strip()):
        if block:
            by_name[block.partition("\\")[0].split("#")[0].strip()] = block + "\n"
    return by_name


def renew() -> tuple[str, ...]:
    """Write every lock with the newest that can be had; what moved, a package or wheel a line."""
    before = _wheels()
    renew_wheels()
    now = _wheels()
    moved = [
        f"{name}: {before.get(name, 'absent')} → {now.get(name, 'absent')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    return (*moved, *renew_debian())


def _wheels() -> dict[str, str]:
    """What every lock of wheels names: versions by the lock's and the wheel's name."""
    wheels = {}
    for path in sorted(LOCKS.glob("*.txt")):
        for line in blocks(path.read_text()) if path != archive.LOCK else ():
            name, _, rest = line.partition("==")
            version, _, where = (each.strip() for each in rest.partition(";"))
            wheels[f"{path.stem} {name}{f' where {where}' if where else ''}"] = version
    return wheels


def renew_wheels(*, newest: bool = True) -> list[Path]:
    """Write every lock of wheels; without `newest`, versions stay wherever what is wanted allows it. The files."""
    installer.uv().make()
    written = [LOCKS / "uv.txt", tree.LOCK, tree.LOCK_FOR_TESTS]
    _compile(LOCKS / "uv.in", written[0], newest, *HOST)
    platform = ("--python-version", tree.GUEST_PYTHON, "--python-platform", installer.for_uv(tree.GUEST))
    _compile(LOCKS / "guest.in", tree.LOCK, newest, *platform)
    guest = tree.LOCK.read_text()
    more = blocks(tree.LOCK_FOR_TESTS.read_text()) if tree.LOCK_FOR_TESTS.exists() else {}
    tree.LOCK_FOR_TESTS.write_text(guest + "".join(more.values()))
    _compile(LOCKS / "guest-tests.in", tree.LOCK_FOR_TESTS, newest, *platform)
    own = {name: block for name, block in blocks(tree.LOCK_FOR_TESTS.read_text()).items() if name not in blocks(guest)}
    tree.LOCK_FOR_TESTS.write_text("".join(own.values()))
    files = {name: LOCKS / f"{name}.txt" for name in ("run", *python_env.LAYERS)}
    with tempfile.TemporaryDirectory(prefix="lab-locks-") as folder:
        everything = Path(folder) / "all.txt"
        everything.write_text("".join(path.read_text() for path in files.values() if path.exists()))
        _compile(PROJECT_FILE, everything, newest, *HOST, "--all-extras")
        texts = {}
        for name in files:
            part = Path(folder) / f"{name}.txt"
            part.write_bytes(everything.read_bytes())  # uv keeps the versions that the file has
            extras = RUN_EXTRAS if name == "run" else (*RUN_EXTRAS, name)
            _compile(PROJECT_FILE, part, False, *HOST, *(word for extra in extras for word in ("--extra", extra)))
            texts[name] = blocks(part.read_text())
    for name, path in files.items():
        path.write_text("".join(_without(texts[name], texts["run"] if name != "run" else {}).values()))
    for_packages(PROJECT_FILE, "".join(path.read_text() for path in files.values()), ROUTER, POLICY)
    return [*written, *files.values(), ROUTER, POLICY]


def for_packages(project: Path, versions: str, router: Path, policy: Path) -> None:
    """Write the locks of the two environments that packages hold, in the versions that another lock names."""
    installer.uv().make()
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    settled = {}
    for name, path in (("router", router), ("policy", policy)):
        path.write_text(versions)  # uv keeps the versions that the file has
        words = [word for extra in (name, *OLD[name]) if extra in extras for word in ("--extra", extra)]
        _compile(project, path, False, *HOST, *words)
        settled[name] = blocks(path.read_text())
    policy.write_text("".join(_without(settled["policy"], settled["router"]).values()))


def _without(own: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    return {name: block for name, block in own.items() if name not in others}


def _compile(wanted: Path, lock: Path, newest: bool, *words: str) -> None:
    run(
        [installer.binary(), "pip", "compile", *FORM, *words, *(("--upgrade",) if newest else ()), wanted, "-o", lock],
        what=f"settling the versions of {wanted.name}", env=installer.uv_settings(), tries=3,
    )  # fmt: skip


def renew_debian() -> tuple[str, ...]:
    """Write locks/debian.txt with the newest that the mirror has; what is another now, a package a line.

    Raises EnvironmentFailure when the package lists cannot be read, or lack something.
    """
    with archive.opened() as debian:
        debian.ask(strict=True)
        guest = debian.solved((*tree.BASE, *tree.PACKAGES))
        whole = debian.solved((*tree.BASE, *tree.PACKAGES, *tree.FOR_TESTS))
        source = kernel.newest_source(debian)
        booted = debian.solved(machine.names())
    if lost := set(guest) - set(whole):
        raise EnvironmentFailure(
            f"the tests' guest would lack {archive.abridged([each.name for each in sorted(lost)])}"
        )
    sections = {"guest": guest, "tests": sorted(set(whole) - set(guest)), "kernel": [source], "machine": booted}
    before = archive.read()
    archive.write(sections | for_trying(), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    return tuple(
        f"{section} {line}" if section in clean.SECTIONS else line
        for section, now in archive.read().items()
        for line in archive.differences(before[section], now)
    )


def for_trying() -> dict[str, Sequence[archive.Package]]:
    """The newest of what packages of the agents are tried in and looked at with, by section."""
    solved: dict[str, Sequence[archive.Package]] = {}
    for section in clean.SECTIONS:
        with archive.opened(clean.SUITES.get(section, archive.SUITE)) as debian:
            debian.ask(strict=True)
            solved[section] = debian.solved(clean.names(section))
    return solved
