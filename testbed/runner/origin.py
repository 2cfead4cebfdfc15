"""From what a run was made: the kind of kernel, the guest, and the code that plays it. Kept beside the run.

A run in virtual time is decided by its plan and by these; where one is another, other bytes are no surprise.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed.record.reading import document
from testbed.setup import kernel, tree
from testbed.setup.paths import PROJECT

FILE = "origin.json"
WORDS = {"kind": "kind of kernel", "kernel": "guest kernel", "tree": "guest tree", "code": "code"}
"""What decides a run, in words for a person."""


@dataclass(frozen=True)
class Origin:
    """`kind` is virtual, uml or native; `kernel`, `tree` and `code` are hashes; `commit` is for people only."""

    kind: str
    kernel: str
    tree: str
    code: str
    commit: str | None = None

    def write(self, folder: Path) -> None:
        """Keep it in a run's folder."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n")

    def differs(self, other: Origin) -> list[str]:
        """What decides a run and is not the same, in words."""
        return [
            f"another {word}: {getattr(self, name)} then, {getattr(other, name)} now"
            for name, word in WORDS.items()
            if getattr(self, name) != getattr(other, name)
        ]


def here(kind: str, code: str) -> Origin:
    """What a run of this kind would be made from now."""
    return Origin(kind, kernel.kernel().key, tree.tree().key, code, commit())


def read(folder: Path) -> Origin | None:
    """What a run was made from; None for a run that does not say. Raises InputError when it is damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    return document(path, Origin)


def commit() -> str | None:
    """The checkout's commit, with "+" when tracked files were changed since; None where git cannot say."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()
