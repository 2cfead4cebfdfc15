"""ML-KEM-768 beside X25519 as a setting: who takes what from whom, and what a change does to SAs that stand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from simnet import Net, Node, answer_all

from agents.ikev2 import (
    Closed,
    CloseReason,
    Dropped,
    Established,
    IkeConfig,
    Request,
    ResponseReceived,
    SaPayload,
    UnsupportedAlgorithm,
    encode_payloads,
    key_exchange,
    parse_payloads,
    party,
)
from agents.ikev2 import config as suites
from agents.ikev2.codec.header import encode_header, parse_header
from agents.ikev2.config import PostQuantum, has_additional, offers, shortfall
from agents.ikev2.registry import ExchangeType
from agents.ikev2.suites import ike_suite

REQUIRED, PREFERRED, OFF = PostQuantum.REQUIRED, PostQuantum.PREFERRED, PostQuantum.OFF
HYBRID, CLASSICAL = "x25519+mlkem768", "x25519"


def two(ours: PostQuantum, theirs: PostQuantum, *, lifetime_s: float = 0.0, seed: int = 1) -> tuple[Net, Node, Node]:
    net = Net(seed=seed)
    a, b = (
        net.add(name, IkeConfig(offers=offers(asked), ike_lifetime_s=lifetime_s))
        for name, asked in zip("ab", (ours, theirs), strict=True)
    )
    answer_all(b)
    a.connect(b)
    net.run(10, until=lambda: bool(a.all(Established)) and bool(b.all(Established)))
    return net, a, b


def change(node: Node, asked: PostQuantum) -> None:
    node.do("offer", offers(asked))


def talks(net: Net, a: Node, b: Node) -> bool:
    before = len(a.all(ResponseReceived))
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request())
    net.run(5, until=lambda: len(a.all(ResponseReceived)) > before)
    return len(a.all(ResponseReceived)) > before and a.sa.derive(b"x", 32) == b.sa.derive(b"x", 32)


@pytest.mark.parametrize(("ours", "theirs"), list(product(PostQuantum, repeat=2)))
def test_two_settings_meet_in_the_best_that_both_allow_or_not_at_all(ours: PostQuantum, theirs: PostQuantum) -> None:
    net, a, b = two(ours, theirs)
    if {ours, theirs} == {REQUIRED, OFF}:
        net.run(120)
        assert not a.all(Established) and not b.all(Established)
        assert a.last(Closed).reason is CloseReason.NO_PROPOSAL_CHOSEN
        reasons = {each.reason for each in b.all(Dropped)}
        wanted = " with the post-quantum key exchange that is required" if theirs is REQUIRED else " of ours"
        assert reasons == {f"IKE_SA_INIT request has no proposal{wanted}"}
    else:
        assert a.sa.key_exchange == b.sa.key_exchange == (CLASSICAL if OFF in (ours, theirs) else HYBRID)
        assert a.sa.kwa is not None and talks(net, a, b)


def test_an_sa_without_gets_one_when_both_want_it_whoever_learns_it_first() -> None:
    for first in (0, 1):
        net, a, b = two(OFF, OFF)
        order = (a, b) if first == 0 else (b, a)
        change(order[0], PREFERRED)
        net.run(20)
        assert a.sa.key_exchange == CLASSICAL and talks(net, a, b)
        change(order[1], PREFERRED)
        net.run(20, until=lambda: a.sa.key_exchange == b.sa.key_exchange == HYBRID)  # noqa: B023
        assert a.sa.key_exchange == b.sa.key_exchange == HYBRID and talks(net, a, b)
        assert not a.all(Closed) and not b.all(Closed)


@pytest.mark.parametrize("seed", range(4))
def test_both_may_learn_it_at_once_and_with_losses(seed: int) -> None:
    net, a, b = two(OFF, OFF, seed=seed)
    net.loss = 0.1
    change(a, PREFERRED)
    change(b, PREFERRED)
    net.run(60)
    assert a.sa.key_exchange == b.sa.key_exchange == HYBRID and not a.all(Closed)


def test_where_it_is_required_an_sa_whose_peer_refuses_it_is_closed() -> None:
    for ours, theirs in ((REQUIRED, OFF), (OFF, REQUIRED)):
        net, a, b = two(OFF, OFF)
        change(a, ours)
        change(b, theirs)
        net.run(60)
        assert not a.endpoint.sas() and not b.endpoint.sas()
        one = a if ours is REQUIRED else b
        assert one.last(Closed).reason is CloseReason.NO_PROPOSAL_CHOSEN


def test_from_preferred_to_required_nothing_is_closed_and_rekeys_keep_it() -> None:
    net, a, b = two(PREFERRED, PREFERRED, lifetime_s=60)
    change(a, REQUIRED)
    net.run(200)
    assert a.sa.key_exchange == HYBRID and talks(net, a, b)
    change(b, REQUIRED)
    net.run(200)
    assert a.sa.key_exchange == HYBRID and talks(net, a, b)
    assert not a.all(Closed) and len(a.all(Established)) == 1


def test_a_handshake_that_began_before_it_was_required_does_not_end_without() -> None:
    net = Net()
    a, b = (net.add(name, IkeConfig(offers=offers(PREFERRED if name == "b" else OFF))) for name in "ab")
    a.connect(b)
    change(a, REQUIRED)  # the request is on its way
    net.run(20)
    assert a.sa.key_exchange == b.sa.key_exchange == HYBRID


def test_nobody_on_the_way_can_talk_two_parties_out_of_it() -> None:
    net = Net()
    a, b = (net.add(name, IkeConfig(offers=offers(PREFERRED))) for name in "ab")
    net.loss = 1.0
    a.connect(b)
    net.loss = 0.0
    net.inject(b, without_ml_kem(net.wire[-1].data), source=a.ip)
    net.run(0.5)
    assert b.last(Closed).reason is CloseReason.AUTHENTICATION_FAILED  # a signed what it had sent
    net.run(60)  # the genuine request is repeated
    assert a.sa.key_exchange == b.sa.key_exchange == HYBRID


def without_ml_kem(request: bytes) -> bytes:
    """The IKE_SA_INIT request with none but its last proposals."""
    header = parse_header(request)
    payloads = parse_payloads(header.next_payload, request, 28)
    sa = next(each for each in payloads if isinstance(each, SaPayload))
    left = SaPayload(tuple(each for each in sa.proposals if not has_additional(each.transforms)))
    first, body = encode_payloads([left if each is sa else each for each in payloads])
    return encode_header(replace(header, next_payload=first), 28 + len(body)) + body


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `cryptography` that is too old."""
    monkeypatch.setattr(key_exchange, "has_ml_kem", lambda: False)


@pytest.mark.usefixtures("without")
def test_a_machine_without_ml_kem_falls_back_where_it_is_preferred_and_says_why() -> None:
    assert offers(PREFERRED) == offers(OFF) == (suites.WITH_KWA, suites.PLAIN)
    assert "no ML-KEM-768" in (shortfall(PREFERRED) or "") and "made without" in (shortfall(PREFERRED) or "")
    assert shortfall(OFF) is None
    with pytest.raises(UnsupportedAlgorithm, match=r"required, and .* has no ML-KEM-768: it takes one built"):
        offers(REQUIRED)


def test_a_machine_without_ml_kem_and_one_that_prefers_it_meet_without(monkeypatch: pytest.MonkeyPatch) -> None:
    preferred = offers(PREFERRED)
    monkeypatch.setattr(key_exchange, "has_ml_kem", lambda: False)
    net = Net()
    a, old = net.add("a", IkeConfig(offers=offers(PREFERRED))), net.add("old", IkeConfig(offers=offers(PREFERRED)))
    monkeypatch.undo()
    a.do("offer", preferred)
    old.connect(a)
    net.run(5)
    assert a.sa.key_exchange == old.sa.key_exchange == CLASSICAL


@pytest.mark.usefixtures("without")
def test_what_cannot_be_done_is_no_offer() -> None:
    net = Net()
    a = net.add("a")
    before = a.endpoint._party.offers
    ike_suite.cache_clear()
    party._check_offer.cache_clear()
    with pytest.raises(UnsupportedAlgorithm):
        a.do("offer", ((*suites.WITH_KWA, suites.ADD_ML_KEM_768),))
    assert a.endpoint._party.offers == before


def test_a_peer_has_a_minute_more_for_the_second_key_exchange_and_then_its_place_is_free() -> None:
    net = Net()
    a, b = (net.add(name, IkeConfig(offers=offers(PREFERRED))) for name in "ab")
    a.connect(b)
    net.run(5, until=lambda: any(each.data[18] == ExchangeType.IKE_INTERMEDIATE for each in net.wire))
    net.run(0.011)  # it is there, and AUTH never comes
    net.loss = 1.0
    net.run(55)
    assert b.endpoint.half_open == 1
    net.run(60)
    assert not b.endpoint.sas() and b.last(Closed).reason is CloseReason.HALF_OPEN_TIMEOUT
    net.run(60)
    assert b.endpoint.half_open == 0
