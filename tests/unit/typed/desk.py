"""What lies on the desk of somebody who types: good files, bad files, half a folder, a policy store.

The folder is nested, so that a few `..` stay inside what a test may write.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.unit.results import made
from tests.unit.results.conftest import unpainted_figures
from tests.unit.results.made import KEY_LINE, capture
from tests.unit.typed import house

FILES = Path(__file__).parents[2] / "errors" / "typed" / "files"


def _nothing(*_words: object, **_more: object) -> list[object]:
    return []


def _stop(*_words: object, **_more: object) -> object:
    raise OSError("a test computes nothing for long")


_LONG = {
    "models.checks.all_checks": _nothing, "testbed.soak.seeds.run": _stop, "fuzz.__main__.main": _nothing,
    "agents.runtime.harden.process": _nothing, "testbed.setup.host_packages.for_models": tuple,
    "testbed.setup.python_env.use": _nothing, "testbed.setup.all.say": _nothing,
}  # fmt: skip
"""Verbs that compute in this process; what would change this process itself."""


def lay(root: Path) -> Path:
    """Make the desk below `root`, or what of it has changed since; where it is."""
    at, template = root / "a" / "b" / "c" / "desk", _template()
    if not at.is_dir():
        shutil.copytree(template, at, symlinks=True)
        (root / "tmp").mkdir()
    for text in sorted(house.changed):
        path = Path(text)
        if path.exists() and not path.is_file() and not path.is_dir():
            continue  # /dev/null, and what else a command may well write into
        _away(path)
        whole = template / path.relative_to(at) if path.is_relative_to(at) else None
        if whole is not None and whole.is_dir():
            shutil.copytree(whole, path, symlinks=True)
        elif whole is not None and whole.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(whole, path)
        elif path.name == "tmp" and path.parent == root:
            path.mkdir()
    house.changed.clear()
    house.refused.clear()
    return at


def _away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def laid(root: Path) -> Iterator[Path]:
    """Go to the desk below `root`, which is made anew if it is not as it was, and come back."""
    at = lay(root)
    before, environment = Path.cwd(), {
        "LAB_CACHE": root / "cache", "HOME": root / "home", "TMPDIR": root / "tmp", "COLUMNS": "100", "TERM": "dumb",
        "MPLCONFIGDIR": root / "matplotlib", "NO_COLOR": "1",
    }  # fmt: skip
    with patch.dict(os.environ, {name: str(value) for name, value in environment.items()}), unpainted_figures():
        os.environ.pop("POLICY_STORE", None)
        patches = [patch(name, stand_in) for name, stand_in in _LONG.items()]
        patches.append(patch.object(tempfile, "tempdir", str(root / "tmp")))
        for each in patches:
            each.start()
        os.chdir(at)
        try:
            yield at
        finally:
            os.chdir(before)
            for each in patches:
                each.stop()


@cache
def _template() -> Path:
    """Made once a process."""
    folder = Path(tempfile.mkdtemp(prefix="lab-desk-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    at = folder / "desk"
    shutil.copytree(FILES, at)
    (at / "empty").mkdir()
    (at / "folder.yaml").mkdir()
    (at / "octets").write_bytes(bytes(range(256)))
    (at / "octets.yaml").write_bytes(bytes(range(256)))
    (at / "nothing").write_bytes(b"")
    (at / "loop.yaml").symlink_to("loop.yaml")
    (at / "folder.py").mkdir()
    _capture(at)
    with unpainted_figures():
        made.results(at / "results")
    for name in ("half", "gone", "other", "later"):
        shutil.copytree(at / "results", at / name)
    for run in (at / "gone" / "runs").iterdir():
        (run / "record.jsonl").write_text('{"t": 1, "node":\n')
    record = made.only(at / "half", "lks", 2) / "record.jsonl"
    record.write_text(record.read_text()[:700])
    shutil.rmtree(made.only(at / "half", "none", 1))
    for name, old, new in (("other", '"power_cycle"', '"link_cut"'), ("later", '"format": 2', '"format": 99')):
        summary = at / name / "summary.json"
        summary.write_text(summary.read_text().replace(old, new))
    (at / "reference").mkdir()
    shutil.copytree(at / "later", at / "reference" / "later")
    shutil.copytree(at / "results" / "figures", at / "results.d")
    _store(at)
    return at


def _capture(at: Path) -> None:
    """Two IKE datagrams, the second cut in the middle; and a file of keys with a line that is none."""
    octets = capture(at / "cut.pcap").read_bytes()
    (at / "cut.pcap").write_bytes(octets[:-9])
    (at / "keys").write_text("rubbish\n" + KEY_LINE)


def _store(at: Path) -> None:
    """A policy store with two routers that may be neighbours; keys of its own each time."""
    for name in ("dks", "r1", "r2", "other"):
        key = Ed25519PrivateKey.generate().public_key()
        (at / f"{name}.pub").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    before = Path.cwd()
    os.chdir(at)
    try:
        for words in (
            "init home --dks-key dks.pub --dks-address 10.0.0.1", "router add r1 --key r1.pub",
            "router add r2 --key r2.pub", "router approve r1 --key r1.pub", "router approve r2 --key r2.pub",
            "interface add r1:eth0 --address 10.1.0.1/30 --link-local fe80::1",
            "interface add r2:eth0 --address 10.1.0.2/30 --link-local fe80::2",
            "adjacency allow r1:eth0 r2:eth0", "commit -m first --who somebody",
        ):  # fmt: skip
            done = house.typed("policy", ["--store", "store", *words.split()])
            assert done.code == 0, done
    finally:
        os.chdir(before)
