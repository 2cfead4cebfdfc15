"""The images for containers: unpacked by umoci, and run from what it unpacks."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from testbed.packages import oci
from testbed.setup import clean
from tests.laboratory.small_domain import A_DOMAIN

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="images are unpacked by root, with their owners")

ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc")


def unpacked(image: Path, into: Path) -> Path:
    """The image's files as umoci gives them; it looks at each digest."""
    tools = clean.tools().make() / "root"
    into.mkdir()
    with tarfile.open(image) as packed:
        packed.extractall(into / "layout", filter="data")
    script = (
        f'mount --bind "{into}" "{tools}/mnt"; exec chroot "{tools}" umoci unpack --image /mnt/layout:latest /mnt/b'
    )
    done = subprocess.run([*ALONE, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return into / "b" / "rootfs"


def inside(root: Path, command: str, *, user: int = oci.USER) -> list[str]:
    """The words that run a command in an image, in the way of its configuration."""
    script = (
        f'mount -t proc proc "{root}/proc"; mount --bind /dev "{root}/dev"; '
        f'exec chroot --userspec={user}:{user} "{root}" env -i PATH=/usr/bin:/bin {command}'
    )
    return [*ALONE, script]


def test_the_images_are_whole_and_their_programs_run(tmp_path: Path) -> None:
    images = oci.build(tmp_path)
    dks, policy = (unpacked(image, tmp_path / name) for image, name in zip(images, ("dks", "policy"), strict=True))
    typed = f"cd /tmp\n{A_DOMAIN}policy check\n"
    made = subprocess.run(inside(policy, "sh"), input=typed, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr

    told = subprocess.run(inside(dks, "dks --version"), capture_output=True, text=True, check=False)
    assert told.returncode == 0 and told.stdout.startswith("dks 0."), told.stderr
