"""All that a run needs, made side by side: the guest tree waits for the network while the kernel compiles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from testbed.errors import InputError
from testbed.setup import host_packages, kernel, python_env, tree
from testbed.setup.paths import PROJECT

KERNELS = ("virtual", "uml", "native")
READY_UML = ("user-mode-linux",)


def make_all(kind: str) -> None:
    """Make what `--kernel kind` needs. Raises InputError for an unknown kind, EnvironmentFailure when it cannot."""
    if kind not in KERNELS:
        raise InputError(f"unknown kernel {kind!r}", allowed=", ".join(KERNELS))
    python_env.venv().make()
    needs_kernel = kind == "virtual" and not kernel.kernel().ready
    if not tree.tree().ready:
        host_packages.install(host_packages.FOR_TREE)
    if needs_kernel:
        host_packages.install(host_packages.FOR_KERNEL)
    if kind == "uml" and not kernel.kernel().ready:
        host_packages.install(READY_UML)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(tree.tree().make)]
        if needs_kernel:
            waiting.append(pool.submit(kernel.kernel().make))
        for made in waiting:
            made.result()


def inventory() -> dict[str, object]:
    """What the guest holds: package versions, kernel, and the hashes that name the artefacts. For manifests."""
    packages = tree.tree().path / "packages.txt"
    version = kernel.kernel().path / "version"
    listed = dict(line.split("\t", 1) for line in packages.read_text().splitlines()) if packages.exists() else {}
    return {
        "guest_tree": tree.tree().key,
        "guest_kernel": kernel.kernel().key,
        "kernel_version": version.read_text().strip() if version.exists() else None,
        "packages": {name: listed[name] for name in tree.PACKAGES if name in listed},
        "python_lock": tree.LOCK.relative_to(PROJECT).as_posix(),
    }
