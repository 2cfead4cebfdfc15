"""The XFRM netlink module against the kernel and `ip xfrm`, in the guest."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from agents.ipsec.model import (
    Action,
    Algorithm,
    Direction,
    EncapsulationMode,
    IpsecProtocol,
    Lifetime,
    Mark,
    Policy,
    SaDirection,
    SecurityAssociation,
    Selector,
    Template,
)
from agents.ipsec.xfrm import Xfrm, XfrmError

pytestmark = pytest.mark.guest

NAMESPACE = "xfrm-test"
SHA256 = Algorithm("hmac(sha256)", bytes(range(32)), 128)
CBC = Algorithm("cbc(aes)", bytes(range(16)))
NULL = Algorithm("ecb(cipher_null)", b"")
V4 = {"source": ip_address("10.0.0.1"), "destination": ip_address("224.0.0.5")}
V6 = {"source": ip_address("fe80::1"), "destination": ip_address("ff02::5")}


def ip(*arguments: str) -> str:
    """What `ip` prints inside the test's namespace."""
    command = ["ip", "-n", NAMESPACE, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def xfrm() -> Iterator[Xfrm]:
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        ip("link", "add", "eth0", "type", "dummy")
        with Xfrm(f"/run/netns/{NAMESPACE}") as opened:
            yield opened
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


ASSOCIATIONS = {
    "cipher null with digest": SecurityAssociation(**V4, spi=0x1001, encryption=NULL, integrity=SHA256),
    "cbc(aes) with digest and a full selector": SecurityAssociation(
        **V4, spi=0x1002, encryption=CBC, integrity=SHA256, reqid=7, replay_window=32,
        selector=Selector(ip_network("10.0.0.1/32"), ip_network("224.0.0.5/32"), 89),
    ),
    "aes-gcm": SecurityAssociation(
        **V4, spi=0x1003, aead=Algorithm("rfc4106(gcm(aes))", bytes(20), 128)
    ),
    "chacha20-poly1305": SecurityAssociation(
        **V4, spi=0x1004, aead=Algorithm("rfc7539esp(chacha20,poly1305)", bytes(36), 128)
    ),
    "AH": SecurityAssociation(**V4, spi=0x1005, protocol=IpsecProtocol.AH, integrity=SHA256),
    "ESN with a window of 128": SecurityAssociation(
        **V4, spi=0x1006, encryption=CBC, integrity=SHA256, esn=True, replay_window=128,
        sequence=0x1_0000_0005, direction=SaDirection.IN,
    ),
    "a window of 64 without ESN": SecurityAssociation(
        **V4, spi=0x1007, encryption=CBC, integrity=SHA256, replay_window=64
    ),
    "outbound at a given sequence number": SecurityAssociation(
        **V4, spi=0x1008, encryption=CBC, integrity=SHA256, sequence=1000, direction=SaDirection.OUT
    ),
    "inbound with a replay floor": SecurityAssociation(
        **V4, spi=0x1009, encryption=CBC, integrity=SHA256, replay_window=32, sequence=500,
        direction=SaDirection.IN,
    ),
    "IPv6 with lifetimes": SecurityAssociation(
        **V6, spi=0x100A, encryption=CBC, integrity=SHA256,
        lifetime=Lifetime(hard_packets=1000, soft_packets=900, hard_add_s=60, soft_add_s=50),
        selector=Selector(ip_network("fe80::1/128"), ip_network("ff02::5/128"), 89, "eth0"),
    ),
    "mark and if_id": SecurityAssociation(
        **V4, spi=0x100B, encryption=CBC, integrity=SHA256, mark=Mark(5, 0xFF), if_id=3
    ),
    "tunnel mode": SecurityAssociation(
        source=ip_address("10.0.0.1"), destination=ip_address("10.0.0.2"), spi=0x100C,
        mode=EncapsulationMode.TUNNEL, encryption=CBC, integrity=SHA256,
    ),
}  # fmt: skip

POLICIES = {
    "required template with an SPI": Policy(
        Selector(ip_network("0.0.0.0/0"), ip_network("224.0.0.5/32"), interface="eth0"),
        Direction.OUT, 84800, templates=(Template(reqid=9, spi=0x1234),),
    ),
    "level use": Policy(
        Selector(ip_network("10.0.0.0/24"), ip_network("0.0.0.0/0"), 89),
        Direction.IN, 84801, templates=(Template(reqid=9, optional=True),),
    ),
    "block": Policy(
        Selector(ip_network("::/0"), ip_network("ff02::5/128"), 89),
        Direction.IN, 84802, action=Action.BLOCK,
    ),
    "ports, mark and if_id": Policy(
        Selector(ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16"), 17,
                 destination_port=(848, 0xFFFF), source_port=(500, 0xFFFF)),
        Direction.FWD, 7, mark=Mark(1, 1), if_id=4, templates=(Template(),),
    ),
    "tunnel template": Policy(
        Selector(ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")), Direction.OUT, 7,
        templates=(Template(mode=EncapsulationMode.TUNNEL, source=ip_address("192.0.2.1"),
                            destination=ip_address("192.0.2.2")),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ASSOCIATIONS)
def test_an_added_sa_is_dumped_as_an_equal_one(xfrm: Xfrm, name: str) -> None:
    sa = ASSOCIATIONS[name]
    xfrm.add_sa(sa)
    (dumped,) = xfrm.dump_sas()
    assert dumped == sa
    assert dumped.sequence == sa.sequence
    assert xfrm.get_sa(sa.destination, sa.spi, sa.protocol, sa.mark) == sa
    xfrm.delete_sa(sa)
    assert xfrm.dump_sas() == []


@pytest.mark.parametrize("name", POLICIES)
def test_an_added_policy_is_dumped_as_an_equal_one(xfrm: Xfrm, name: str) -> None:
    policy = POLICIES[name]
    xfrm.add_policy(policy)
    assert xfrm.dump_policies() == [policy]
    xfrm.delete_policy(policy)
    assert xfrm.dump_policies() == []


def test_ip_prints_the_sa_that_was_added(xfrm: Xfrm) -> None:
    xfrm.add_sa(ASSOCIATIONS["cbc(aes) with digest and a full selector"])
    printed = " ".join(ip("-s", "xfrm", "state").split())
    assert "src 10.0.0.1 dst 224.0.0.5 proto esp spi 0x00001002(4098)" in printed
    assert "reqid 7(0x00000007) mode transport replay-window 32" in printed
    assert f"auth-trunc hmac(sha256) 0x{SHA256.key.hex()} (256 bits) 128" in printed
    assert f"enc cbc(aes) 0x{CBC.key.hex()} (128 bits)" in printed
    assert "sel src 10.0.0.1/32 dst 224.0.0.5/32 proto ospf" in printed


def test_ip_prints_the_policy_that_was_added(xfrm: Xfrm) -> None:
    xfrm.add_policy(POLICIES["required template with an SPI"])
    xfrm.add_policy(POLICIES["level use"])
    printed = " ".join(ip("-s", "xfrm", "policy").split())
    assert "src 0.0.0.0/0 dst 224.0.0.5/32 dev eth0 uid 0 dir out action allow" in printed
    assert "priority 84800" in printed
    assert "proto esp spi 0x00001234(4660) reqid 9(0x00000009) mode transport level required" in printed
    assert "src 10.0.0.0/24 dst 0.0.0.0/0 proto ospf" in printed
    assert "mode transport level use" in printed


def test_what_ip_adds_is_dumped_as_the_objects_it_stands_for(xfrm: Xfrm) -> None:
    ip(
        "xfrm", "state", "add", "src", "10.0.0.1", "dst", "224.0.0.5", "proto", "esp",
        "spi", "0x1002", "reqid", "7", "mode", "transport", "replay-window", "32",
        "auth-trunc", "hmac(sha256)", "0x" + SHA256.key.hex(), "128",
        "enc", "cbc(aes)", "0x" + CBC.key.hex(),
        "sel", "src", "10.0.0.1/32", "dst", "224.0.0.5/32", "proto", "89",
    )  # fmt: skip
    ip(
        "xfrm", "policy", "add", "src", "0.0.0.0/0", "dst", "224.0.0.5/32", "dev", "eth0",
        "dir", "out", "priority", "84800",
        "tmpl", "proto", "esp", "spi", "0x1234", "reqid", "9", "mode", "transport",
    )  # fmt: skip
    assert xfrm.dump_sas() == [ASSOCIATIONS["cbc(aes) with digest and a full selector"]]
    assert xfrm.dump_policies() == [POLICIES["required template with an SPI"]]


def test_updating_a_policy_replaces_it_in_place(xfrm: Xfrm) -> None:
    policy = POLICIES["required template with an SPI"]
    xfrm.update_policy(policy)
    changed = replace(policy, priority=1, templates=(Template(spi=0x9999),))
    xfrm.update_policy(changed)
    assert xfrm.dump_policies() == [changed]


def test_updating_an_sa_changes_its_lifetime(xfrm: Xfrm) -> None:
    sa = ASSOCIATIONS["cipher null with digest"]
    xfrm.add_sa(sa)
    longer = replace(sa, lifetime=Lifetime(hard_add_s=1000))
    xfrm.update_sa(longer)
    assert xfrm.dump_sas() == [longer]


def test_a_refusal_names_errno_operation_and_object_but_no_key(xfrm: Xfrm) -> None:
    sa = ASSOCIATIONS["cbc(aes) with digest and a full selector"]
    xfrm.add_sa(sa)
    with pytest.raises(XfrmError) as refused:
        xfrm.add_sa(sa)
    assert refused.value.errno == errno.EEXIST
    assert refused.value.operation == "add"
    text = str(refused.value) + repr(refused.value)
    assert "0x00001002" in text
    assert CBC.key.hex() not in text
    assert repr(CBC.key) not in text


def test_the_kernels_own_words_are_in_the_error(xfrm: Xfrm) -> None:
    wrong = SecurityAssociation(**V4, spi=0x2000, encryption=Algorithm("no(such)", b""), integrity=SHA256)
    with pytest.raises(XfrmError, match="algorithm"):
        xfrm.add_sa(wrong)


def test_an_unknown_interface_is_an_error_that_names_it(xfrm: Xfrm) -> None:
    policy = replace(
        POLICIES["block"],
        selector=replace(POLICIES["block"].selector, interface="nowhere0"),
    )
    with pytest.raises(XfrmError, match="nowhere0"):
        xfrm.add_policy(policy)


def test_a_batch_is_done_to_its_end_and_its_first_refusal_raised(xfrm: Xfrm) -> None:
    names = ["aes-gcm", "aes-gcm", "AH"]
    with pytest.raises(XfrmError, match="0x00001003"):
        xfrm.submit([xfrm.add_sa_request(ASSOCIATIONS[name]) for name in names])
    assert set(xfrm.dump_sas()) == {ASSOCIATIONS["aes-gcm"], ASSOCIATIONS["AH"]}


def test_thousands_of_sas_survive_a_dump(xfrm: Xfrm) -> None:
    template = ASSOCIATIONS["cbc(aes) with digest and a full selector"]
    made = [replace(template, spi=0x10000 + n) for n in range(2000)]
    xfrm.submit([xfrm.add_sa_request(sa) for sa in made])
    assert set(xfrm.dump_sas()) == set(made)
    xfrm.flush_sas()
    assert xfrm.dump_sas() == []


def test_flushing_empty_databases_is_no_error(xfrm: Xfrm) -> None:
    xfrm.flush_sas()
    xfrm.flush_policies()
    assert xfrm.dump_policies() == []


def test_the_sequence_of_an_absent_sa_is_a_lookup_error(xfrm: Xfrm) -> None:
    xfrm.add_sa(ASSOCIATIONS["outbound at a given sequence number"])
    assert xfrm.sequence(0x1008, V4["destination"]) == 1000
    with pytest.raises(LookupError):
        xfrm.sequence(0x4242, V4["destination"])


def test_opening_another_namespace_leaves_the_callers_alone(xfrm: Xfrm) -> None:
    before = os.readlink("/proc/self/ns/net")
    descriptor = os.open(f"/run/netns/{NAMESPACE}", os.O_RDONLY)
    try:
        with Xfrm(descriptor) as other:
            other.add_sa(ASSOCIATIONS["AH"])
        assert xfrm.dump_sas() == [ASSOCIATIONS["AH"]]
        with Xfrm() as here:
            assert here.dump_sas() == []
    finally:
        os.close(descriptor)
    assert os.readlink("/proc/self/ns/net") == before
