"""The project's code as guests read it: a copy of what runs in them, with byte code of the guest's own Python.

A guest can write no byte code, and would compile hundreds of modules at every boot, twice. The byte code is taken
without a look at the source: both are of one copy, which is named by its content. Knows nothing of what the code does.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from testbed import owned
from testbed.setup import artefact, tree
from testbed.setup.artefact import Artefact, digest, digest_of
from testbed.setup.command import run
from testbed.setup.paths import PROJECT, cache_dir

FOLDERS = ("agents", "testbed")
"""What a guest runs. Its tests and all else it reads from the checkout itself."""
INSIDE = "/lab/project"
KEPT = 4
"""So many copies stay, those that were used last; others that no guest uses are removed when another one is made."""
_LEFT_OUT = shutil.ignore_patterns("__pycache__")


def code() -> Artefact:
    """Of the checkout as it was when this process first asked."""
    return Artefact("guest-code", digest(_content(), tree.tree().key), _build, space_mib=100, announced=False)


@cache
def _content() -> str:
    files = sorted(path for folder in FOLDERS for path in (PROJECT / folder).rglob("*") if path.is_file())
    return digest_of((path for path in files if "__pycache__" not in path.parts), PROJECT)


def _build(folder: Path) -> None:
    for name in FOLDERS:
        shutil.copytree(PROJECT / name, folder / name, ignore=_LEFT_OUT)
    root = tree.tree().path / "root"
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    # Not in the tree as its root, which only root may do: the tree's loader runs the tree's Python where it is.
    python: list[str | Path] = [
        libraries / "ld-linux-x86-64.so.2",
        "--library-path",
        libraries,
        root / "usr" / "bin" / "python3",
    ]
    run(
        [*python, "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
         "-s", folder, "-p", INSIDE, *(folder / name for name in FOLDERS)],
        what="compiling the project for the guest", env={"PYTHONHOME": str(root / "usr"), "PYTHONPATH": ""},
    )  # fmt: skip
    _remove_old()


@contextmanager
def used() -> Iterator[None]:
    """Guests may read the copy while the context lasts: it is there, and nobody removes it."""
    while True:
        copy = code()
        copy.make()
        with artefact.in_use(copy.name):
            if copy.ready:  # not removed by another process before the lock was taken
                yield
                return


def _remove_old() -> None:
    copies = [each for each in cache_dir().glob("guest-code-*") if owned.is_own(each) and each.suffix != ".part"]
    many = len(copies) + 1 - KEPT
    for old in sorted(copies, key=lambda each: artefact.last_used(each.name)):
        if many <= 0:
            return
        with artefact.unused(old.name) as free:
            if free:
                artefact.remove(old)
                many -= 1
