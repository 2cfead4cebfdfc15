"""All that a run needs, made side by side: the guest tree waits for the network while the kernel compiles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed

from testbed.errors import InputError
from testbed.setup import children, host_packages, kernel, python_env, tree
from testbed.setup.artefact import Artefact, digest

KERNELS = ("virtual", "uml", "native")
READY_UML = ("user-mode-linux",)


def make_all(kind: str) -> None:
    """Make what `--kernel kind` needs. Raises InputError for an unknown kind, EnvironmentFailure when it cannot."""
    if kind not in KERNELS:
        raise InputError(f"unknown kernel {kind!r}", where="--kernel", allowed=", ".join(KERNELS))
    missing = [made for made in (python_env.venv(), tree.tree()) if not made.ready]
    needed: tuple[str, ...] = () if tree.tree().ready else tree.packages_for_setup()
    if not kernel.kernel().ready:
        if kind == "virtual":
            missing.append(kernel.kernel())
            needed += host_packages.FOR_KERNEL
        elif kind == "uml":
            needed += READY_UML
    if needed:
        host_packages.install(needed)  # once, for all: there is one lock of dpkg
    if len(missing) == 1:
        missing[0].make()
    elif missing:
        _make_side_by_side(missing)


def make_for_models() -> None:
    """Make what checking models/ needs, for this process. Raises EnvironmentFailure when it cannot."""
    python_env.use("models")
    if needed := host_packages.for_models():
        host_packages.install(needed)


def make_for_pages() -> None:
    """Make what the tests of pages need: a browser. Raises EnvironmentFailure when it cannot."""
    if needed := host_packages.for_pages():
        host_packages.install(needed)


def _make_side_by_side(missing: list[Artefact]) -> None:
    """None needs another; what fetches wheels for two of them is made once, and waited for."""
    with ThreadPoolExecutor(len(missing)) as pool:
        waiting = [pool.submit(made.make) for made in missing]
        try:
            for made in as_completed(waiting):
                made.result()
        except BaseException:
            children.end_all()  # the others' minutes are lost on a machine that cannot finish
            raise


def inventory() -> dict[str, object]:
    """For manifests: every package in the guest with its version, the kernel, the hashes that name the artefacts."""
    made = tree.tree()
    packages = made.path / "packages.txt"
    version = kernel.kernel().path / "version"
    listed = dict(line.split("\t", 1) for line in packages.read_text().splitlines()) if packages.exists() else {}
    site = (made.path / "root" / tree.SITE).glob("*.dist-info")
    return {
        "guest_tree": made.key,
        "guest_kernel": kernel.kernel().key if version.exists() else None,
        "kernel_version": version.read_text().strip() if version.exists() else None,
        "packages": listed,
        "python_packages": dict(sorted(folder.name.removesuffix(".dist-info").rsplit("-", 1) for folder in site)),
        "python_lock": digest(tree.LOCK),
    }
