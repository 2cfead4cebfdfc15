"""IKE_SA_INIT and the AUTH exchange between two of our endpoints."""

from __future__ import annotations

import pytest
from simnet import Net, Node, answer_all, p256_key, p384_key, pair

from agents.ikev2 import (
    AuthRequest,
    CertPayload,
    CertRequestPayload,
    Closed,
    CloseReason,
    Dropped,
    Established,
    IkeConfig,
    MessageSeen,
    NotifyPayload,
    PeerKey,
    RawPayload,
    Retransmission,
)
from agents.ikev2 import config as suites
from agents.ikev2.model import Datagram, PeerAddress
from agents.ikev2.party import MOST_AGREED
from agents.ikev2.registry import CertEncoding, ExchangeType, Kwa, NotifyType

G = ExchangeType.GSA_AUTH


def both_up(a: Node, b: Node) -> bool:
    return bool(a.all(Established)) and bool(b.all(Established))


def test_two_parties_establish_an_ike_sa_without_a_child_sa() -> None:
    net, a, b = pair()
    handle = a.connect(b)
    net.run(5)
    assert both_up(a, b) and a.sa is handle
    assert a.last(Established).initiator and not b.last(Established).initiator
    assert str(b.last(Established).peer_id) == "a"
    assert a.sa.derive(b"x", 40) == b.sa.derive(b"x", 40)
    assert len(net.wire) == 4


@pytest.mark.parametrize("data", [b"\x30\x80", bytes(40), b"\x30\x03\x02\x01\x02"])
def test_a_certificate_neither_helps_nor_hinders_a_peer_with_a_pinned_key(data: bytes) -> None:
    net, a, b = pair(auth=G)
    answer_all(b)
    said = [CertPayload(CertEncoding.X509_SIGNATURE, data)] * 3
    a.connect(b, first=[*said, CertRequestPayload(CertEncoding.X509_SIGNATURE, data)])
    net.run(5)
    assert both_up(a, b)
    assert b.last(AuthRequest).payloads == ()  # nothing of it reaches the layer above
    net.keys[b.last(AuthRequest).peer_id] = PeerKey(p256_key(99).public_key())
    again = a.connect(b, first=said)
    net.run(5)
    assert a.last(Closed).sa is again and a.last(Closed).reason is CloseReason.AUTHENTICATION_FAILED


@pytest.mark.parametrize(
    "offer",
    [
        (suites.AES_GCM_128, suites.PRF_SHA2_256, suites.CURVE25519),
        (suites.AES_GCM_256, suites.PRF_SHA2_384, suites.SECP384R1),
        (suites.CHACHA20_POLY1305, suites.PRF_SHA2_512, suites.SECP256R1),
        (suites.AES_CBC_128, suites.HMAC_SHA2_256_128, suites.PRF_SHA2_256, suites.CURVE25519),
        (suites.AES_CBC_256, suites.HMAC_SHA2_384_192, suites.PRF_SHA2_384, suites.CURVE25519),
        (suites.AES_CBC_256, suites.HMAC_SHA2_512_256, suites.PRF_SHA2_512, suites.SECP384R1),
        (suites.AES_GCM_256, suites.PRF_SHA2_256, suites.CURVE25519, suites.ADD_ML_KEM_768),
    ],
)
def test_every_suite_works(offer: suites.Offer) -> None:
    net, a, b = pair(IkeConfig(offers=(offer,)))
    a.connect(b)
    net.run(5)
    assert both_up(a, b)
    a.do("check_liveness", a.sa)
    net.run(5)
    assert not a.all(Closed)


@pytest.mark.parametrize(("ours", "theirs"), [(p256_key(5), p384_key(6)), (p384_key(7), p256_key(8))])
def test_ecdsa_keys_authenticate(ours: object, theirs: object) -> None:
    net = Net()
    a, b = net.add("a", key=ours), net.add("b", key=theirs)
    a.connect(b)
    net.run(5)
    assert both_up(a, b)


def test_gsa_auth_asks_the_layer_above_and_carries_its_payloads_both_ways() -> None:
    net, a, b = pair(auth=G)
    a.connect(b, first=[RawPayload(50, b"\x0b\0\0\0group")])
    net.run(0.5)
    asked = b.last(AuthRequest)
    assert [item.body() for item in asked.payloads] == [b"\x0b\0\0\0group"]
    assert not b.all(Established) and not a.all(Established)
    b.do("respond", asked.token, [RawPayload(51, b"policy"), RawPayload(52, b"keys")])
    net.run(0.5)
    assert both_up(a, b)
    assert [item.body() for item in a.last(Established).payloads] == [b"policy", b"keys"]
    assert a.sa.kwa == Kwa.KW_5649_256
    assert a.sa.key_wrap_key() == b.sa.key_wrap_key() and len(a.sa.key_wrap_key()) == 32


def test_a_repeated_auth_request_is_answered_once_decided_and_asked_only_once() -> None:
    net, a, b = pair(IkeConfig(retransmission=Retransmission(first_s=1.0)), auth=G)
    a.connect(b)
    net.run(8)
    assert len(b.all(AuthRequest)) == 1
    assert sum(wire.retransmission for wire in net.wire if wire.source == a.ip) >= 2
    b.do("respond", b.last(AuthRequest).token, [])
    net.run(1)
    assert both_up(a, b)


def test_a_peer_without_key_wrap_takes_the_second_proposal() -> None:
    net = Net()
    a = net.add("a")
    b = net.add("b", IkeConfig(offers=(suites.PLAIN,)))
    a.connect(b)
    net.run(5)
    assert both_up(a, b) and a.sa.kwa is None


def test_no_common_suite_ends_with_no_proposal_chosen_and_no_state() -> None:
    net = Net()
    a = net.add("a", IkeConfig(offers=((suites.AES_GCM_128, suites.PRF_SHA2_256, suites.CURVE25519),)))
    b = net.add("b", IkeConfig(offers=((suites.AES_GCM_256, suites.PRF_SHA2_256, suites.CURVE25519),)))
    a.connect(b)
    net.run(120)  # anybody can say so: the attempt has its whole time
    assert a.last(Closed).reason is CloseReason.NO_PROPOSAL_CHOSEN
    assert b.endpoint.half_open == 0 and not b.all(Established)


def test_another_group_is_taken_when_the_peer_wants_it() -> None:
    net = Net()
    a = net.add("a")
    b = net.add("b", IkeConfig(offers=((suites.AES_GCM_256, suites.PRF_SHA2_256, suites.SECP256R1),)))
    a.connect(b)
    net.run(5)
    assert both_up(a, b)
    assert len([w for w in net.wire if w.data[18] == ExchangeType.IKE_SA_INIT]) == 4


def test_cookies_are_asked_under_load_and_no_state_is_kept_before_they_come_back() -> None:
    net = Net()
    a = net.add("a")
    b = net.add("b", IkeConfig(cookie_threshold=0))
    a.connect(b)
    net.run(0.015, until=lambda: bool(b.all(MessageSeen)))
    assert b.endpoint.half_open == 0
    net.run(5)
    assert both_up(a, b)
    first, reply, second = net.wire[:3]
    assert NotifyType.COOKIE.to_bytes(2, "big") in reply.data and reply.data[8:16] == bytes(8)
    assert second.data[16] == 41 and first.data[28:] in second.data, "cookie first, all else unchanged"


def test_a_cookie_and_another_group_together() -> None:
    net = Net()
    a = net.add("a")
    offer = ((suites.AES_GCM_256, suites.PRF_SHA2_256, suites.SECP256R1),)
    b = net.add("b", IkeConfig(cookie_threshold=0, offers=offer))
    a.connect(b)
    net.run(5)
    assert both_up(a, b)


def test_a_key_that_is_not_the_one_on_record_is_refused() -> None:
    net, a, b = pair()
    net.keys[a.endpoint._party.identity.id] = PeerKey(p256_key(99).public_key())
    a.connect(b)
    net.run(5)
    assert a.last(Closed).reason is CloseReason.AUTHENTICATION_FAILED
    assert b.last(Closed).reason is CloseReason.AUTHENTICATION_FAILED
    assert b.endpoint.half_open == 1, "it takes memory until its answer need not be repeated"
    net.run(100)
    assert b.endpoint.half_open == 0 and not b.endpoint._party.by_spi


def test_an_unknown_peer_is_refused() -> None:
    net, a, b = pair()
    del net.keys[a.endpoint._party.identity.id]
    a.connect(b)
    net.run(5)
    assert not b.all(Established)
    assert a.last(Closed).reason is CloseReason.AUTHENTICATION_FAILED


def test_a_responder_that_is_someone_else_is_refused_and_told() -> None:
    net, a, b = pair()
    net.keys[b.endpoint._party.identity.id] = PeerKey(p256_key(99).public_key())
    a.connect(b)
    net.run(5)
    assert a.last(Closed).reason is CloseReason.AUTHENTICATION_FAILED
    assert not a.all(Established)
    assert b.last(Closed).reason is CloseReason.AUTHENTICATION_FAILED
    assert not b.endpoint.sas()


def test_gsa_auth_is_not_taken_where_ike_auth_is_expected() -> None:
    net = Net()
    a, b = net.add("a", auth_exchange=G), net.add("b")
    a.connect(b)
    net.run(200)
    assert not b.all(Established)
    assert a.last(Closed).reason is CloseReason.TIMEOUT


def test_silence_ends_in_a_timeout_after_all_tries() -> None:
    net, a, b = pair(
        IkeConfig(retransmission=Retransmission(first_s=1.0, factor=2.0, cap_s=5.0, tries=4, handshake_s=0))
    )
    net.filter = lambda wire: False
    a.connect(b)
    net.run(200)
    times = [wire.at - net.wire[0].at for wire in net.wire]
    assert times == [0, 1, 3, 7, 12]
    assert len({wire.data for wire in net.wire}) == 1, "bit for bit the same"
    assert a.last(Closed).reason is CloseReason.TIMEOUT
    assert net.now >= 1017


def test_a_poke_retransmits_at_once() -> None:
    net, a, b = pair(IkeConfig(retransmission=Retransmission(first_s=50.0)))
    net.filter = lambda wire: len(net.wire) > 1
    handle = a.connect(b)
    net.run(1)
    a.do("poke", handle)
    net.run(1)
    assert both_up(a, b) and net.wire[1].retransmission


@pytest.mark.parametrize("seed", range(12))
def test_handshakes_survive_loss_and_repeats(seed: int) -> None:
    timing = Retransmission(first_s=0.5, factor=1.5, cap_s=4, tries=20)
    net, a, b = pair(IkeConfig(retransmission=timing), auth=G, seed=seed, loss=0.3, repeat=0.3)
    answer_all(b)
    a.connect(b)
    net.run(200, until=lambda: both_up(a, b))
    assert both_up(a, b)
    assert len(b.all(Established)) == 1
    requests = [w.data for w in net.wire if w.source == a.ip]
    assert len(set(requests)) == 2, "two different requests, however often they were sent"


def test_a_repeated_init_request_brings_the_same_answer_and_no_second_sa() -> None:
    net, a, b = pair()
    a.connect(b)
    net.run(0.03, until=lambda: b.endpoint.half_open == 1)
    first = net.wire[0].data
    for _ in range(3):
        net.inject(b, first, a.ip)
    replies = {w.data for w in net.wire if w.source == b.ip}
    assert b.endpoint.half_open == 1 and len(replies) == 1


def test_half_open_sas_are_bounded_per_address_and_overall() -> None:
    config = IkeConfig(
        max_half_open_per_address=3, max_half_open=5, cookie_threshold=100, cookie_threshold_per_address=100
    )
    net = Net()
    b = net.add("b", config)
    others = [net.add(f"x{i}") for i in range(4)]
    net.filter = lambda wire: wire.destination == b.ip
    for other in others:
        for _ in range(4):
            other.connect(b)
    net.run(0.1)
    assert b.endpoint.half_open == 5
    assert max(len(held) for share, held in b.endpoint._party._half_open.items() if share[0] == "address") <= 3
    net.run(40)
    assert b.endpoint.half_open <= 5
    net.run(300)
    assert b.endpoint.half_open == 0
    assert not b.endpoint._party.by_spi and not b.endpoint._party.by_init


def test_programs_without_privileges_do_not_use_up_the_share_of_a_routers_own_ike() -> None:
    config = IkeConfig(
        max_half_open_per_address=3, max_half_open=48, cookie_threshold=100, cookie_threshold_per_address=100
    )
    net = Net()
    a, b = net.add("a"), net.add("b", config)
    a.connect(b)
    first = net.wire[0].data
    net.wire.clear()
    for number in range(1, 20):
        peer = PeerAddress(a.ip, 30_000 + number, b.ip, "", 500)
        b.endpoint.receive(Datagram(number.to_bytes(8, "big") + first[8:], peer), net.now)
    assert b.endpoint.half_open == 3
    b.endpoint.receive(Datagram(first, PeerAddress(a.ip, 500, b.ip, "", 500)), net.now)
    assert b.endpoint.half_open == 4, "the router itself speaks from a privileged port"


@pytest.mark.parametrize(
    ("sources", "most"),
    [
        ("2001:db8:0:1::{:x}", 10),
        ("2001:db8:0:{:x}::1", 100),
        ("198.51.100.{}", 100),
        ("fe80::{:x}", 100),  # neighbours: each is one of its own
    ],
)
def test_whoever_has_a_prefix_has_a_share_of_the_half_open_sas_and_no_more(sources: str, most: int) -> None:
    config = IkeConfig(
        max_half_open=160, max_half_open_per_address=5, cookie_threshold=1000, cookie_threshold_per_address=1000
    )
    net = Net()
    a, b = net.add("a"), net.add("b", config)
    a.connect(b)
    first = net.wire[0].data
    for number in range(1, 101):
        net.inject(b, number.to_bytes(8, "big") + first[8:], sources.format(number))
    assert b.endpoint.half_open == most
    net.inject(b, bytes(7) + b"\xff" + first[8:], "2001:db8:ffff::1")
    assert b.endpoint.half_open == most + 1, "others find a place all the same"
    net.run(300)
    assert b.endpoint.half_open == 0 and not b.endpoint._party._half_open


def test_datagrams_from_afar_are_dropped() -> None:
    net = Net()
    a = net.add("a")
    b = net.add("b", IkeConfig(hop_limit=255))
    a.connect(b)
    data = net.wire[0].data
    net.inject(b, data, hop_limit=254)
    assert b.endpoint.half_open == 0 and b.last(Dropped).reason == "hop limit"
    c = net.add("c", IkeConfig(admit=lambda peer: peer.ip != "192.0.2.99"))
    net.inject(c, data)
    assert c.endpoint.half_open == 0


def test_both_sides_may_begin_at_once_and_get_two_sas() -> None:
    net, a, b = pair()
    a.connect(b)
    b.connect(a)
    net.run(5)
    assert len(a.all(Established)) == len(b.all(Established)) == 2
    assert not a.all(Closed) and not b.all(Closed)


def test_initial_contact_of_a_rebooted_peer_drops_the_old_sas_only() -> None:
    net, a, b = pair()
    a.connect(b)
    b.connect(a)
    net.run(5)
    again = net.replace(a)
    b.events.clear()
    again.connect(b)
    net.run(5)
    assert b.last(Established).initial_contact
    assert [c.reason for c in b.all(Closed)] == [CloseReason.INITIAL_CONTACT] * 2
    assert len(b.endpoint.sas()) == 1
    again.connect(b)
    net.run(5)
    assert not b.last(Established).initial_contact, "it has another SA with b"
    assert len(b.endpoint.sas()) == 2


def test_refusals_of_the_layer_above_reach_the_initiator() -> None:
    net, a, b = pair(auth=G)
    answer_all(b, NotifyPayload(NotifyType.INVALID_GROUP_ID))
    a.connect(b)
    net.run(5)
    payload = a.last(Established).payloads[0]
    assert isinstance(payload, NotifyPayload) and payload.type == NotifyType.INVALID_GROUP_ID


def test_a_peer_can_not_pile_up_sas() -> None:
    net = Net()
    a, b = net.add("a"), net.add("b", IkeConfig(max_sas_per_peer=3))
    for _ in range(5):
        a.connect(b)
        net.run(3)
    assert len(b.endpoint.sas()) == 3 and len(a.endpoint.sas()) == 3
    assert [item.reason for item in b.all(Closed)] == [CloseReason.DELETED_BY_US] * 2


def test_a_flood_of_failing_handshakes_meets_cookies_and_caps() -> None:
    net = Net()
    a, b = net.add("a"), net.add("b")
    del net.keys[a.endpoint._party.identity.id]
    for _ in range(20):
        a.connect(b)
        net.run(0.5)
    assert b.endpoint.half_open <= b.endpoint.config.max_half_open_per_address
    assert len(b.endpoint._party.by_spi) <= b.endpoint.config.max_half_open_per_address
    net.run(200)
    assert b.endpoint.half_open == 0 and not b.endpoint._party.by_spi


def test_what_one_peer_proposed_is_remembered_for_the_next_one_and_for_no_other_proposal() -> None:
    net = Net()
    b = net.add("b")
    offers = [(suites.AES_GCM_128, suites.PRF_SHA2_256, suites.CURVE25519), suites.PLAIN, suites.WITH_KWA]
    for number, offer in enumerate([*offers, *offers]):
        a = net.add(f"a{number}", config=IkeConfig(offers=(offer,)))
        a.connect(b)
        net.run(5)
        assert both_up(a, b)
        suite = b.sa.current.suite
        assert suite is not None and a.sa.current.suite == suite
        assert (suite.key_bits, suite.kwa is not None) == (128 if offer is offers[0] else 256, offer is offers[2])
    assert len(b.endpoint._party.agreed) == len(offers)


def test_an_answer_that_is_remembered_is_not_given_once_other_offers_are_taken() -> None:
    net = Net()
    b = net.add("b")
    config = IkeConfig(offers=(suites.PLAIN,))
    net.add("first", config=config).connect(b)
    net.run(5)
    assert b.endpoint._party.agreed
    b.do("offer", ((suites.AES_GCM_128, suites.PRF_SHA2_512, suites.SECP384R1),))
    late = net.add("late", config=config)
    late.connect(b)
    net.run(5)
    assert not late.all(Established) and len(b.all(Established)) == 1 and not b.endpoint._party.agreed


def test_proposals_of_many_kinds_are_not_all_remembered() -> None:
    net, a, b = pair()
    a.connect(b)
    net.run(5)
    party = b.endpoint._party
    (known,) = party.agreed.values()
    party.agreed = {number.to_bytes(2, "big"): known for number in range(MOST_AGREED)}
    again = net.add("again")
    again.connect(b)
    net.run(5)
    assert both_up(again, b) and list(party.agreed.values()) == [known]
