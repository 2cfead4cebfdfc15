"""The host's side of machines that boot inside the guest: their packages, the guest, and what was seen there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from testbed.guest.boot import GuestSpec, run_guest
from testbed.setup import machine
from testbed.setup.paths import PROJECT


def package(folder: Path, version: str, *more: str) -> None:
    """Make packages as a person does, into `folder`/packages/`version`."""
    words = ("package", "--out", str(folder / version), "--release", "13", *more)
    argv = [sys.executable, "-m", "testbed.cli", *words]
    made = subprocess.run(argv, cwd=PROJECT, text=True, capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    (folder / "packages").mkdir(exist_ok=True)
    (folder / version / "debian-13").rename(folder / "packages" / version)


def chapters(folder: Path, story: str) -> dict[str, Any]:
    """Run a module of this folder in a guest that has `folder` as its own; what it wrote, by chapter."""
    command = ("python3", "-m", f"tests.laboratory.booted.{story}")
    trees = {"tree": machine.machine().make() / "root"}
    ended = run_guest(GuestSpec("virtual", command, folder, tests=True, folders=trees), timeout_s=1200)
    assert ended.exit_code == 0, ended.console_log.read_text(errors="replace")[-8000:]
    seen: dict[str, Any] = json.loads((folder / f"{story}.json").read_text())
    return seen
