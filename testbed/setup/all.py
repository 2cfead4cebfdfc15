"""All that a run needs, made side by side: the guest tree waits for the network while the kernel compiles."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed

from testbed.errors import InputError
from testbed.setup import children, code, host_packages, kernel, made_of, python_env, tree
from testbed.setup.artefact import Artefact
from testbed.setup.progress import say

KERNELS = ("virtual", "uml", "native")
OTHER_CPU_S = 60
"""Processor time of all that is made beside the kernel."""
USEFUL_CORES = 8
"""With more than these the network and what runs on one core decide."""


def make_all(kind: str, *, tests: bool = False) -> None:
    """Make what `--kernel kind` needs, and for `tests` the tests' guest tree besides.

    Raises InputError for an unknown kind, EnvironmentFailure when it cannot.
    """
    if kind not in KERNELS:
        raise InputError(f"unknown kernel {kind!r}", where="--kernel", allowed=", ".join(KERNELS))
    trees = [tree.tree(), *([tree.tree(tests=True)] if tests else [])]
    missing = [made for made in (python_env.venv(), *trees) if not made.ready]
    needed: tuple[str, ...] = () if all(made.ready for made in trees) else tree.packages_for_setup()
    if not kernel.kernel().ready:
        if kind == "virtual":
            missing.append(kernel.kernel())
            say(expectation(os.cpu_count() or 1))
            needed += host_packages.FOR_KERNEL
        elif kind == "uml":
            needed += (made_of.READY_UML,)
    if needed:
        host_packages.install(needed)  # once, for all: there is one lock of dpkg
    if len(missing) == 1:
        missing[0].make()
    elif missing:
        _make_side_by_side(missing)
    if not code.code().ready:  # by the tree's Python
        code.code().make()


def expectation(cores: int) -> str:
    """What a person is to expect who has no kernel yet, on so many idle cores, and what there is to see sooner."""
    minutes = max(1, round((kernel.CPU_S + OTHER_CPU_S) / min(cores, USEFUL_CORES) / 60))
    return (
        f"the guest's kernel is not built yet: {kernel.FILES} files are compiled once, while everything else is made; "
        f"about {minutes} min with {cores} idle cores. `--kernel uml` takes Debian's ready kernel instead, on the "
        "real clock: ./lab run recovery_storm --keying lks --seed 1 --kernel uml starts in a minute, and takes six"
    )


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
