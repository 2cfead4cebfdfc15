"""A software bill of materials out of the locks: CycloneDX 1.5, as JSON. Knows nothing of what is installed."""

from __future__ import annotations

import re
import uuid
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from agents import __version__
from testbed.setup import archive, locks

SPACE = uuid.UUID("6d3b5f0e-6f0a-5c1e-9a44-3a9f1f1b6c57")
"""What serial numbers are made in: the same locks have the same one."""
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def bill() -> dict[str, Any]:
    """All that the locks name: wheels of every layer, Debian packages of both guests, the kernel's source."""
    components = sorted([*_wheels(), *_packages()], key=lambda each: str(each["bom-ref"]))
    digest = sha256(repr(components).encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(SPACE, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "name": "router-keys", "version": __version__,
                "bom-ref": f"pkg:generic/router-keys@{__version__}", "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": components,
    }  # fmt: skip


def _wheels() -> list[dict[str, Any]]:
    wheels: dict[str, dict[str, Any]] = {}
    for path in sorted(locks.LOCKS.glob("*.txt")):
        if path == archive.LOCK:
            continue
        for head, block in locks.blocks(path.read_text()).items():
            name, _, rest = head.partition("==")
            version = rest.partition(";")[0].strip()
            reference = f"pkg:pypi/{name}@{quote(version)}"
            known = wheels.setdefault(reference, _component(reference, name, version))
            known["properties"].append({"name": "router-keys:lock", "value": path.name})
            known["hashes"] += [_hash(each) for each in _HASH.findall(block) if _hash(each) not in known["hashes"]]
    return list(wheels.values())


def _packages() -> list[dict[str, Any]]:
    packages: dict[str, dict[str, Any]] = {}
    for section in archive.SECTIONS:
        for package in archive.locked(section):
            reference = f"pkg:deb/debian/{package.name}@{quote(package.version, safe='')}?arch={package.architecture}"
            component = packages.setdefault(reference, _component(reference, package.name, package.version))
            component["hashes"] = [_hash(package.sha256)]
            component["properties"].append({"name": "router-keys:lock", "value": f"{archive.LOCK.name}, {section}"})
    return list(packages.values())


def _component(reference: str, name: str, version: str) -> dict[str, Any]:
    head = {"type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference}
    return {**head, "hashes": [], "properties": []}


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}
