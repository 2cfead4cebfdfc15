"""What the laboratory asks of a kernel, and of process 1, is there inside the guest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from testbed.guest.native import NEEDS

pytestmark = pytest.mark.guest


def shell(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["unshare", "--net", "sh", "-ec", script], text=True, capture_output=True, check=False)


@pytest.mark.parametrize("need", NEEDS)
def test_the_kernel_has_what_a_native_one_is_asked_for(need: str) -> None:
    done = shell(NEEDS[need])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "cipher",
    [
        "aead 'rfc4106(gcm(aes))' 0x" + "01" * 20 + " 128",
        "aead 'rfc7539esp(chacha20,poly1305)' 0x" + "01" * 36 + " 128",
        "auth-trunc 'hmac(sha256)' 0x" + "01" * 32 + " 128 enc 'cbc(aes)' 0x" + "01" * 16,
        "auth-trunc 'hmac(sha512)' 0x" + "01" * 64 + " 256 enc 'cbc(aes)' 0x" + "01" * 32,
        "auth-trunc 'hmac(sha256)' 0x" + "01" * 32 + " 128 enc 'ecb(cipher_null)' ''",
    ],
)
@pytest.mark.parametrize("family", [("127.0.0.1", "127.0.0.2"), ("fe80::1", "ff02::5")])
def test_the_kernel_takes_every_suites_ciphers(cipher: str, family: tuple[str, str]) -> None:
    source, destination = family
    done = shell(f"ip xfrm state add src {source} dst {destination} proto esp spi 0x1000 mode transport {cipher}")
    assert done.returncode == 0, done.stderr


def test_open_vswitch_has_its_datapath_in_the_kernel() -> None:
    done = shell("ovs-dpctl add-dp probe; ovs-dpctl show; ovs-dpctl del-dp probe")
    assert done.returncode == 0, done.stderr
    assert "probe" in done.stdout


def test_nftables_sees_ipsec_and_filters_where_packets_enter() -> None:
    rules = "table netdev t { chain c { type filter hook ingress device lo priority 0; meta ipsec exists drop; }; }"
    done = shell(f"ip link set lo up; nft '{rules}'; nft list ruleset")
    assert done.returncode == 0, done.stderr
    assert "ingress" in done.stdout


def test_multicast_routing_tables_are_there_for_pim() -> None:
    assert Path("/proc/net/ip_mr_vif").exists()
    assert Path("/proc/net/ip6_mr_vif").exists()


def test_a_tunnel_device_can_be_opened() -> None:
    assert Path("/dev/net/tun").is_char_device()


def test_an_ext4_image_on_a_loop_device_can_be_mounted(tmp_path: Path) -> None:
    image, folder = tmp_path / "image", tmp_path / "mounted"
    folder.mkdir()
    done = shell(
        f"truncate -s 8M {image}; mkfs.ext4 -q {image}; mount -o loop {image} {folder}; echo x > {folder}/x;"
        f" umount {folder}"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", ["/run", "/tmp", "/var/tmp", "/var/log", "/root", "/dev/shm", "/lab/run"])
def test_folders_that_programs_write_to_can_be_written(folder: str) -> None:
    probe = Path(folder) / "probe"
    probe.write_text("x")
    probe.unlink()


def test_the_engines_environment_is_set() -> None:
    assert os.environ["PYTHONPATH"].split(":") == ["/opt/lab/site", "/lab/project"]
    assert os.environ["PYTHONHASHSEED"] == "0"
    assert Path.cwd() == Path("/lab/project")
