"""What an established IKE SA does: requests, windows, Child SAs, rekeying, liveness, deletion, fragments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest
from simnet import Net, Node, Wire, answer_all, pair

from agents.ikev2 import (
    ChildClosed,
    ChildEstablished,
    ChildFailed,
    ChildOffer,
    Closed,
    CloseReason,
    Datagram,
    Established,
    FailureReason,
    IkeConfig,
    IkeSaRekeyed,
    MessageSeen,
    NotifyPayload,
    Payload,
    RawPayload,
    Request,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    Retransmission,
    TrafficSelector,
    UnknownSa,
    key_exchange,
)
from agents.ikev2 import config as suites
from agents.ikev2.codec.header import Header
from agents.ikev2.codec.transforms import transform
from agents.ikev2.model import RandomSource
from agents.ikev2.protect import seal_message
from agents.ikev2.registry import ExchangeType, NotifyType, SequenceNumbers, TransformType
from agents.ikev2.sa import IkeSa

NO_ESN = transform(TransformType.SN, SequenceNumbers.SEQUENTIAL_32)
ESP = (suites.AES_GCM_128, NO_ESN)
ESP_PFS = (suites.AES_GCM_128, NO_ESN, suites.CURVE25519)
ANY4 = TrafficSelector(ip_address("0.0.0.0"), ip_address("255.255.255.255"))


def host(text: str) -> TrafficSelector:
    return TrafficSelector(ip_address(text), ip_address(text))


def offer(local: Node | str, remote: Node | str, *esp: tuple, transport: bool = True) -> ChildOffer:  # type: ignore[type-arg]
    ours, theirs = (item if isinstance(item, str) else item.ip for item in (local, remote))
    return ChildOffer(tuple(esp) or (ESP,), (host(ours),), (host(theirs),), transport)


def linked(
    config: IkeConfig | None = None, *esp: tuple, child: bool = True, **network: object
) -> tuple[Net, Node, Node]:  # type: ignore[type-arg]
    """Two parties with an IKE SA, each willing to make a Child SA between their addresses."""
    net = Net(**network)  # type: ignore[arg-type]

    def policy(ident, peer, ours, theirs):  # type: ignore[no-untyped-def]
        return offer(peer.local_ip, peer.ip, *esp)

    a, b = (net.add(name, config, child_policy=policy) for name in "ab")
    a.connect(b, child=offer(a, b, *esp) if child else None)
    net.run(20, until=lambda: bool(a.all(Established)) and bool(b.all(Established)))
    return net, a, b


def matched(a: Node, b: Node) -> None:
    """Both sides hold the same Child SAs, mirrored, and the events say so."""
    ours = {(c.spi_in, c.spi_out, c.keys_in, c.keys_out) for c in a.sa.children}
    theirs = {(c.spi_out, c.spi_in, c.keys_out, c.keys_in) for c in b.sa.children}
    assert ours == theirs and ours
    for node in (a, b):
        made = [e.child for e in node.all(ChildEstablished)]
        gone = [e.child for e in node.all(ChildClosed)]
        assert {c.spi_in for c in made} - {c.spi_in for c in gone} == {c.spi_in for c in node.sa.children}


def internal(node: Node) -> IkeSa:
    return node.sa.current


def test_a_child_sa_comes_with_ike_auth() -> None:
    _net, a, b = linked()
    matched(a, b)
    child = a.sa.children[0]
    assert child.transport and child.key_bits(TransformType.ENCR) == 128 and len(child.keys_in.encryption) == 20
    assert child.keys_in.encryption.hex() not in repr(child)


def test_selectors_are_narrowed_and_other_addresses_refused() -> None:
    net = Net()
    a = net.add("a")
    b = net.add("b", child_policy=lambda ident, peer, ours, theirs: offer(peer.local_ip, "10.9.9.9"))
    a.connect(b, child=ChildOffer((ESP,), (ANY4,), (ANY4,)))
    net.run(5)
    child = a.last(ChildEstablished).child
    assert child.remote == (host(b.ip),) and child.local == (host("10.9.9.9"),)
    a.do("create_child", a.sa, ChildOffer((ESP,), (host("10.1.1.1"),), (ANY4,)))
    net.run(5)
    assert a.last(ChildFailed).notify == NotifyType.TS_UNACCEPTABLE
    assert a.endpoint.sas() and len(a.sa.children) == 1


def test_a_refused_child_sa_leaves_the_ike_sa_standing() -> None:
    net, a, b = pair()
    a.connect(b, child=offer(a, b))
    net.run(5)
    assert a.last(ChildFailed).notify == NotifyType.NO_ADDITIONAL_SAS
    assert len(a.endpoint.sas()) == len(b.endpoint.sas()) == 1


@pytest.mark.parametrize("esp", [ESP, ESP_PFS])
def test_child_sas_are_created_rekeyed_and_deleted_from_either_side(esp: tuple) -> None:  # type: ignore[type-arg]
    net, a, b = linked(None, esp)
    for node in (a, b):
        before = node.sa.children[0]
        node.do("rekey_child", node.sa, before)
        net.run(5)
        assert len(a.sa.children) == 1 and node.last(ChildEstablished).replaces == before
        matched(a, b)
    b.do("create_child", b.sa, offer(b, a, esp))
    net.run(5)
    assert len(a.sa.children) == 2
    matched(a, b)
    a.do("delete_child", a.sa, a.sa.children[0])
    net.run(5)
    assert len(a.sa.children) == len(b.sa.children) == 1
    assert not a.all(Closed) and not b.all(Closed)


def test_the_group_that_the_peer_wants_is_used_in_a_rekey() -> None:
    net, a, b = linked(None, (suites.AES_GCM_128, NO_ESN, suites.CURVE25519, suites.SECP256R1))
    internal(b).children[b.sa.children[0].spi_in].offer = offer(b, a, (suites.AES_GCM_128, NO_ESN, suites.SECP256R1))
    a.do("rekey_child", a.sa, a.sa.children[0])
    net.run(5)
    assert len(a.all(ChildEstablished)) == 2
    matched(a, b)


@pytest.mark.parametrize("seed", range(10))
def test_when_both_rekey_a_child_sa_at_once_one_new_one_is_left(seed: int) -> None:
    net, a, b = linked(seed=seed)
    old = a.sa.children[0].spi_in
    a.do("rekey_child", a.sa, a.sa.children[0])
    b.do("rekey_child", b.sa, b.sa.children[0])
    net.run(10)
    assert len(a.sa.children) == len(b.sa.children) == 1 and a.sa.children[0].spi_in != old
    matched(a, b)


@pytest.mark.parametrize("seed", range(10))
def test_when_both_rekey_the_ike_sa_at_once_one_new_one_is_left(seed: int) -> None:
    net, a, b = linked(seed=seed)
    before = a.sa.spi_i, a.sa.spi_r
    a.do("rekey_ike", a.sa)
    b.do("rekey_ike", b.sa)
    net.run(100)
    assert (a.sa.spi_i, a.sa.spi_r) == (b.sa.spi_i, b.sa.spi_r) != before
    assert not a.all(Closed) and not b.all(Closed)
    assert len(a.all(IkeSaRekeyed)) == len(b.all(IkeSaRekeyed)) == 1
    matched(a, b)
    a.do("rekey_child", a.sa, a.sa.children[0])
    net.run(5)
    matched(a, b)
    assert len(a.endpoint._party.by_spi) == len(b.endpoint._party.by_spi) == 1


@pytest.mark.parametrize("seed", range(30))
def test_rekeys_from_both_sides_survive_loss_and_repeats(seed: int) -> None:
    timing = Retransmission(first_s=0.3, factor=1.3, cap_s=3, tries=25)
    net, a, b = linked(IkeConfig(retransmission=timing, retry_s=1.0), seed=seed, loss=0.2, repeat=0.2)
    for _ in range(3):
        for node in (a, b):
            if node.sa.established and net.random.random() < 0.7:
                node.do("rekey_ike", node.sa)
            if node.sa.children and net.random.random() < 0.7:
                node.do("rekey_child", node.sa, node.sa.children[0])
        net.run(net.random.choice([0.05, 0.5, 60]))
    net.run(300)
    assert not a.all(Closed) and not b.all(Closed)
    assert (a.sa.spi_i, a.sa.spi_r) == (b.sa.spi_i, b.sa.spi_r)
    matched(a, b)


def test_the_ike_sa_is_rekeyed_from_either_side_and_works_on() -> None:
    net, a, b = linked()
    old = a.sa.derive(b"", 16)
    for node in (a, b):
        node.do("rekey_ike", node.sa)
        net.run(5)
        assert a.sa.derive(b"", 16) == b.sa.derive(b"", 16) != old
        old = a.sa.derive(b"", 16)
    assert a.sa.children
    matched(a, b)
    net.run(100)
    a.do("close", a.sa)
    net.run(5)
    assert b.last(Closed).reason is CloseReason.DELETED_BY_PEER


def test_a_rekey_waits_while_the_other_side_has_requests_open() -> None:
    net, a, b = linked(child=False, config=IkeConfig(retry_s=5.0))
    request = Request()
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, request)
    net.run(0.5)
    b.do("rekey_ike", b.sa)
    net.run(0.5)
    assert not b.all(IkeSaRekeyed), "TEMPORARY_FAILURE"
    b.do("respond", b.last(RequestReceived).token, [])
    net.run(10)
    assert a.last(ResponseReceived).request is request
    assert len(a.all(IkeSaRekeyed)) == len(b.all(IkeSaRekeyed)) == 1


def test_lifetimes_rekey_by_themselves_and_never_lose_a_child_sa() -> None:
    net, a, b = linked(IkeConfig(ike_lifetime_s=50, child_lifetime_s=20))
    for _ in range(50):
        net.run(10)
        assert a.sa.children and b.sa.children
    assert len(a.all(IkeSaRekeyed)) >= 8 and len(a.all(ChildEstablished)) >= 20
    assert not a.all(Closed)
    matched(a, b)
    assert len(a.endpoint._party.by_spi) <= 3


def test_requests_of_the_layer_above_go_one_after_the_other() -> None:
    net, a, b = linked(child=False)
    requests = [Request([RawPayload(51, bytes((i,)))]) for i in range(5)]
    for each in requests:
        a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, each)
    net.run(0.1)
    assert len(b.all(RequestReceived)) == 1, "window of one"
    answer_all(b, RawPayload(52, b"keys"))
    b.do("respond", b.last(RequestReceived).token, [])
    net.run(5)
    assert [item.request for item in a.all(ResponseReceived)] == requests
    assert [item.payloads[0].body() for item in b.all(RequestReceived)] == [bytes((i,)) for i in range(5)]


def test_a_request_that_is_not_wanted_any_more_when_its_turn_comes_is_not_sent_and_nothing_follows() -> None:
    class Changing(Request):
        wanted = True

        def payloads(self) -> list[RawPayload] | None:
            return [RawPayload(51, b"it")] if self.wanted else None

    net, a, b = linked(child=False)
    first, second, third = Changing(), Changing(), Changing()
    for each in (first, second, third):
        a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, each)
    second.wanted = False
    answer_all(b)
    net.run(5)
    assert [item.request for item in a.all(ResponseReceived)] == [first, third]
    assert not a.all(RequestFailed)


def test_a_request_acts_when_it_is_told_to_and_not_while_the_endpoint_is_at_work() -> None:
    class Noting(Request):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[str] = []

        def answered(self, payloads: Sequence[Payload], now: float) -> None:
            self.told.append("answered")

        def failed(self, reason: FailureReason, now: float) -> None:
            self.told.append(reason.name)

    net, a, b = linked(child=False)
    first, second = Noting(), Noting()
    for each in (first, second):
        a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, each)
    net.run(0.1)
    b.do("respond", b.last(RequestReceived).token, [])
    net.run(1)
    b.do("close", b.sa)
    net.run(1)
    for item in [*a.all(ResponseReceived), *a.all(RequestFailed)]:
        assert not item.request.told
    a.last(ResponseReceived).request.answered([], net.now)
    a.last(RequestFailed).request.failed(a.last(RequestFailed).reason, net.now)
    assert (first.told, second.told) == (["answered"], ["SA_CLOSED"])


def test_a_larger_window_lets_several_requests_go_at_once() -> None:
    net, a, b = linked(IkeConfig(window=4), child=False)
    for number in range(6):
        a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request([RawPayload(51, bytes((number,)))]))
    net.run(0.5)
    assert len(b.all(RequestReceived)) == 4
    for item in reversed(b.all(RequestReceived)):
        b.do("respond", item.token, [])
    net.run(0.5)
    for item in b.all(RequestReceived)[4:]:
        b.do("respond", item.token, [])
    net.run(0.5)
    assert len(a.all(ResponseReceived)) == 6


def test_requests_cross() -> None:
    net, a, b = linked(child=False)
    for node in (a, b):
        answer_all(node, RawPayload(52, node.name.encode()))
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request())
    b.do("request", b.sa, ExchangeType.GSA_INBAND_REKEY, Request())
    net.run(5)
    assert a.last(ResponseReceived).payloads[0].body() == b"b"
    assert b.last(ResponseReceived).payloads[0].body() == b"a"


@pytest.mark.parametrize("seed", range(8))
def test_each_request_is_given_to_the_layer_above_exactly_once(seed: int) -> None:
    timing = Retransmission(first_s=0.3, factor=1.2, cap_s=2, tries=30)
    net, a, b = linked(IkeConfig(retransmission=timing), child=False, seed=seed, loss=0.25, repeat=0.5)
    answer_all(b)
    for number in range(20):
        a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request([RawPayload(51, bytes((number,)))]))
    net.run(300)
    assert [item.payloads[0].body() for item in b.all(RequestReceived)] == [bytes((i,)) for i in range(20)]
    assert len(a.all(ResponseReceived)) == 20
    assert any(item.retransmission for item in b.all(MessageSeen))


def test_private_notifies_in_informational_go_to_the_layer_above_when_it_wants_them() -> None:
    upper = frozenset({int(ExchangeType.INFORMATIONAL)})
    net, a, b = linked(IkeConfig(upper_exchanges=upper), child=False)
    a.do("request", a.sa, ExchangeType.INFORMATIONAL, Request([NotifyPayload(40999, b"digest")]))
    net.run(0.5)
    b.do("respond", b.last(RequestReceived).token, [NotifyPayload(40999, b"mine")])
    net.run(0.5)
    answer = a.last(ResponseReceived).payloads[0]
    assert isinstance(answer, NotifyPayload) and answer.data == b"mine"


def test_liveness_is_checked_after_silence_and_a_dead_peer_is_noticed() -> None:
    timing = Retransmission(first_s=1, factor=2, cap_s=4, tries=3)
    net, a, _b = linked(IkeConfig(liveness_s=10, retransmission=timing), child=False)
    net.run(100)
    assert not a.all(Closed) and len(net.wire) > 20
    net.filter = lambda wire: False
    net.run(40)
    assert a.last(Closed).reason is CloseReason.TIMEOUT


def test_open_requests_fail_when_the_sa_is_closed() -> None:
    net, a, b = linked(child=False)
    first, later = Request(), Request()
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, first)
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, later)
    net.run(0.5)
    b.do("close", b.sa)
    net.run(5)
    assert [item.request for item in a.all(RequestFailed)] == [first, later]
    assert a.last(Closed).reason is CloseReason.DELETED_BY_PEER
    with pytest.raises(UnknownSa):
        a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request())
    with pytest.raises(UnknownSa):
        b.do("respond", b.last(RequestReceived).token, [])


def test_both_may_delete_the_ike_sa_at_once() -> None:
    net, a, b = linked()
    a.do("close", a.sa)
    b.do("close", b.sa)
    net.run(100)
    for node in (a, b):
        assert len(node.all(Closed)) == 1
        assert not node.endpoint._party.by_spi and node.endpoint.next_timer() is None


def test_both_may_delete_a_child_sa_at_once() -> None:
    net, a, b = linked()
    a.do("delete_child", a.sa, a.sa.children[0])
    b.do("delete_child", b.sa, b.sa.children[0])
    net.run(10)
    assert len(a.all(ChildClosed)) == len(b.all(ChildClosed)) == 1 and not a.sa.children


def test_an_authentic_malformed_request_is_answered_with_invalid_syntax_and_ends_the_sa() -> None:
    net, a, b = linked(child=False)
    sa = internal(a)
    header = Header(sa.spi_i, sa.spi_r, 0, ExchangeType.INFORMATIONAL, 8, sa.requests.next_id)
    assert sa._out is not None
    net.inject(b, seal_message(header, 42, b"\0\0\0\x08\x03\x04\0\x09", sa._out), a.ip)
    assert b.last(Closed).reason is CloseReason.INVALID_SYNTAX
    assert net.wire[-1].source == b.ip


def test_an_unknown_critical_payload_is_refused_and_the_sa_lives() -> None:
    net, a, b = linked(child=False)
    sa = internal(a)
    header = Header(sa.spi_i, sa.spi_r, 0, ExchangeType.INFORMATIONAL, 8, sa.requests.next_id)
    assert sa._out is not None
    net.inject(b, seal_message(header, 200, b"\0\x80\0\x05x", sa._out), a.ip)
    assert b.endpoint.sas() and net.wire[-1].source == b.ip


def test_forged_and_old_messages_change_nothing() -> None:
    net, a, b = linked()
    a.do("check_liveness", a.sa)
    net.run(1)
    sent = [w for w in net.wire if w.source == a.ip and w.data[18] == ExchangeType.INFORMATIONAL][-1].data
    replies = len(net.wire)
    for position in range(28, len(sent)):
        net.inject(b, sent[:position] + bytes((sent[position] ^ 0x80,)) + sent[position + 1 :], a.ip)
    for number in (0, 1, 7, 2**32 - 1):
        net.inject(b, sent[:20] + number.to_bytes(4, "big") + sent[24:], a.ip)
    assert b.endpoint.sas() and not b.all(Closed)
    repeated = {w.data for w in net.wire[replies:]}
    assert len(repeated) <= 2, "stored answers only"


def test_a_peer_that_lost_the_sa_answers_nothing_and_is_given_up_in_time() -> None:
    net, a, b = linked(IkeConfig(retransmission=Retransmission(first_s=1, cap_s=2, tries=3)), child=False)
    fresh = net.replace(b)
    a.do("check_liveness", a.sa)
    net.run(0.2)
    assert not [wire for wire in net.wire if wire.source == fresh.ip and wire.at > net.now - 0.2]
    assert not a.all(Closed)
    net.run(60)
    assert a.last(Closed).reason is CloseReason.TIMEOUT


@pytest.mark.parametrize(
    "offer_", [suites.PLAIN, (suites.AES_CBC_256, suites.HMAC_SHA2_256_128, suites.PRF_SHA2_256, suites.CURVE25519)]
)
def test_large_messages_go_in_fragments_and_lost_ones_come_again(offer_: suites.Offer) -> None:
    config = IkeConfig(offers=(offer_,), max_datagram=540, retransmission=Retransmission(first_s=0.5, tries=20))
    net, a, b = linked(config, child=False)
    answer_all(b, RawPayload(52, bytes(range(256)) * 12))
    lost: set[int] = set()

    def lose_each_once(wire: Wire) -> bool:
        number = int.from_bytes(wire.data[32:34], "big")
        if wire.data[16] == 53 and (wire.source, number) not in seen:
            seen.add((wire.source, number))
            return number % 3 != 0
        return True

    seen: set[tuple[str, int]] = set()
    net.filter = lose_each_once
    body = bytes(range(251)) * 20
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request([RawPayload(51, body)]))
    net.run(20)
    assert b.last(RequestReceived).payloads == (RawPayload(51, body),)
    assert len(b.all(RequestReceived)) == 1
    assert a.last(ResponseReceived).payloads == (RawPayload(52, bytes(range(256)) * 12),)
    fragments = [w for w in net.wire if w.data[16] == 53]
    assert len(fragments) > 15 and max(len(w.data) for w in net.wire) <= 540
    assert not lost


def test_strangers_that_hoard_fragments_take_bounded_memory_and_keep_nobody_out() -> None:
    net = Net()
    responder = net.add("responder", IkeConfig(max_fragment_octets=20_000, half_open_timeout_s=30))
    kept = responder.endpoint._party.fragments
    body = [RawPayload(51, bytes(8_000))]

    def but_the_last(wire: Wire) -> bool:
        number, total = int.from_bytes(wire.data[32:34], "big"), int.from_bytes(wire.data[34:36], "big")
        return wire.data[16] != 53 or wire.source == honest.ip or number < total

    honest = net.add("honest", IkeConfig(max_datagram=540))
    net.filter = but_the_last
    for number in range(10):
        net.add(f"hoarder {number}", IkeConfig(max_datagram=540)).connect(responder, first=body)
    net.run(0.5)
    assert 10_000 < kept.octets <= 20_000
    answer_all(responder)
    honest.connect(responder, first=body)
    net.run(1)
    assert honest.all(Established)
    net.run(300)
    assert kept.octets == 0


def test_fragments_are_not_sent_to_a_peer_that_did_not_announce_them() -> None:
    net = Net()
    a = net.add("a", IkeConfig(max_datagram=540))
    b = net.add("b", IkeConfig(fragmentation=False))
    answer_all(b)
    a.connect(b)
    net.run(1)
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request([RawPayload(51, bytes(3000))]))
    net.run(1)
    assert a.all(ResponseReceived) and not [w for w in net.wire if w.data[16] == 53]


def test_an_sa_keeps_one_timer_however_much_it_talks() -> None:
    net, a, b = linked(IkeConfig(liveness_s=30), child=False)
    answer_all(b)
    for _ in range(200):
        a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request())
        net.run(0.1)
    assert len(a.endpoint._party._timers) < 20 and len(b.endpoint._party._timers) < 20


def test_secrets_do_not_show_in_events_or_handles() -> None:
    _net, a, _b = linked()
    sa = internal(a)
    assert sa.keys is not None
    text = repr(a.events) + repr(a.sa) + repr(sa.keys) + repr(a.endpoint._party.identity)
    for secret in (sa.keys.sk_d, sa.keys.sk_ei, a.sa.children[0].keys_in.encryption):
        assert secret.hex() not in text and repr(secret)[2:20] not in text


def test_a_datagram_is_never_a_reason_to_raise() -> None:
    net, _a, b = linked()
    for wire in list(net.wire):
        for cut in range(len(wire.data)):
            b.endpoint.receive(Datagram(wire.data[:cut], replace(b.sa.peer)), net.now)
    assert b.endpoint.sas()


POST_QUANTUM = (*suites.WITH_KWA, suites.ADD_ML_KEM_768)


def talks(net: Net, a: Node, b: Node) -> bool:
    """Whether both are of one mind about their IKE SA and its keys."""
    answer_all(b)
    before = len(a.all(ResponseReceived))
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request())
    net.run(5)
    same = a.sa.spi_i == b.sa.spi_i and a.sa.derive(b"x", 32) == b.sa.derive(b"x", 32)
    return same and len(a.all(ResponseReceived)) == before + 1


@pytest.mark.parametrize("side", ["a", "b"])
def test_an_sa_of_several_key_exchanges_is_rekeyed_with_as_many(side: str) -> None:
    net, a, b = linked(IkeConfig(offers=(POST_QUANTUM, suites.WITH_KWA)), child=False)
    for _ in range(3):
        before = a.sa.spi_i
        one = a if side == "a" else b
        one.do("rekey_ike", one.sa)
        net.run(5)
        assert a.sa.spi_i != before and talks(net, a, b)
        assert a.sa.current.suite.additional_ke == b.sa.current.suite.additional_ke == (suites.ADD_ML_KEM_768.id,)
    assert len(a.all(IkeSaRekeyed)) == len(b.all(IkeSaRekeyed)) == 3
    assert [wire.data[18] for wire in net.wire].count(ExchangeType.IKE_FOLLOWUP_KE) >= 6


def test_the_further_secret_is_in_the_keys_of_the_rekeyed_sa(monkeypatch: pytest.MonkeyPatch) -> None:
    net, a, b = linked(IkeConfig(offers=(POST_QUANTUM,)), child=False)
    genuine = key_exchange.answer

    def wrong(method: int, public: bytes, random: RandomSource) -> tuple[bytes, bytes]:
        answer, secret = genuine(method, public, random)
        return answer, bytes(len(secret)) if method == suites.ADD_ML_KEM_768.id else secret

    monkeypatch.setattr(key_exchange, "answer", wrong)
    a.do("rekey_ike", a.sa)
    net.run(5)
    assert a.sa.derive(b"x", 32) != b.sa.derive(b"x", 32)


@pytest.mark.parametrize("seed", range(12))
def test_rekeys_of_several_key_exchanges_that_cross_or_are_lost_leave_one_sa(seed: int) -> None:
    config = IkeConfig(
        offers=(POST_QUANTUM,), retransmission=Retransmission(first_s=0.5, factor=1.5, cap_s=3, tries=25)
    )
    net, a, b = linked(config, child=False, seed=seed)
    net.loss, net.repeat = 0.2, 0.1
    for _ in range(3):
        for each in (a, b):
            if each.sa.established:
                each.do("rekey_ike", each.sa)
        net.run(net.random.random() * 3)
    net.loss = net.repeat = 0.0
    net.run(120)
    assert talks(net, a, b) and len(a.endpoint.sas()) == len(b.endpoint.sas()) == 1


def test_a_follow_up_that_belongs_to_no_rekey_is_refused_and_ends_nothing() -> None:
    net, a, b = linked(IkeConfig(offers=(POST_QUANTUM,)), child=False)
    link = NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, bytes(8))
    a.do("request", a.sa, ExchangeType.IKE_FOLLOWUP_KE, Request([link]))
    net.run(1)
    [refused] = a.last(ResponseReceived).payloads
    assert refused.type == NotifyType.STATE_NOT_FOUND
    assert talks(net, a, b)
