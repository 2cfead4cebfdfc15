"""The XFRM codec: what is encoded is decoded as an equal object, and nothing else is trusted."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ipsec import messages
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
from agents.runtime.netlink import attributes

NAMES = {1: "lo", 2: "eth0", 77: "r1-eth12345678"}
INDEXES = {name: index for index, name in NAMES.items()}
U8, U16 = st.integers(0, 0xFF), st.integers(0, 0xFFFF)
U32, U64 = st.integers(0, 0xFFFFFFFF), st.integers(0, 2**64 - 1)


def networks(version: int) -> st.SearchStrategy:
    width = 32 if version == 4 else 128
    address = IPv4Address if version == 4 else IPv6Address
    return st.builds(
        lambda number, length: ip_network((address(number), length), strict=False),
        st.integers(0, 2**width - 1),
        st.integers(0, width),
    )


def selectors(version: int) -> st.SearchStrategy[Selector]:
    return st.builds(
        Selector, networks(version), networks(version), U8,
        st.sampled_from([None, *INDEXES]), st.tuples(U16, U16), st.tuples(U16, U16),
    )  # fmt: skip


MARKS = st.none() | st.builds(Mark, U32, U32)
LIFETIMES = st.builds(Lifetime, *[U64] * 8)
NAME = st.text("abcdefghijklmnopqrstuvwxyz0123456789(),", min_size=1, max_size=63)
CIPHERS = st.builds(Algorithm, NAME, st.binary(max_size=64))
TAGGED = st.builds(Algorithm, NAME, st.binary(max_size=64), st.integers(0, 512))


@st.composite
def associations(draw: st.DrawFn) -> SecurityAssociation:
    version = draw(st.sampled_from([4, 6]))
    addresses = st.ip_addresses(v=version)
    aead = draw(st.none() | TAGGED)
    return SecurityAssociation(
        source=draw(addresses),
        destination=draw(addresses),
        spi=draw(st.integers(1, 0xFFFFFFFF)),
        protocol=draw(st.sampled_from(IpsecProtocol)),
        mode=draw(st.sampled_from(EncapsulationMode)),
        reqid=draw(U32),
        aead=aead,
        encryption=None if aead else draw(CIPHERS),
        integrity=None if aead else draw(TAGGED),
        selector=draw(st.none() | selectors(version)),
        replay_window=draw(st.integers(0, 4096)),
        esn=draw(st.booleans()),
        sequence=draw(U32),
        direction=draw(st.none() | st.sampled_from(SaDirection)),
        mark=draw(MARKS),
        if_id=draw(st.none() | U32),
        lifetime=draw(LIFETIMES),
        flags=draw(st.integers(0, 0x7F)),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    version = draw(st.sampled_from([4, 6]))
    some = st.none() | st.ip_addresses(v=version).filter(lambda address: int(address) != 0)
    templates = st.lists(
        st.builds(
            Template, st.sampled_from(IpsecProtocol), st.sampled_from(EncapsulationMode),
            U32, U32, st.booleans(), some, some,
        ),
        max_size=6,
    )  # fmt: skip
    return Policy(
        draw(selectors(version)), draw(st.sampled_from(Direction)), draw(U32),
        draw(st.sampled_from(Action)), tuple(draw(templates)), draw(MARKS),
        draw(st.none() | U32), draw(LIFETIMES), draw(U8),
    )  # fmt: skip


@given(associations())
def test_an_sa_survives_the_round_trip(sa: SecurityAssociation) -> None:
    decoded = messages.decode_sa(messages.encode_sa(sa, INDEXES.__getitem__), NAMES.__getitem__)
    assert decoded == sa
    assert decoded.sequence == sa.sequence
    assert decoded.direction == sa.direction


@given(policies())
def test_a_policy_survives_the_round_trip(policy: Policy) -> None:
    encoded = messages.encode_policy(policy, INDEXES.__getitem__)
    assert messages.decode_policy(encoded, NAMES.__getitem__) == policy


@given(st.binary(max_size=200))
def test_a_malformed_run_of_attributes_is_a_value_error_or_is_read(data: bytes) -> None:
    try:
        list(attributes(data))
    except ValueError:
        return


def test_the_structures_have_the_sizes_of_the_kernels_headers() -> None:
    sa = SecurityAssociation(ip_address("10.0.0.1"), ip_address("10.0.0.2"), 0x100)
    policy = Policy(Selector(ip_network("::/0"), ip_network("::/0")), Direction.IN, 1)
    index_of = INDEXES.__getitem__
    assert len(messages.encode_sa(sa, index_of)) == 224
    assert len(messages.encode_policy(policy, index_of)) == 168
    assert len(messages.encode_policy_id(policy, index_of)) == 64
    assert len(messages.encode_sa_id(sa.destination, 1, 50)) == 24


def test_a_selector_that_matches_all_is_the_same_as_none() -> None:
    everything = Selector(ip_network("0.0.0.0/0"), ip_network("0.0.0.0/0"))
    sa = SecurityAssociation(ip_address("10.0.0.1"), ip_address("10.0.0.2"), 0x100, selector=everything)
    assert sa.selector is None


def test_an_inbound_floor_marks_all_that_is_below_it_as_received() -> None:
    sa = SecurityAssociation(
        ip_address("10.0.0.1"), ip_address("224.0.0.5"), 0x100, replay_window=32,
        sequence=500, direction=SaDirection.IN,
    )  # fmt: skip
    found = dict(attributes(messages.encode_sa(sa, INDEXES.__getitem__)[224:]))
    replay = found[messages.Attribute.REPLAY_VAL]
    assert [int.from_bytes(replay[at : at + 4], "little") for at in (0, 4, 8)] == [0, 500, 0xFFFFFFFF]


def test_keys_are_not_shown() -> None:
    algorithm = Algorithm("cbc(aes)", b"secret-secret-16")
    sa = SecurityAssociation(ip_address("10.0.0.1"), ip_address("10.0.0.2"), 0x100, encryption=algorithm)
    assert "secret" not in repr(sa) + str(sa) + repr(algorithm)


def test_a_name_too_long_for_the_kernel_is_refused() -> None:
    sa = SecurityAssociation(ip_address("10.0.0.1"), ip_address("10.0.0.2"), 0x100, encryption=Algorithm("x" * 64, b""))
    with pytest.raises(ValueError, match="longer"):
        messages.encode_sa(sa, INDEXES.__getitem__)
