"""GSA and KD: round trips, RFC 5649's vectors, and octets from an attacker."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gikev2 import GroupKeyBag, GroupPolicy, GroupWidePolicy, GsaPayload, KdPayload, MemberKeyBag, notifies
from agents.gikev2.kd import WrappedKey, unwrap_key, wrap_key
from agents.gikev2.keys import suite_transforms
from agents.ikev2 import Attribute, IntegrityFailure, MalformedMessage, TrafficSelector
from agents.ikev2.registry import Protocol
from agents.ipsec.protection import Suite
from agents.policy.names import GroupId

GSA_EXAMPLE = GsaPayload(
    (
        GroupPolicy(
            Protocol.ESP,
            bytes.fromhex("00010001"),
            TrafficSelector(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.1"), 89),
            TrafficSelector(IPv4Address("224.0.0.5"), IPv4Address("224.0.0.5"), 89),
            suite_transforms(Suite.ESP_AES128_SHA256),
            (Attribute(1, (3600).to_bytes(4, "big")),),
        ),
    ),
    GroupWidePolicy(2, 5),
)
KD_EXAMPLE = KdPayload(
    (GroupKeyBag(Protocol.ESP, bytes.fromhex("00010001"), (wrap_key(bytes(32), bytes(48)),), 77),),
    MemberKeyBag((WrappedKey(1, 0, bytes(24)),), b"spki", (4,)),
)


def test_a_gsa_payload_has_the_octets_of_the_rfc() -> None:
    assert GSA_EXAMPLE.body().hex() == (
        "0304004c" "00010001"
        "0759001000" "00ffff0a0000010a000001"
        "0759001000" "00ffffe0000005e0000005"
        "0300000c0100000c800e0080" "030000080300000c" "0000000805000000"
        "0001000400000e10"
        "0000000c" "80010002" "80020005"
    )  # fmt: skip


def test_gsa_and_kd_come_back_as_they_went() -> None:
    assert GsaPayload.parse(GSA_EXAMPLE.body()) == GSA_EXAMPLE
    assert KdPayload.parse(KD_EXAMPLE.body()) == KD_EXAMPLE
    assert GSA_EXAMPLE.policies[0].lifetime_s == 3600


@pytest.mark.parametrize(
    ("key", "wrapped"),
    [
        (
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ],
)
def test_the_key_wrap_gives_the_vectors_of_rfc_5649(key: str, wrapped: str) -> None:
    kwk = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
    assert wrap_key(kwk, bytes.fromhex(key)).octets.hex() == wrapped
    assert unwrap_key(kwk, WrappedKey(0, 0, bytes.fromhex(wrapped))).hex() == key


def test_a_wrapped_key_with_one_bit_changed_is_refused() -> None:
    wrapped = wrap_key(bytes(32), bytes(48))
    changed = WrappedKey(0, 0, bytes((wrapped.octets[0] ^ 1,)) + wrapped.octets[1:])
    with pytest.raises(IntegrityFailure):
        unwrap_key(bytes(32), changed)


@given(st.binary(max_size=400))
def test_no_octets_make_the_gsa_parser_raise_anything_else(data: bytes) -> None:
    try:
        GsaPayload.parse(data)
    except MalformedMessage:
        return


@given(st.binary(max_size=400))
def test_no_octets_make_the_kd_parser_raise_anything_else(data: bytes) -> None:
    try:
        KdPayload.parse(data)
    except MalformedMessage:
        return


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_one_changed_octet_is_parsed_or_refused(position: int, value: int) -> None:
    for parser, body in ((GsaPayload.parse, GSA_EXAMPLE.body()), (KdPayload.parse, KD_EXAMPLE.body())):
        data = bytearray(body)
        data[position % len(data)] = value
        try:
            again = parser(bytes(data))
        except MalformedMessage:
            continue
        assert parser(again.body()) == again


@given(st.data())
def test_every_cut_gsa_or_kd_is_refused(data: st.DataObject) -> None:
    body = GSA_EXAMPLE.policies[0].encode()
    with pytest.raises(MalformedMessage):
        GsaPayload.parse(body[: data.draw(st.integers(0, len(body) - 1))])
    bag = KD_EXAMPLE.bags[0].encode()
    with pytest.raises(MalformedMessage):
        KdPayload.parse(bag[: data.draw(st.integers(1, len(bag) - 1))])


def test_the_same_spi_twice_is_refused() -> None:
    policy = GSA_EXAMPLE.policies[0]
    with pytest.raises(MalformedMessage, match="one protocol and SPI"):
        GsaPayload.parse(GsaPayload((policy, policy)).body())


def test_notifies_come_back_and_strange_ones_are_refused() -> None:
    summary = notifies.PolicySummary(7, 1, bytes(32))
    assert notifies.find_policy_summary([notifies.policy_summary(summary)]) == summary
    assert notifies.find_reconnect_hint([notifies.reconnect_hint(90)]) == 90
    assert notifies.find_group_sender([notifies.group_sender(2)]) == 2
    assert notifies.find_group_sender([]) is None
    group = GroupId("example", "r1", "r1-eth0", "ospf")
    assert notifies.find_rekey_orders([notifies.rekey_order(group)]) == [group]
    with pytest.raises(MalformedMessage):
        notifies.find_reconnect_hint([notifies.reconnect_hint(1), notifies.reconnect_hint(2)])
    with pytest.raises(MalformedMessage):
        notifies.find_group_sender([notifies.group_sender(1000)])
