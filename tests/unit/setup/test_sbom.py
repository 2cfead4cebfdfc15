"""The software bill of materials: everything that is locked is in it, once, with its hashes."""

from __future__ import annotations

import re
from urllib.parse import quote

from testbed.setup import archive, locks
from testbed.setup.sbom import bill


def test_every_locked_wheel_and_package_is_named_with_its_hash() -> None:
    found = bill()
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    components = {each["bom-ref"]: each for each in found["components"]}
    assert len(components) == len(found["components"]) > 300
    for package in archive.locked(*archive.SECTIONS):
        named = components[
            f"pkg:deb/debian/{package.name}@{quote(package.version, safe='')}?arch={package.architecture}"
        ]
        assert {"alg": "SHA-256", "content": package.sha256} in named["hashes"]
    wheels = {head.partition(";")[0].strip() for path in locks.LOCKS.glob("*.txt") if path != archive.LOCK
              for head in locks.blocks(path.read_text())}  # fmt: skip
    assert {
        f"{each['name']}=={each['version']}" for each in components.values() if "pkg:pypi" in each["purl"]
    } == wheels
    for each in components.values():
        assert each["hashes"] and all(re.fullmatch("[0-9a-f]{64}", one["content"]) for one in each["hashes"])
        assert each["properties"], each["name"]


def test_the_same_locks_have_the_same_bill() -> None:
    assert bill() == bill() and bill()["serialNumber"].startswith("urn:uuid:")
