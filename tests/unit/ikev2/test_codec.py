"""The wire format: round trips, and parsers that raise one kind of error whatever they are given."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_vector import MSG1, MSG2, MSG3_INNER, MSG4_INNER

from agents.ikev2 import (
    Attribute,
    AuthPayload,
    CertPayload,
    CertRequestPayload,
    DeletePayload,
    Identification,
    IdPayload,
    KePayload,
    MalformedMessage,
    NoncePayload,
    NotifyPayload,
    Payload,
    Proposal,
    RawPayload,
    SaPayload,
    TrafficSelector,
    Transform,
    TsPayload,
    UnsupportedCriticalPayload,
    VendorPayload,
    encode_payloads,
    parse_payloads,
)
from agents.ikev2.codec.header import Header, encode_header, parse_header
from agents.ikev2.codec.payloads import parse_payload
from agents.ikev2.codec.transforms import (
    encode_attributes,
    encode_proposals,
    encode_transforms,
    parse_attributes,
    parse_proposals,
    parse_transforms,
)

octet = st.integers(0, 255)
spi = st.binary(min_size=8, max_size=8)
u16 = st.integers(0, 0xFFFF)
octets = st.binary(max_size=40)
attributes = st.builds(Attribute, st.integers(0, 0x7FFF), st.one_of(u16, octets))
transforms = st.builds(Transform, octet, u16, st.lists(attributes, max_size=3).map(tuple))
proposals = st.builds(Proposal, octet, octet, st.binary(max_size=16), st.lists(transforms, max_size=5).map(tuple))
identifications = st.builds(Identification, octet, octets)
selectors = st.one_of(
    *(
        st.builds(TrafficSelector, address, address, octet, u16, u16)
        for address in (
            st.integers(0, 2**32 - 1).map(IPv4Address),
            st.integers(0, 2**128 - 1).map(IPv6Address),
        )
    )
)
spis = st.integers(1, 16).flatmap(lambda n: st.lists(st.binary(min_size=n, max_size=n), max_size=4).map(tuple))
payloads: st.SearchStrategy[Payload] = st.one_of(
    st.builds(SaPayload, st.lists(proposals, min_size=1, max_size=4).map(tuple)),
    st.builds(KePayload, u16, st.binary(min_size=1, max_size=40)),
    st.builds(IdPayload, st.sampled_from([35, 36, 50]), identifications, st.binary(min_size=3, max_size=3)),
    st.builds(CertPayload, octet, st.binary(min_size=1, max_size=40)),
    st.builds(CertRequestPayload, octet, octets),
    st.builds(AuthPayload, octet, octets),
    st.builds(NoncePayload, st.binary(min_size=16, max_size=256)),
    st.builds(NotifyPayload, u16, octets, octet, st.binary(max_size=16)),
    st.builds(DeletePayload, octet, spis),
    st.builds(VendorPayload, octets),
    st.builds(TsPayload, st.sampled_from([44, 45]), st.lists(selectors, min_size=1, max_size=4).map(tuple)),
    st.builds(RawPayload, st.sampled_from([47, 48, 51, 52, 54, 99]), octets),
)
VALID = [(MSG1[16], MSG1[28:]), (MSG2[16], MSG2[28:]), (35, MSG3_INNER), (36, MSG4_INNER)]


@given(st.lists(payloads, max_size=8))
def test_every_chain_of_payloads_survives_a_round_trip(chain: list[Payload]) -> None:
    first, data = encode_payloads(chain)
    assert parse_payloads(first, data) == chain


@given(
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=8, max_size=8),
    octet,
    octet,
    octet,
    st.integers(0, 2**32 - 1),
    octets,
)
def test_every_header_survives_a_round_trip(
    spi_i: bytes, spi_r: bytes, following: int, exchange: int, flags: int, number: int, body: bytes
) -> None:
    if spi_i == bytes(8):
        spi_i = b"\1" * 8
    header = Header(spi_i, spi_r, following, exchange, flags, number, 28 + len(body))
    assert parse_header(encode_header(header) + body) == header


@given(st.lists(proposals, min_size=1, max_size=5).map(tuple))
def test_proposals_transforms_and_attributes_survive_a_round_trip(items: tuple[Proposal, ...]) -> None:
    assert parse_proposals(encode_proposals(items)) == items
    for item in items:
        if item.transforms:
            data = encode_transforms(item.transforms)
            assert parse_transforms(data + b"attributes", 0) == (item.transforms, len(data))
        for transform in item.transforms:
            assert parse_attributes(encode_attributes(transform.attributes)) == transform.attributes


@pytest.mark.parametrize(("first", "data"), VALID)
def test_recorded_messages_encode_to_themselves(first: int, data: bytes) -> None:
    assert encode_payloads(parse_payloads(first, data)) == (first, data)


@settings(max_examples=600)
@given(octet, st.binary(max_size=200))
def test_random_octets_are_a_chain_or_malformed(first: int, data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        parse_payloads(first, data)


@settings(max_examples=300)
@given(st.sampled_from([*range(33, 55)]), st.binary(max_size=120))
def test_random_bodies_are_payloads_or_malformed(kind: int, body: bytes) -> None:
    try:
        payload = parse_payload(kind, body)
    except MalformedMessage:
        return
    assert parse_payload(kind, payload.body()) == payload


@settings(max_examples=800)
@given(st.sampled_from(VALID), st.data())
def test_recorded_messages_with_changes_are_a_chain_or_malformed(valid: tuple[int, bytes], data: st.DataObject) -> None:
    first, octets = valid
    changed = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        match data.draw(st.sampled_from("scix")):
            case "s":
                changed[place] = data.draw(octet)
            case "c":
                del changed[place : place + data.draw(st.integers(1, 8))]
            case "i":
                changed[place:place] = data.draw(st.binary(min_size=1, max_size=6))
            case _:
                changed[place] ^= 1 << data.draw(st.integers(0, 7))
        if not changed:
            break
    with contextlib.suppress(MalformedMessage):
        parse_payloads(first, bytes(changed))


@given(st.binary(max_size=60))
def test_random_octets_are_no_header_or_one(data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        parse_header(data)


def test_an_unknown_payload_is_skipped_unless_it_is_critical() -> None:
    assert parse_payloads(200, b"\0\0\0\5x") == [RawPayload(200, b"x")]
    with pytest.raises(UnsupportedCriticalPayload) as caught:
        parse_payloads(200, b"\0\x80\0\5x")
    assert caught.value.payload_type == 200
    assert parse_payloads(43, b"\0\x80\0\5x") == [VendorPayload(b"x")], "a known one may have the bit set"


def test_counts_are_bounded() -> None:
    with pytest.raises(MalformedMessage):
        parse_payloads(43, b"\x2b\0\0\4" * 64 + b"\0\0\0\4")
    many = tuple(Transform(1, number) for number in range(129))
    with pytest.raises(MalformedMessage):
        parse_transforms(encode_transforms(many))
    with pytest.raises(MalformedMessage):
        parse_proposals(encode_proposals(tuple(Proposal(1, 1, b"", ()) for _ in range(65))))
    with pytest.raises(MalformedMessage):
        parse_attributes(encode_attributes([Attribute(1, 1)] * 65))


@pytest.mark.parametrize("length", [0, 15, 257])
def test_nonces_have_16_to_256_octets(length: int) -> None:
    with pytest.raises(MalformedMessage):
        parse_payload(40, bytes(length))
