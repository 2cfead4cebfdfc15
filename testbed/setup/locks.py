"""Writes the locks of wheels anew: which versions, with which hashes, from pyproject.toml and locks/*.in.

All layers of the host are settled together, so that none brings another version of what the environment has. It knows
nothing of what is installed.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from testbed.setup import installer, python_env, tree
from testbed.setup.command import run
from testbed.setup.paths import PROJECT

LOCKS = PROJECT / "locks"
PROJECT_FILE = PROJECT / "pyproject.toml"
# What `lab run` needs: the agents' own wheels, the Policy Server's and the laboratory's.
RUN_EXTRAS = ("server", "lab")
FORM = (
    "--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links",
    "--index-strategy", "unsafe-best-match",
)  # fmt: skip
HOST = ("--universal", "--python-version", "3.11")


def blocks(lock: str) -> dict[str, str]:
    """The lines of a lock by what they lock, "name==version" with a marker where there is one."""
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", lock.strip()):
        if block:
            found[block.partition("\\")[0].split("#")[0].strip()] = block + "\n"
    return found


def renew_wheels(*, newest: bool = True) -> list[Path]:
    """Write every lock of wheels; without `newest`, versions stay wherever what is wanted allows it. The files."""
    installer.uv().make()
    written = [LOCKS / "uv.txt", LOCKS / "guest.txt"]
    _compile(LOCKS / "uv.in", written[0], newest, *HOST)
    platform = ("--python-version", tree.GUEST_PYTHON, "--python-platform", "linux")
    _compile(LOCKS / "guest.in", written[1], newest, *platform)
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
        own = texts[name] if name == "run" else {k: v for k, v in texts[name].items() if k not in texts["run"]}
        path.write_text("".join(own.values()))
    return [*written, *files.values()]


def _compile(wanted: Path, lock: Path, newest: bool, *words: str) -> None:
    run(
        [installer.binary(), "pip", "compile", *FORM, *words, *(("--upgrade",) if newest else ()), wanted, "-o", lock],
        what=f"settling the versions of {wanted.name}", env=installer.uv_settings(), tries=3,
    )  # fmt: skip
