"""Images of the DKS and of the Policy Server for containers: an OCI image layout each, as one tar file.

Written without a daemon, out of a clean Debian tree and the files of the packages: the image format of the Open
Container Initiative, version 1 (https://github.com/opencontainers/image-spec). The same commit gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.packages import layout
from testbed.packages.deb import settle
from testbed.packages.releases import release
from testbed.packages.source import Source, source
from testbed.setup import clean
from testbed.setup.command import run
from testbed.setup.progress import step

BASE = release(13)
USER = 848
"""Of the processes, and of the state: the number of the DKS's port."""
EMPTY = ("dev", "proc", "sys", "run", "tmp")
"""Folders whose content a container brings."""
TYPE = "application/vnd.oci.image."


@dataclass(frozen=True)
class Kind:
    """What an image is of: its packages, what it runs, and where its state is."""

    package: str
    entry: tuple[str, ...]
    words: tuple[str, ...]
    state: str
    ports: tuple[str, ...]


KINDS = {
    "dks": Kind(layout.DKS, ("/usr/bin/dks",), ("run",), "/var/lib/router-keys/dks", ("848/udp",)),
    "policy": Kind(layout.POLICY, ("/usr/bin/policy",), ("serve",), "/var/lib/router-keys/policy", ("8484/tcp",)),
}


def build(out: Path, commit: str | None = None) -> list[Path]:
    """Write router-keys-NAME_VERSION_amd64.oci.tar of each kind into `out`; their files."""
    out.mkdir(parents=True, exist_ok=True)
    made = []
    with source(commit) as of, tempfile.TemporaryDirectory() as name:
        tree = clean.clean(BASE.folder).make() / "root"
        with step("building the images"):
            base = _layer((tree,), of.epoch_s)
            packages = Path(name)
            layout.lay(of, BASE, packages)
            _compile(tree, packages)
            for kind, what in KINDS.items():
                both = (packages / layout.COMMON, packages / what.package)
                for name, line in (("passwd", f"{USER}:{USER}::{what.state}:/usr/sbin/nologin"), ("group", f"{USER}:")):
                    text = (tree / "etc" / name).read_text() + f"router-keys:x:{line}\n"
                    (both[1] / "etc").mkdir(exist_ok=True)
                    (both[1] / "etc" / name).write_text(text)
                for each in both:
                    settle(each, of.epoch_s)
                path = out / f"router-keys-{kind}_{of.version}_amd64.oci.tar"
                _write(path, what, of, (base, _layer(both, of.epoch_s, what.state)))
                made.append(path)
    return made


def _compile(tree: Path, packages: Path) -> None:
    """Byte code, which nobody can write in a container; by the tree's Python where it is."""
    libraries = tree / "usr" / "lib" / "x86_64-linux-gnu"
    python: list[str | Path] = [
        libraries / "ld-linux-x86-64.so.2", "--library-path", libraries, tree / "usr" / "bin" / "python3",
    ]  # fmt: skip
    for each in (layout.COMMON, layout.POLICY):
        run(
            [*python, "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
             "-s", packages / each, "-p", "/", packages / each / layout.HOME / "lib"],
            what="compiling what the images run", env={"PYTHONHOME": str(tree / "usr"), "PYTHONPATH": ""},
        )  # fmt: skip


def _layer(roots: Sequence[Path], epoch_s: int, *own: str) -> bytes:
    """The files of trees as one tar file, in their order; folders that are the processes' `own` besides."""
    text = io.BytesIO()
    seen: set[str] = set()
    with tarfile.open(fileobj=text, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for root in roots:
            _add(packed, root, epoch_s, seen)
        for name in own:
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.type, entry.mode, entry.mtime, entry.uid, entry.gid = tarfile.DIRTYPE, 0o700, epoch_s, USER, USER
            packed.addfile(entry)
    return text.getvalue()


def _add(packed: tarfile.TarFile, root: Path, epoch_s: int, seen: set[str]) -> None:
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        top = name.partition("/")[0]
        if name in seen or (top in EMPTY and name != top):
            continue
        seen.add(name)
        entry = packed.gettarinfo(path, name)
        if not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
            continue
        entry.mtime, entry.uname, entry.gname = epoch_s, "", ""
        if os.geteuid() != 0:
            entry.uid = entry.gid = 0
        if entry.isreg():
            with path.open("rb") as file:
                packed.addfile(entry, file)
        else:
            packed.addfile(entry)


def _write(path: Path, what: Kind, of: Source, layers: Sequence[bytes]) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", of.date)
    blobs: dict[str, bytes] = {}

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": TYPE + kind, "digest": f"sha256:{digest}", "size": len(data)}

    packed = [put(gzip.compress(each, 1, mtime=0), "layer.v1.tar+gzip") for each in layers]
    config = {
        "created": moment, "architecture": "amd64", "os": "linux",
        "config": {
            "User": f"{USER}:{USER}", "Entrypoint": what.entry, "Cmd": what.words, "Volumes": {what.state: {}},
            "ExposedPorts": {each: {} for each in what.ports},
            "Env": ["PATH=/usr/bin:/bin", "PYDANTIC_DISABLE_PLUGINS=__all__"],
            "Labels": {
                "org.opencontainers.image.version": of.version, "org.opencontainers.image.revision": of.commit,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]},
        "history": [{"created": moment, "created_by": "lab package --oci"} for _ in layers],
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": f"{TYPE}manifest.v1+json",
        "config": put(json.dumps(config, sort_keys=True).encode(), "config.v1+json"), "layers": packed,
    }  # fmt: skip
    named = put(json.dumps(manifest, sort_keys=True).encode(), "manifest.v1+json")
    named["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    index = {"schemaVersion": 2, "mediaType": f"{TYPE}index.v1+json", "manifests": [named]}
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index, sort_keys=True).encode()}
    files |= {f"blobs/sha256/{digest}": data for digest, data in sorted(blobs.items())}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), of.epoch_s, 0o644
            out.addfile(entry, io.BytesIO(data))
