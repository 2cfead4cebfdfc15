"""The running kernel as the laboratory's: the guest tree in namespaces of its own, and a check that the kernel can.

Needs root. Knows nothing of User-Mode Linux.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from testbed.errors import EnvironmentFailure
from testbed.setup.artefact import Artefact
from testbed.setup.paths import PROJECT

# What the laboratory asks of a kernel, and a command that fails in a fresh network namespace where it is absent.
NEEDS = {
    "veth": "ip link add lab0 type veth peer name lab1",
    "bridge": "ip link add lab0 type bridge",
    "netem": "ip link add lab0 type dummy && tc qdisc add dev lab0 root netem delay 1ms",
    "ESP": "ip xfrm state add src 127.0.0.1 dst 127.0.0.1 proto esp spi 0x1000 mode transport"
    " auth-trunc 'hmac(sha256)' 0x" + "00" * 32 + " 128 enc ecb\\(cipher_null\\) ''",
    "AH": "ip xfrm state add src 127.0.0.1 dst 127.0.0.1 proto ah spi 0x1000 mode transport"
    " auth-trunc 'hmac(sha256)' 0x" + "00" * 32 + " 128",
}


def lacking(root: Path, needs: Sequence[str] = tuple(NEEDS)) -> list[str]:
    """What of `needs` the running kernel does not offer; tried with the tools of the tree `root`."""

    def works(test: str) -> bool:
        words = ["unshare", "--net", "chroot", str(root), "sh", "-c", test]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    return [name for name in needs if not works(NEEDS[name])]


def argv(folder: Artefact, run_dir: Path, needs: Sequence[str] = tuple(NEEDS)) -> list[str]:
    """The command that runs testbed/guest/process1.py in the tree `folder` on the running kernel, which needs `needs`.

    Raises EnvironmentFailure when this user or this kernel cannot.
    """
    if os.geteuid() != 0:
        raise EnvironmentFailure("--kernel native needs root", allowed="root, or --kernel virtual or uml")
    if not folder.ready:
        raise EnvironmentFailure("the guest tree is not made", next_command="./lab setup --kernel native")
    if absent := lacking(folder.path / "root", needs):
        raise EnvironmentFailure(
            f"the running kernel lacks {', '.join(absent)}",
            allowed="--kernel virtual or uml, which bring their own kernel",
        )
    root = shlex.quote(str(folder.path / "root"))
    script = f"""
set -e
root={root}
mount --bind "$root" "$root"
mount --bind {shlex.quote(str(PROJECT))} "$root/lab/project"
mount --bind {shlex.quote(str(run_dir.resolve()))} "$root/lab/run"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
# What `mount` itself writes must not come into the tree: every other guest's moments hang on what is there.
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -o remount,bind,ro "$root"
exec chroot "$root" python3 /lab/project/testbed/guest/process1.py
"""
    return ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", script]
