"""The locked Python environment of the host, and the layers that only some verbs need.

The environment is a venv made from locks/run.txt: all that `lab run` needs. A layer is a folder of its own beside it,
made from locks/NAME.txt when a verb needs it the first time, and put on the module search path of that verb alone.
"""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

from testbed.setup import installer
from testbed.setup.artefact import Artefact, digest
from testbed.setup.command import run
from testbed.setup.paths import PROJECT
from testbed.setup.progress import say

LOCKS = PROJECT / "locks"
LOCK = LOCKS / "run.txt"
LAYERS = {
    "sweep": "the table of a sweep",
    "grid": "runs on other machines",
    "models": "the search in models/",
    "fuzz": "fuzzing by coverage",
    "docs": "the documents as a site",
    "metrics": "Prometheus' page of the daemons",
    "package": "completion in shells",
    "test": "the tests, lint and types",
}
"""What each layer is for. Its wheels are those of the extra of that name in pyproject.toml."""
FOR_TESTS = ("sweep", "grid", "models", "docs", "metrics", "package", "test")
SPACE_MIB = {"sweep": 350, "grid": 150, "fuzz": 300, "test": 300}


def venv() -> Artefact:
    return Artefact("venv", digest(LOCK, installer.this_python()), _build, space_mib=700)


def python() -> Path:
    """The environment's interpreter; making the environment is the caller's business."""
    return venv().path / "bin" / "python"


def layer(name: str) -> Artefact:
    """One of LAYERS."""
    lock = LOCKS / f"{name}.txt"

    def build(folder: Path) -> None:
        installer.install(lock, into=folder, what=f"installing what {LAYERS[name]} needs")

    return Artefact(f"layer-{name}", digest(lock, installer.this_python()), build, SPACE_MIB.get(name, 100))


def use(*names: str) -> None:
    """Make these layers where they are missing, for this process and all that it starts.

    Raises EnvironmentFailure when one cannot be made.
    """
    for name in names:
        if not layer(name).ready:
            say(f"{LAYERS[name]}: its Python packages are added now, once")
        folder = str(layer(name).make())
        if folder in sys.path:
            continue
        site.addsitedir(folder)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = folder if not before else f"{before}{os.pathsep}{folder}"


def _build(folder: Path) -> None:
    run([sys.executable, "-m", "venv", "--without-pip", folder], what="python -m venv")
    installer.install(LOCK, into=folder, what="installing the locked Python packages")
    _rename_inside(folder, venv().path)


def _rename_inside(folder: Path, final: Path) -> None:
    """Scripts of an environment begin with its interpreter's path, which is about to change."""
    for script in (folder / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        text = script.read_bytes()
        if str(folder).encode() in text:
            script.write_bytes(text.replace(str(folder).encode(), str(final).encode()))
