"""The manifest of a run: its versions, seed and hashes."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from testbed.errors import InputError
from testbed.record.reading import document

FILE = "manifest.json"
FORMAT = 1
"""The format of a run's folder: its files, and the content of their lines."""
_PACKAGES = ("pydantic", "jinja2", "networkx", "cryptography", "cbor2", "mininet")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Manifest(BaseModel):
    """The part of manifest.json that readers use."""

    model_config = ConfigDict(extra="allow")

    format: int = FORMAT
    commit: str | None = None
    kernel: dict[str, Any] | None = None
    versions: dict[str, Any] | None = None
    sha256: dict[str, str] = Field(default_factory=dict)
    """By the file's path in the run's folder."""


def read_manifest(run_folder: Path) -> Manifest:
    """The manifest of a run folder. InputError when it is missing, damaged, or of a later format."""
    manifest = document(run_folder / FILE, Manifest)
    if not 1 <= manifest.format <= FORMAT:
        raise InputError(
            f"the run is of format {manifest.format}", where=str(run_folder / FILE),
            allowed=f"format {FORMAT}; a later version of the laboratory reads later formats",
        )  # fmt: skip
    return manifest


def write_manifest(run_folder: Path, facts: Mapping[str, Any]) -> None:
    """Write manifest.json of a run folder; `facts` are known to the engine only."""
    files = [run_folder / "plan.json", run_folder / "record.jsonl"]
    files += sorted((run_folder / "pcap").glob("*.pcap"))
    manifest = {
        "format": FORMAT,
        **facts,
        "kernel": {
            "release": platform.release(),
            "version": platform.version(),
            "mode": _kernel_mode(),
        },
        "versions": {
            "python": platform.python_version(),
            "frr": _first_line(["/usr/lib/frr/zebra", "--version"]),
            "mininet": _mininet_version(),
            "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        },
        "commit": _commit(),
        "sha256": {str(path.relative_to(run_folder)): sha256(path) for path in files if path.exists()},
    }
    (run_folder / FILE).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _kernel_mode() -> str:
    command_line = Path("/proc/cmdline").read_text()
    if "time-travel" in command_line:
        return "virtual"
    return "uml" if "User Mode Linux" in Path("/proc/cpuinfo").read_text() else "native"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _mininet_version() -> str | None:
    net = sys.modules.get("mininet.net")
    return getattr(net, "VERSION", None)


def _first_line(argv: list[str]) -> str | None:
    if shutil.which(argv[0]) is None:
        return None
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.partition("\n")[0] or None


def _commit() -> str | None:
    """Our commit, read from the files of .git: the guest has no git."""
    folder = Path(__file__).resolve().parents[2] / ".git"
    try:
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        loose = folder / name
        if loose.exists():
            return loose.read_text().strip()
        for line in (folder / "packed-refs").read_text().splitlines():
            if line.endswith(" " + name):
                return line.split()[0]
    except OSError:
        return None
    return None
