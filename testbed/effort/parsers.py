"""Whether the lines of a script are taken by the programs that they are for: FRR's vtysh, and `ip` of iproute2.

Both come out of the guest's tree and only parse: `vtysh -C`, and `ip` in a network namespace of its own, where a kernel
that lacks IPsec may refuse to do what it has understood. Lines that differ in numbers, names and keys alone are tried
once. Knows nothing of what is counted.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from testbed.effort.script import Line
from testbed.errors import EnvironmentFailure
from testbed.setup.tree import tree

_NO_CONFIGURATION = ("configure terminal", "end", "write memory")
_MISUNDERSTOOD = 255
"""iproute2's exit code for an argument that it cannot read."""


def _shape(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+|[0-9]+", "0", re.sub(r"[0-9a-f]{32}|\br[0-9]+_r[0-9]+\b", "0", text))


class Parsers:
    """`tried` and `taken`: how many lines there were to try, and how many were understood; those of a shape that was
    tried count with it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._root = folder, tree().make() / "root"
        self._known: dict[str, bool] = {}
        self.tried = self.taken = 0

    def look(self, lines: Iterable[Line]) -> None:
        """Try the lines of each machine in their order."""
        machines: dict[str, list[str]] = {}
        for line in lines:
            machines.setdefault(line.on, []).append(line.text)
        for texts in machines.values():
            self._ip([text for text in texts if text.startswith("ip xfrm ")])
            self._vtysh(_configurations(texts))

    def _ip(self, texts: list[str]) -> None:
        for text in texts:
            shape = _shape(text)
            if shape not in self._known:
                words = re.sub(r"\bdev eth[0-9]+", "dev lo", text).split()[1:]  # the interface that is there
                done = self._run("unshare", "-rn", *self._program("ip"), *words)
                if "unshare" in done.stderr:
                    raise EnvironmentFailure(
                        "this machine allows no network namespace of one's own", where="unshare -rn"
                    )
                self._known[shape] = done.returncode != _MISUNDERSTOOD
            self._count(shape, 1)

    def _vtysh(self, configurations: list[list[str]]) -> None:
        for texts in configurations:
            shape = "\n".join(sorted({_shape(text) for text in texts}))
            if shape not in self._known:
                path = self._folder / "frr.conf"
                path.write_text("\n".join(texts) + "\n")
                (self._folder / "vtysh.conf").touch()
                done = self._run(*self._program("vtysh"), "--config_dir", str(self._folder), "-C", "-f", str(path))
                self._known[shape] = done.returncode == 0
            self._count(shape, len(texts))

    def _count(self, shape: str, lines: int) -> None:
        self.tried += lines
        self.taken += lines if self._known[shape] else 0

    def _program(self, name: str) -> list[str]:
        """A program of the tree, with the tree's own libraries."""
        libraries = self._root / "usr/lib/x86_64-linux-gnu"
        return [
            str(libraries / "ld-linux-x86-64.so.2"), "--library-path", f"{libraries}:{libraries / 'frr'}",
            str(self._root / "usr/bin" / name),
        ]  # fmt: skip

    @staticmethod
    def _run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _configurations(texts: list[str]) -> list[list[str]]:
    """What is typed between `configure terminal` and `end`, each time."""
    configurations: list[list[str]] = []
    inside = False
    for text in texts:
        if text == _NO_CONFIGURATION[0]:
            configurations.append([])
            inside = True
        elif text == _NO_CONFIGURATION[1]:
            inside = False
        elif inside:
            configurations[-1].append(text)
    return configurations
