"""One Debian package from a folder of its files: control, checksums, scripts, one time for all files. By dpkg-deb."""

from __future__ import annotations

import hashlib
import os
import re
import string
from collections.abc import Mapping
from pathlib import Path

from testbed.packages.layout import TEXTS
from testbed.setup.command import run

SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
EXECUTABLE, PLAIN = 0o755, 0o644
LEVEL = 1
"""Of xz: 6 takes six times as long, for an eighth less."""


def stanzas(values: Mapping[str, str]) -> dict[str, str]:
    """The control file of every package by its name, but for `${size}`."""
    filled = {}
    for text in (TEXTS / "control").read_text().strip().split("\n\n"):
        name = re.match(r"Package: (\S+)", text)
        assert name is not None, text
        filled[name[1]] = string.Template(text).safe_substitute(values)
    return filled


def build(name: str, stanza: str, root: Path, out: Path, epoch_s: int) -> Path:
    """Write NAME_VERSION_ARCHITECTURE.deb of the files in `root` into `out`; its path. `root` becomes the package's."""
    control = root / "DEBIAN"
    control.mkdir()
    files = [path for path in sorted(root.rglob("*")) if not path.is_dir() and control not in path.parents]
    size_kib = sum(1 if path.is_symlink() else -(-path.stat().st_size // 1024) for path in files)
    (control / "control").write_text(string.Template(stanza).substitute(size=size_kib) + "\n")
    sums = (f"{_md5(path)}  {path.relative_to(root)}\n" for path in files if not path.is_symlink())
    (control / "md5sums").write_text("".join(sums))
    configuration = "".join(f"/{path.relative_to(root)}\n" for path in files if root / "etc" in path.parents)
    if configuration:
        (control / "conffiles").write_text(configuration)
    for script in SCRIPTS:
        if (text := TEXTS / f"{name}.{script}").exists():
            (control / script).write_bytes(text.read_bytes())
    settle(root, epoch_s)
    fields = dict(line.split(": ", 1) for line in stanza.splitlines() if not line.startswith(" "))
    made = out / f"{name}_{fields['Version']}_{fields['Architecture']}.deb"
    run(
        ["dpkg-deb", "--root-owner-group", "-Zxz", f"-z{LEVEL}", "--threads-max=1", "--build", root, made],
        what=f"dpkg-deb {name}", env={"SOURCE_DATE_EPOCH": str(epoch_s)},
    )  # fmt: skip
    return made


def settle(root: Path, epoch_s: int) -> None:
    """Modes and times that do not tell who built it, where, and when."""
    for path in [*sorted(root.rglob("*"), reverse=True), root]:
        if not path.is_symlink():
            script = path.parent.name in ("bin", "DEBIAN") and path.name not in ("control", "md5sums", "conffiles")
            path.chmod(EXECUTABLE if path.is_dir() or script else PLAIN)
        os.utime(path, (epoch_s, epoch_s), follow_symlinks=False)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
