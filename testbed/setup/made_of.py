"""Of what exactly the guest is made: every Debian package and wheel, the kernel's source, and what compiled it.

Two guests of the same identity give the same records. Knows nothing of runs.
"""

from __future__ import annotations

import platform
from typing import Any

from testbed.setup import host_packages, kernel, python_env, tree
from testbed.setup.artefact import digest

READY_UML = "user-mode-linux"


def kernel_identity(kind: str) -> str:
    """The hash that stands for our kernel; in words, which kernel of somebody else's a guest of this kind has."""
    if kind == "native":
        return f"{platform.release()} {platform.version()}"
    if kind == "uml" and not kernel.kernel().ready:
        return f"{READY_UML} {host_packages.version(READY_UML) or 'not installed'}"
    return kernel.identity()


def parts() -> dict[str, dict[str, str]]:
    """Each part by its kind and name: version and SHA-256; without what is not made yet."""
    return {
        "debian": {each.name: f"{each.version} {each.architecture} {each.sha256}" for each in tree.resolved()},
        "wheels": tree.wheels(),
        "kernel": kernel.made_of(),
    }


def inventory() -> dict[str, Any]:
    """For summaries: the identities, all versions, and all hashes apart from them."""
    counted = parts()
    version = kernel.kernel().path / "version"
    split = {kind: {name: text.rpartition(" ") for name, text in each.items()} for kind, each in counted.items()}
    return {
        "guest_tree": tree.identity(),
        "guest_kernel": kernel.identity() if version.exists() else None,
        "kernel_version": version.read_text().strip() if version.exists() else None,
        "kernel_made_of": {name: version for name, (version, _, _) in split["kernel"].items()},
        "packages": {name: version.partition(" ")[0] for name, (version, _, _) in split["debian"].items()},
        "python_packages": {name: version for name, (version, _, _) in split["wheels"].items()},
        "python_lock": digest(tree.LOCK),
        "host_python_lock": digest(python_env.LOCK),
        "sha256": {kind: {name: text for name, (_, _, text) in each.items()} for kind, each in split.items()},
    }
