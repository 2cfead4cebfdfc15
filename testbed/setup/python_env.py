"""The locked Python environment of the host: a venv made from locks/host.txt, every wheel checked by its hash."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from testbed.setup import host_packages
from testbed.setup.artefact import Artefact, digest
from testbed.setup.command import run
from testbed.setup.paths import PROJECT

LOCK = PROJECT / "locks" / "host.txt"


def venv() -> Artefact:
    version = f"{sys.version_info.major}.{sys.version_info.minor} {sys.base_prefix}"
    return Artefact("venv", digest(LOCK, version), _build, space_mib=700)


def python() -> Path:
    """The environment's interpreter; making the environment is the caller's business."""
    return venv().path / "bin" / "python"


def _build(folder: Path) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        host_packages.install(host_packages.FOR_VENV)
    run([sys.executable, "-m", "venv", folder], what="python -m venv")
    run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--require-hashes", "--only-binary=:all:", "-r", LOCK],
        what="installing the locked Python packages", tries=3,
    )  # fmt: skip
    _rename_inside(folder, venv().path)


def _rename_inside(folder: Path, final: Path) -> None:
    """Scripts of an environment begin with its interpreter's path, which is about to change."""
    for script in (folder / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        text = script.read_bytes()
        if str(folder).encode() in text:
            script.write_bytes(text.replace(str(folder).encode(), str(final).encode()))
