"""Sealing and opening, fragments, cookies, key wrap: the parts under the state machines."""

from __future__ import annotations

import contextlib
import os
from itertools import permutations

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from hypothesis import given
from hypothesis import strategies as st

from agents.ikev2 import IntegrityFailure, MalformedMessage, UnsupportedAlgorithm
from agents.ikev2.codec.header import Header, parse_header
from agents.ikev2.cookie import CookieJar
from agents.ikev2.fragments import FragmentBudget, Reassembler
from agents.ikev2.protect import (
    Opened,
    Protection,
    encryption_key_length,
    integrity_key_length,
    make_protection,
    open_message,
    seal_fragments,
    seal_message,
    signed_octets,
)
from agents.ikev2.registry import Encr, Integ

KINDS = [
    (Encr.AES_GCM_16, 128, Integ.NONE),
    (Encr.AES_GCM_16, 256, Integ.NONE),
    (Encr.CHACHA20_POLY1305, None, Integ.NONE),
    (Encr.AES_CBC, 128, Integ.HMAC_SHA2_256_128),
    (Encr.AES_CBC, 256, Integ.HMAC_SHA2_512_256),
]
HEADER = Header(b"12345678", b"abcdefgh", 0, 37, 8, 5)


def pair(kind: tuple[Encr, int | None, Integ]) -> tuple[Protection, Protection]:
    encr, bits, integ = kind
    key_e = bytes(range(encryption_key_length(encr, bits)))
    key_a = bytes(range(integrity_key_length(encr, integ)))
    one, other = (make_protection(encr, bits, integ, key_e, key_a, os.urandom) for _ in range(2))
    return one, other


@pytest.mark.parametrize("kind", KINDS)
@given(inner=st.binary(max_size=200), first=st.integers(0, 255))
def test_what_was_sealed_opens_again(kind: tuple[Encr, int | None, Integ], inner: bytes, first: int) -> None:
    one, other = pair(kind)
    data = seal_message(HEADER, first, inner, one)
    opened = open_message(data, parse_header(data), other)
    assert (opened.first, opened.inner, opened.total) == (first, inner, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_any_changed_octet_is_noticed(kind: tuple[Encr, int | None, Integ]) -> None:
    one, other = pair(kind)
    data = seal_message(HEADER, 41, b"payloads in clear", one)
    for place in range(len(data)):
        changed = data[:place] + bytes((data[place] ^ 0x40,)) + data[place + 1 :]
        with pytest.raises((IntegrityFailure, MalformedMessage)):
            open_message(changed, parse_header(changed), other)


@given(st.binary(max_size=150))
def test_random_octets_behind_a_header_never_open(tail: bytes) -> None:
    _, other = pair(KINDS[0])
    for following in (46, 53, 41):
        header = Header(b"12345678", b"abcdefgh", following, 37, 8, 5, 28 + len(tail))
        with pytest.raises((IntegrityFailure, MalformedMessage)):
            open_message(bytes(28) + tail, header, other)


def test_an_iv_is_never_used_twice() -> None:
    one, _ = pair(KINDS[0])
    ivs = {seal_message(HEADER, 0, b"", one)[32:40] for _ in range(1000)}
    assert len(ivs) == 1000


def test_algorithms_that_we_lack_are_refused() -> None:
    for encr, bits in ((Encr.AES_CTR, 128), (Encr.AES_GCM_16, None), (Encr.AES_GCM_16, 100), (3, None)):
        with pytest.raises(UnsupportedAlgorithm):
            encryption_key_length(encr, bits)
    with pytest.raises(UnsupportedAlgorithm):
        integrity_key_length(Encr.AES_CBC, Integ.NONE)
    with pytest.raises(UnsupportedAlgorithm):
        integrity_key_length(Encr.AES_GCM_16, Integ.HMAC_SHA2_256_128)
    with pytest.raises(UnsupportedAlgorithm):
        make_protection(Encr.AES_GCM_16, 128, 0, bytes(16), b"", os.urandom)


def test_signed_octets_leave_out_what_the_cipher_adds() -> None:
    octets = signed_octets(HEADER, 51, b"inner")
    assert octets[:28].endswith((28 + 4 + 5).to_bytes(4, "big"))
    assert octets[16] == 46 and octets[28:] == b"\x33\0\0\x09inner"


@pytest.mark.parametrize("kind", KINDS)
@given(length=st.integers(1, 3000), limit=st.integers(150, 700))
def test_fragments_fit_and_make_the_message_again(
    kind: tuple[Encr, int | None, Integ], length: int, limit: int
) -> None:
    one, other = pair(kind)
    inner = os.urandom(length)
    parts = seal_fragments(HEADER, 51, inner, one, limit)
    assert max(map(len, parts)) <= limit
    store, whole = Reassembler(64), None
    for data in reversed(parts):
        opened = open_message(data, parse_header(data), other)
        assert opened.first == (51 if opened.fragment in (0, 1) else 0)
        whole = store.add(False, 5, opened) if opened.total else opened
    assert whole is not None and (whole.first, whole.inner) == (51, inner)


def fragment(number: int, total: int, text: bytes = b"x") -> Opened:
    return Opened(51 if number == 1 else 0, text, number, total)


def test_fragments_come_in_any_order_and_more_than_once() -> None:
    for order in permutations((1, 2, 3)):
        store = Reassembler(10)
        results = [store.add(False, 1, fragment(n, 3, bytes((n,)))) for n in (order[0], *order)]
        assert [item.inner for item in results if item is not None] == [b"\1\2\3"]


def test_a_larger_total_begins_anew_and_a_smaller_one_is_ignored() -> None:
    store = Reassembler(10)
    assert store.add(False, 1, fragment(1, 2)) is None
    assert store.add(False, 1, fragment(1, 3)) is None
    assert store.add(False, 1, fragment(2, 2)) is None
    assert store.add(False, 1, fragment(2, 3)) is None
    assert store.add(False, 1, fragment(3, 3)) is not None


def test_memory_for_fragments_is_bounded() -> None:
    store = Reassembler(4, max_octets=100, max_messages=2)
    with pytest.raises(MalformedMessage):
        store.add(False, 1, fragment(1, 5))
    store.add(False, 1, fragment(1, 2, bytes(90)))
    with pytest.raises(MalformedMessage):
        store.add(False, 1, fragment(2, 2, bytes(90)))
    for number in range(10):
        store.add(False, number, fragment(1, 2))
    assert len(store._queues) == 2


def test_who_hoards_fragments_loses_them_before_who_sends_all_at_once() -> None:
    budget = FragmentBudget(10_000)
    hoards = [Reassembler(64, budget) for _peer in range(100)]
    for hoard in hoards:
        for number in range(1, 6):
            hoard.add(False, 1, fragment(number, 64, bytes(500)))
            assert budget.octets <= 10_000
    honest = Reassembler(64, budget)
    assert honest.add(False, 1, fragment(1, 3, bytes(1000))) is None
    hoards[0].add(False, 1, fragment(6, 64, bytes(500)))
    assert honest.add(False, 1, fragment(2, 3, bytes(1000))) is None
    assert honest.add(False, 1, fragment(3, 3, bytes(1000))) is not None
    for hoard in hoards:
        hoard.forget_all()
    assert budget.octets == 0


def test_an_authenticated_peer_s_fragments_do_not_depend_on_strangers() -> None:
    budget = FragmentBudget(2_000)
    peer, stranger = Reassembler(64, budget), Reassembler(64, budget)
    assert peer.add(False, 1, fragment(1, 2, bytes(1500)), trusted=True) is None
    for number in range(1, 20):
        stranger.add(False, number, fragment(1, 2, bytes(1500)))
    assert peer.add(False, 1, fragment(2, 2, bytes(1500)), trusted=True) is not None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 4), st.integers(0, 400), st.booleans())))
def test_what_is_counted_is_what_is_kept(steps: list[tuple[int, int, int, int, bool]]) -> None:
    budget = FragmentBudget(3_000)
    peers = [Reassembler(8, budget, max_octets=900, max_messages=3) for _peer in range(4)]
    for peer, message, number, octets, forget in steps:
        with contextlib.suppress(MalformedMessage):
            peers[peer].add(False, message, fragment(number, 4, bytes(octets)))
        if forget:
            peers[peer].forget(False, message)
        kept = [part for each in peers for queue in each._queues.values() for part in queue.parts.values()]
        assert budget.octets == sum(len(part.inner) + 256 for part in kept) <= 3_000
    for each in peers:
        each.forget_all()
    assert budget.octets == 0 and not budget._kept


def test_a_cookie_holds_for_its_address_and_spi_until_the_secret_is_old() -> None:
    jar = CookieJar(os.urandom, rotation_s=100, grace_s=10)
    cookie = jar.make("192.0.2.1|500", b"12345678", 5)
    assert len(cookie) <= 64

    def check(address: str = "192.0.2.1|500", spi: bytes = b"12345678", at: float = 6) -> bool:
        return jar.check(cookie, address, spi, at)

    assert check()
    assert not check(address="192.0.2.2|500") and not check(spi=b"87654321")
    assert not jar.check(b"", "192.0.2.1|500", b"12345678", 6)
    assert check(at=106), "the secret before is taken for a while"
    assert check(at=115)
    assert not check(at=120)


@pytest.mark.parametrize(
    ("clear", "wrapped"),
    [
        (
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ],
)
def test_key_wrap_gives_the_vectors_of_rfc_5649(clear: str, wrapped: str) -> None:
    key = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
    assert aes_key_wrap_with_padding(key, bytes.fromhex(clear)).hex() == wrapped
    assert aes_key_unwrap_with_padding(key, bytes.fromhex(wrapped)).hex() == clear
