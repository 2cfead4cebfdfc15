"""The origin of a run: the kind of kernel, the guest, and the code that plays it. Kept beside the run.

A run in virtual time is decided by its plan and its origin; with another origin, other bytes are expected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from testbed.record.reading import document
from testbed.setup import history, made_of, tree
from testbed.setup.archive import abridged

FILE = "origin.json"
WORDS = {"kind": "kind of kernel", "kernel": "guest kernel", "tree": "guest tree", "code": "code"}
"""The parts that decide a run, in words."""
PARTS = {"kernel": ("kernel",), "tree": ("debian", "wheels")}
"""What of `made_of` a hash stands for."""


@dataclass(frozen=True)
class Origin:
    """`kind` is virtual, uml or native; `kernel`, `tree` and `code` are hashes; `commit` is for people only.

    `made_of` has what `kernel` and `tree` stand for: by kind and name, version and SHA-256.
    """

    kind: str
    kernel: str
    tree: str
    code: str
    commit: str | None = None
    made_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Keep it in a run's folder."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n")

    def differs(self, other: Origin) -> list[str]:
        """The parts that decide a run and differ, in words; for a guest, its differing packages."""
        differences = []
        for name, noun in WORDS.items():
            one, another = getattr(self, name), getattr(other, name)
            if one != another:
                parts = [part for kind in PARTS.get(name, ()) for part in _moved(self, other, kind)]
                differences.append(f"another {noun}: {one} then, {another} now{': ' if parts else ''}{abridged(parts)}")
        return differences


def here(kind: str, code: str) -> Origin:
    """The origin that a run of this kind would have now."""
    return Origin(kind, made_of.kernel_identity(kind), tree.identity(), code, commit(), made_of.parts())


def _moved(then: Origin, now: Origin, kind: str) -> list[str]:
    """The differing parts of a kind, if both sides list them."""
    before, after = then.made_of.get(kind), now.made_of.get(kind)
    if not before or not after:
        return []
    moved = []
    for name in sorted(before.keys() | after.keys()):
        one, another = (each.get(name, "absent") for each in (before, after))
        if one != another:
            versions = one.partition(" ")[0], another.partition(" ")[0]
            moved.append(f"{name} {versions[0]} → {versions[1]}" if len(set(versions)) == 2 else f"{name}, rebuilt")
    return moved


def read(folder: Path) -> Origin | None:
    """A run's origin; None for a run without one. Raises InputError when it is damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    return document(path, Origin)


def commit() -> str | None:
    """The checkout's commit, with "+" when tracked files were changed since; None when git cannot tell."""
    head, changed = history.git("rev-parse", "HEAD"), history.git("status", "--porcelain", "--untracked-files=no")
    return None if head is None or changed is None else head + ("+" if changed else "")
