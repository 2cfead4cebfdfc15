"""Puts the wheels of a lock into a folder, each checked by its hash: with uv, and with pip where uv cannot be had.

Both take them from where this machine's pip is told to. Byte code is not made here: Python makes it at the first import
of each module, and most of what an environment holds is never imported.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.owned import claim
from testbed.setup import host_packages
from testbed.setup.artefact import Artefact, digest, in_use
from testbed.setup.command import run
from testbed.setup.paths import PROJECT, cache_dir
from testbed.setup.progress import say

LOCK = PROJECT / "locks" / "uv.txt"
# What uv keeps, so that nothing is fetched twice; what it installs are links to this where that can be.
WHEELS = "wheels"
# The same setting for uv, by pip's name of it. "find-links" and the indexes are lists.
SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX", "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT", "default-timeout": "UV_HTTP_TIMEOUT",
}  # fmt: skip
SECTIONS = ("global", "install", ":env:")
"""Whose word counts with pip, the last one's most."""
PIP = ("--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "--no-deps")
TRIES = 3


@dataclass(frozen=True)
class Guest:
    """Another Python than ours that the wheels are for: its version, and the platforms whose wheels it runs."""

    version: str
    platforms: tuple[str, ...]


def this_python() -> str:
    """What an environment made with this Python depends on."""
    return f"{sys.version_info.major}.{sys.version_info.minor} {sys.base_prefix}"


def pip() -> Artefact:
    """A pip of our own: it fetches uv, knows the machine's settings, and does what uv would where uv is not."""
    return Artefact("pip", digest("1", this_python()), _build_pip, space_mib=60)


def uv() -> Artefact:
    return Artefact("uv", digest(LOCK, this_python()), _build_uv, space_mib=120)


def install(lock: Path, *, into: Path, what: str, guest: Guest | None = None) -> None:
    """The wheels of `lock`, without any that they depend on and that the lock does not name.

    `into` is an environment of our Python or, with `guest` or when it is none, a folder for the module search path.
    Raises EnvironmentFailure when they cannot be had.
    """
    environment = into / "bin" / "python"
    alone = not environment.exists()
    target: list[str | Path] = ["--target", into] if alone else []
    python = sys.executable if alone else environment
    try:
        uv().make()
    except EnvironmentFailure as error:
        say(f"uv is not available, so pip installs the packages, which takes minutes: {error.problem}")
        _with_pip(lock, python, target, guest, what)
        return
    platform = () if guest is None else ("--python-version", guest.version, "--python-platform", for_uv(guest))
    wheels = cache_dir() / WHEELS
    claim(wheels, str(wheels))
    with in_use(WHEELS):
        run(
            [binary(), "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--no-deps",
             "--index-strategy", "unsafe-best-match", "--python", python, *platform, *target, "-r", lock],
            what=what, tries=TRIES, env={**uv_settings(), "UV_CACHE_DIR": str(wheels)},
        )  # fmt: skip


def uv_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The machine's settings of pip as uv's, without those that `environ` has for uv itself."""
    listed = run([pip().make() / "bin" / "python", "-m", "pip", "config", "list"], what="reading pip's settings")
    return {name: value for name, value in translated(listed).items() if name not in environ}


def translated(listed: str) -> dict[str, str]:
    """What `pip config list` prints, as uv's environment."""
    fields: dict[str, tuple[int, str]] = {}
    for line in listed.splitlines():
        option, mark, value = line.partition("=")
        section, _, name = option.rpartition(".")
        if not mark or section not in SECTIONS or name not in SETTINGS:
            continue
        own = SECTIONS.index(section)
        words = " ".join(str(ast.literal_eval(value)).split())
        if name == "find-links":
            words = words.replace(" ", ",")
        if own >= fields.get(SETTINGS[name], (0, ""))[0]:
            fields[SETTINGS[name]] = own, words
    return {name: value for name, (_, value) in fields.items()}


def for_uv(guest: Guest) -> str:
    """The newest of its platforms, as uv names it."""
    return f"x86_64-{guest.platforms[-1].removesuffix('_x86_64')}"


def _with_pip(lock: Path, python: str | Path, target: Sequence[str | Path], guest: Guest | None, what: str) -> None:
    # pip 23 holds some wheels against the Python it runs on, not the one named; the lock has settled the versions.
    platform = () if guest is None else (
        "--python-version", guest.version, "--implementation", "cp", "--ignore-requires-python",
        *(f"--platform={each}" for each in guest.platforms),
    )  # fmt: skip
    ours = () if target else ("--python", python)
    run(
        [pip().make() / "bin" / "python", "-m", "pip", *ours, "install", *PIP, "--no-compile", *platform, *target,
         "-r", lock],
        what=what, tries=TRIES,
    )  # fmt: skip


def binary() -> Path:
    """uv itself; making it is the caller's business."""
    return uv().path / "bin" / "uv"


def _build_pip(folder: Path) -> None:
    if find_spec("ensurepip") is None:
        host_packages.install(host_packages.FOR_VENV)
    run([sys.executable, "-m", "venv", folder], what="python -m venv")


def _build_uv(folder: Path) -> None:
    run(
        [pip().make() / "bin" / "python", "-m", "pip", "install", *PIP, "--no-compile", "--target", folder, "-r", LOCK],
        what="installing uv", tries=TRIES,
    )  # fmt: skip
