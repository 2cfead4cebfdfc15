"""The edge of IKEv2: what anybody can send without a key changes nothing, and ends nothing."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from simnet import Net, Node, Wire, answer_all, ed25519_key, established, pair

from agents.ikev2 import (
    AuthRequest,
    ChildEstablished,
    ChildFailed,
    ChildOffer,
    Closed,
    CloseReason,
    Dropped,
    Established,
    IkeConfig,
    KeysDerived,
    MessageSeen,
    NotifyPayload,
    Payload,
    PeerAddress,
    Request,
    RequestReceived,
    ResponseReceived,
    Retransmission,
    TrafficSelector,
)
from agents.ikev2 import config as suites
from agents.ikev2.codec.header import Header, encode_header, parse_header
from agents.ikev2.codec.payloads import KePayload, NoncePayload, RawPayload, TsPayload, encode_payloads, parse_payloads
from agents.ikev2.codec.transforms import transform
from agents.ikev2.exchange import MAX_MESSAGE_ID, RETRANSMIT_S
from agents.ikev2.initiator import GRACE_S, TRIED, _Accepted
from agents.ikev2.registry import ExchangeType, Flag, NotifyType, PayloadType
from testbed.soak.unsealed import digest

G = ExchangeType.GSA_AUTH
SK, SKF = int(PayloadType.SK), int(PayloadType.SKF)
SHORT = (suites.AES_GCM_256, suites.PRF_SHA2_256, suites.CURVE25519)
ESP = (transform(1, 12, 128), transform(3, 12), transform(5, 0))
ANYWHERE = (TrafficSelector(IPv4Address(0), IPv4Address(0xFFFFFFFF)),)
OFFER = ChildOffer((ESP,), ANYWHERE, ANYWHERE)


class Critical(Payload):
    """Of a type that nobody knows."""

    payload_type = 200
    critical = True

    def body(self) -> bytes:
        return bytes(20)


def generic(next_payload: int, length: int, body: bytes = b"", critical: bool = False) -> bytes:
    return struct.pack("!BBH", next_payload, 0x80 if critical else 0, length) + body


BODIES = {
    "SK longer than the datagram": (SK, generic(0, 0xFFFF)),
    "SK of a wrong ICV": (SK, generic(0, 4 + 64, bytes(64))),
    "SK of no octets": (SK, generic(0, 4)),
    "octets behind SK": (SK, generic(0, 36, bytes(36))),
    "SKF of no octets": (SKF, generic(0, 4)),
    "SKF, fragment 0 of 0": (SKF, generic(0, 4 + 4 + 40, bytes(44))),
    "SKF, fragment 1 of 65535": (SKF, generic(0, 4 + 4 + 40, b"\0\1\xff\xff" + bytes(40))),
    "clear payload cut short before SK": (43, generic(SK, 3)),
    "critical unknown payload in clear": (200, generic(0, 4, critical=True)),
    "nothing at all": (0, b""),
    "INVALID_IKE_SPI in clear": (41, generic(0, 8, struct.pack("!BBH", 0, 0, NotifyType.INVALID_IKE_SPI))),
    "AUTHENTICATION_FAILED in clear": (41, generic(0, 8, struct.pack("!BBH", 0, 0, NotifyType.AUTHENTICATION_FAILED))),
    "Delete of the IKE SA in clear": (42, generic(0, 8, struct.pack("!BBH", 1, 0, 0))),
}
EXCHANGES = (35, 36, 37, 39, 40, 41, 43, 200)


def forgeries(net: Net) -> list[tuple[str, bytes]]:
    """Of every SA that was ever seen on the wire, in both directions, all that somebody without its keys can say."""
    spis = {(parse_header(wire.data).spi_i, parse_header(wire.data).spi_r) for wire in net.wire}
    found = []
    for spi_i, spi_r in sorted(spis):
        for what, (kind, body) in BODIES.items():
            for flags in (0, Flag.INITIATOR, Flag.RESPONSE, Flag.RESPONSE | Flag.INITIATOR):
                for message_id in (0, 1, 2, 3, MAX_MESSAGE_ID):
                    for exchange in EXCHANGES:
                        head = Header(spi_i, spi_r, kind, exchange, int(flags), message_id)
                        found.append((what, encode_header(head, 28 + len(body)) + body))
    for wire in list(net.wire):
        if parse_header(wire.data).exchange != ExchangeType.IKE_SA_INIT:
            for place in (17, 18, 20, len(wire.data) // 2, len(wire.data) - 1):
                data = bytearray(wire.data)
                data[place] ^= 1
                found.append((f"octet {place} changed", bytes(data)))
    return found


def nothing_happens(net: Net, *nodes: Node, share: float = 0.2) -> None:
    chosen = random.Random(1)
    for node in nodes:
        before = digest(node.endpoint._party)
        for what, data in forgeries(net):
            if chosen.random() > share:
                continue
            events, sent, timer = len(node.events), len(net.wire), node.endpoint.next_timer()
            net.inject(node, data, source=next(each.ip for each in net.nodes.values() if each is not node))
            assert {type(each).__name__ for each in node.events[events:]} <= {"Dropped"}, what
            assert len(net.wire) == sent and node.endpoint.next_timer() == timer, what
        assert digest(node.endpoint._party) == before


def test_nothing_without_a_key_changes_anything_while_a_handshake_goes_on_or_later() -> None:
    net, a, b = pair(IkeConfig(window=2), auth=G)
    handle = a.connect(b)
    net.run(0.012)  # the request is on its way
    nothing_happens(net, a, b)
    net.run(0.03, until=lambda: bool(b.endpoint.half_open))
    nothing_happens(net, a, b)
    net.run(1, until=lambda: bool(b.all(AuthRequest)))
    nothing_happens(net, a, b)
    b.do("respond", b.last(AuthRequest).token, [])
    net.run(1)
    assert established(a) and established(b)
    nothing_happens(net, a, b)
    a.do("request", handle, ExchangeType.GSA_REGISTRATION, Request())
    net.run(1, until=lambda: bool(b.all(RequestReceived)))
    nothing_happens(net, a, b)  # a request is outstanding at one side and being worked on at the other
    b.do("respond", b.last(RequestReceived).token, [])
    net.run(1)
    a.do("rekey_ike", handle)
    net.run(0.015)
    nothing_happens(net, a, b)
    net.run(1)
    nothing_happens(net, a, b)
    a.do("close", handle)
    nothing_happens(net, a, b)
    net.run(1)
    nothing_happens(net, a, b)


def test_fragments_without_a_key_change_nothing_while_a_message_is_put_together() -> None:
    net, a, b = pair(IkeConfig(max_datagram=540), auth=G)
    answer_all(b)
    a.connect(b)
    net.run(1)
    net.filter = lambda wire: wire.data[16] != SKF or wire.data[33] != 2
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request([RawPayload(51, bytes(2000))]))
    net.run(0.1)
    nothing_happens(net, a, b)
    net.filter = None
    net.run(5)
    assert a.all(ResponseReceived)


def test_what_is_dropped_is_said_by_its_kind() -> None:
    net, a, b, asked = talked(octets=0)
    head = parse_header(asked.data)
    said = {
        encode_header(
            replace(head, exchange=37, message_id=2, next_payload=0), 28
        ): "INFORMATIONAL request: no encrypted payload",
        encode_header(replace(head, exchange=37, message_id=99), 28): "INFORMATIONAL request: Message ID outside",
        encode_header(
            replace(head, exchange=37, flags=Flag.INITIATOR | Flag.RESPONSE), 28
        ): "INFORMATIONAL response to no",
        encode_header(replace(head, exchange=200, message_id=2), 28): "exchange 200 request while established",
        encode_header(replace(head, spi_r=bytes(7) + b"\1"), 28): "GSA_AUTH for an unknown SPI",
        b"\0" * 20: "header: ",
    }
    for data, reason in said.items():
        b.events.clear()
        net.inject(b, data, source=a.ip)
        assert [each.reason[: len(reason)] for each in b.all(Dropped)] == [reason]


# -- answers to repeats


def talked(octets: int = 40_000) -> tuple[Net, Node, Node, Wire]:
    """Two that have talked, and the datagram that the large answer is for."""
    net, a, b = pair(auth=G)
    answer_all(b, NotifyPayload(40960, bytes(octets)))
    a.connect(b)
    net.run(5)
    [asked] = [w for w in net.wire if w.source == a.ip and w.data[18] == G]
    return net, a, b, asked


def test_a_header_alone_gets_no_answer_again() -> None:
    net, a, b, asked = talked()
    before = len(net.wire)
    for data in (encode_header(Header(a.sa.spi_i, a.sa.spi_r, 0, 37, 8, 1), 28), asked.data[:-1] + b"\0"):
        for _ in range(100):
            net.inject(b, data, source=a.ip)
    assert len(net.wire) == before


def test_the_very_request_is_answered_again_but_no_more_often_than_anybody_needs() -> None:
    net, a, b, asked = talked()
    [whole] = [[w for w in net.wire if w.source == b.ip and w.data[18] == G]]
    before = len(net.wire)
    for _ in range(100):
        net.inject(b, asked.data, source=a.ip)
    assert len(net.wire) - before == len(whole)
    net.run(RETRANSMIT_S + 0.01)
    net.inject(b, asked.data, source=a.ip)
    assert len(net.wire) - before == 2 * len(whole)
    assert sum(item.retransmission for item in b.all(MessageSeen)) == 2


def test_a_copy_from_another_address_gets_no_more_octets_than_it_brought() -> None:
    net, a, b, asked = talked()
    before = len(net.wire)
    net.inject(b, asked.data, source="192.0.2.77")
    assert len(net.wire) == before
    net, a, b, asked = talked(octets=0)
    before = len(net.wire)
    for _ in range(9):
        net.inject(b, asked.data, source="192.0.2.77")
    net.inject(b, asked.data, source=a.ip)  # the others have not used up its turn
    assert [wire.destination for wire in net.wire[before:]] == ["192.0.2.77", a.ip]


def test_an_answer_goes_to_where_the_request_came_from() -> None:
    net, a, b = pair(auth=G)
    answer_all(b)
    a.connect(b)
    net.run(1)
    a.do("check_liveness", a.sa)
    asked = net.wire[-1].data
    net.inject(b, asked, source="192.0.2.55")
    assert net.wire[-1].destination == "192.0.2.55"


def test_the_answer_to_a_first_message_is_no_longer_than_that_unless_the_address_is_proven() -> None:
    net = Net()
    a = net.add("a", IkeConfig(fragmentation=False, nonce_octets=16, offers=(SHORT,)))
    b = net.add("b")
    a.connect(b)
    net.run(5)
    sent = {wire.destination: 0 for wire in net.wire}
    for wire in net.wire[:4]:
        sent[wire.destination] += len(wire.data)
        assert wire.destination == b.ip or sent[a.ip] <= sent[b.ip]
    assert established(a) and established(b)


# -- answers to IKE_SA_INIT


def answer_to(request: bytes, payloads: list[Payload], spi_r: bytes = bytes(8)) -> bytes:
    first, body = encode_payloads(payloads)
    header = Header(parse_header(request).spi_i, spi_r, first, ExchangeType.IKE_SA_INIT, int(Flag.RESPONSE), 0)
    return encode_header(header, 28 + len(body)) + body


def forged(net: Net, a: Node, b: Node, *answers: list[Payload], auth: ExchangeType = ExchangeType.IKE_AUTH) -> None:
    """Connect, with a forger that answers each first message before the peer does."""
    real = net._send

    def send(node: Node, effect: object) -> None:
        real(node, effect)  # type: ignore[arg-type]
        data = net.wire[-1].data
        if node is a and data[18] == 34:
            for payloads in answers:
                net.inject(a, answer_to(data, payloads), source=b.ip)

    net._send = send  # type: ignore[method-assign,assignment]
    a.connect(b)


REFUSALS: dict[str, list[list[Payload]]] = {
    "NO_PROPOSAL_CHOSEN": [[NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)]],
    "AUTHENTICATION_FAILED": [[NotifyPayload(NotifyType.AUTHENTICATION_FAILED)]],
    "INVALID_SYNTAX": [[NotifyPayload(NotifyType.INVALID_SYNTAX)]],
    "an unknown error": [[NotifyPayload(8000)]],
    "cookies": [[NotifyPayload(NotifyType.COOKIE, bytes([n]) * 9)] for n in range(40)],
    "a cookie too long": [[NotifyPayload(NotifyType.COOKIE, bytes(65))]],
    "another group": [[NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, b"\0\x13")]] * 9,
    "a group that nobody has": [[NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, b"\xff\xff")]],
    "group and cookie in turn": [
        [NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, b"\0\x13")],
        [NotifyPayload(NotifyType.COOKIE, b"x")],
        [NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, b"\0\x1f")],
    ],
    "nothing": [[]],
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_forged_refusal_of_the_first_message_does_not_end_the_attempt(what: str) -> None:
    net, a, b = pair()
    forged(net, a, b, *REFUSALS[what])
    net.run(30)
    assert established(a) and b.endpoint.sas()


@pytest.mark.parametrize("what", ["NO_PROPOSAL_CHOSEN", "cookies"])
def test_a_peer_that_comes_late_is_taken_though_forged_refusals_came_all_the_time(what: str) -> None:
    net, a, b = pair(IkeConfig(retransmission=Retransmission(first_s=0.5, cap_s=1, tries=10)))
    net.filter = lambda wire: net.now > 1006
    forged(net, a, b, *REFUSALS[what])
    net.run(20)
    assert established(a) and b.endpoint.sas()


def test_a_refusal_that_nobody_gainsays_is_the_reason_in_the_end() -> None:
    net, a, b = pair(IkeConfig(retransmission=Retransmission(first_s=0.5, cap_s=1, tries=3)))
    net.filter = lambda wire: wire.source != b.ip
    forged(net, a, b, [NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)])
    net.run(90)
    assert [each.reason for each in a.all(Closed)] == [CloseReason.NO_PROPOSAL_CHOSEN]


def impostors(net: Net, a: Node, b: Node, number: int) -> list[Node]:
    """Parties with keys of their own that answer in the peer's name, before it does."""
    found = [
        net.add(b.name, IkeConfig(), key=None, auth_exchange=a.endpoint._party.auth_exchange) for _ in range(number)
    ]
    net.keys[found[0].endpoint._party.identity.id] = next(
        key for key in [net.keys[found[0].endpoint._party.identity.id]]
    )
    real = net._send

    def send(node: Node, effect: object) -> None:
        real(node, effect)  # type: ignore[arg-type]
        wire = net.wire[-1]
        if node is a and wire.destination == b.ip:
            for each in found:
                each.endpoint.receive(_from(wire, a, each), net.now)
                for item in each.endpoint.take():
                    if hasattr(item, "data"):
                        net.inject(a, item.data, source=b.ip)

    net._send = send  # type: ignore[method-assign,assignment]
    return found


def _from(wire: Wire, a: Node, to: Node):  # type: ignore[no-untyped-def]
    from agents.ikev2 import Datagram

    return Datagram(wire.data, PeerAddress(a.ip, 500, to.ip, "eth0", 500), 255)


@pytest.mark.parametrize("number", [1, TRIED])
@pytest.mark.parametrize("auth", [ExchangeType.IKE_AUTH, G])
def test_answers_of_impostors_with_keys_of_their_own_do_not_displace_the_peers(auth: ExchangeType, number: int) -> None:
    net, a, b = pair(auth=auth)
    genuine = net.keys[b.endpoint._party.identity.id]
    impostors(net, a, b, number)
    net.keys[b.endpoint._party.identity.id] = genuine
    answer_all(b)
    a.connect(b)
    net.run(GRACE_S + 10)
    assert established(a) and established(b)
    assert a.sa.spi_r == b.sa.spi_r


def test_a_forger_that_is_quicker_than_the_peer_each_time_does_not_keep_it_out() -> None:
    net, a, b = pair(IkeConfig(retransmission=Retransmission(first_s=0.5, cap_s=1, tries=20)))
    maker = net.add("x")
    made: list[bytes] = []
    real, count = net._send, iter(range(1, 1 << 20))

    def send(node: Node, effect: object) -> None:
        real(node, effect)  # type: ignore[arg-type]
        data = net.wire[-1].data
        if node is not a or data[18] != ExchangeType.IKE_SA_INIT:
            return
        if not made:
            maker.endpoint.receive(_from(net.wire[-1], a, maker), net.now)
            made.extend(item.data for item in maker.endpoint.take() if hasattr(item, "data"))
        for _ in range(5 * TRIED):  # usable, and never the same twice
            net.inject(a, made[0][:8] + struct.pack("!Q", next(count)) + made[0][16:], source=b.ip)

    net._send = send  # type: ignore[method-assign,assignment]
    a.connect(b)
    net.run(40)
    assert established(a) and established(b)
    assert a.sa.spi_r == b.sa.spi_r


def _other_nonce(payloads: list[Payload], fresh: bytes) -> list[Payload]:
    return [NoncePayload(fresh) if isinstance(each, NoncePayload) else each for each in payloads]


def _other_secret(payloads: list[Payload], fresh: bytes) -> list[Payload]:
    return [KePayload(each.method, fresh) if isinstance(each, KePayload) else each for each in payloads]


def _a_word_more(payloads: list[Payload], fresh: bytes) -> list[Payload]:
    return [*payloads, NotifyPayload(40_000, fresh)]


@pytest.mark.parametrize("altered", [_other_nonce, _other_secret, _a_word_more])
@pytest.mark.parametrize("number", [3, TRIED])
def test_altered_copies_of_a_first_request_that_come_before_it_do_not_keep_the_peer_out(altered, number: int) -> None:  # type: ignore[no-untyped-def]
    """Whoever reads the link takes the cookies over too: each copy is answered in the initiator's name (RFC 7296
    §2.1: the responder tells requests apart by all of their octets)."""
    net, a, b = pair(auth=G)
    answer_all(b)
    chosen = random.Random(number)

    def race(wire: Wire) -> bool:
        if wire.source == a.ip and wire.data[18] == ExchangeType.IKE_SA_INIT:
            head = parse_header(wire.data)
            for _ in range(number):
                payloads = altered(parse_payloads(head.next_payload, wire.data, 28), chosen.randbytes(32))
                first, body = encode_payloads(payloads)
                copy = encode_header(replace(head, next_payload=first), 28 + len(body)) + body
                net.inject(b, copy, source=a.ip)
        return True

    net.filter = race
    a.connect(b)
    net.run(60, until=lambda: bool(a.all(Established) or a.all(Closed)))
    assert established(a) and a.sa.spi_r == b.sa.spi_r
    assert b.endpoint.half_open <= b.endpoint.config.max_half_open_per_address


def test_whoever_sends_from_a_peers_address_and_reads_its_cookies_does_not_keep_it_out() -> None:
    """Its share is used up, again and again: a place is drawn by lot, and so is the one that goes for it."""
    net, a, b = pair(auth=G)
    answer_all(b)
    elsewhere, x, y = pair(auth=G)
    x.connect(y)
    first = elsewhere.wire[0].data
    head, payloads = parse_header(first), parse_payloads(first[16], first, 28)
    numbers = iter(range(1, 1 << 20))

    def flood() -> None:
        for _ in range(b.endpoint.config.max_half_open_per_address):
            spi, count = next(numbers).to_bytes(8, "big"), len(net.wire)
            net.inject(b, spi + first[8:], source=a.ip)
            for answer in net.wire[count:]:
                found = parse_payloads(answer.data[16], answer.data, 28)
                if isinstance(found[0], NotifyPayload) and found[0].type == NotifyType.COOKIE:
                    kind, body = encode_payloads([found[0], *payloads])
                    again = encode_header(replace(head, spi_i=spi, next_payload=kind), 28 + len(body)) + body
                    net.inject(b, again, source=a.ip)

    flood()
    assert b.endpoint.half_open == b.endpoint.config.max_half_open_per_address
    a.connect(b)
    for _second in range(30):
        flood()
        net.run(1)
    assert established(a) and a.sa.spi_r == b.sa.spi_r and not b.all(Closed)
    assert b.endpoint.half_open <= b.endpoint.config.max_half_open_per_address


def test_an_attempt_that_an_impostor_alone_answers_ends_and_says_why() -> None:
    net, a, b = pair()
    genuine = net.keys[b.endpoint._party.identity.id]
    impostors(net, a, b, 1)
    net.keys[b.endpoint._party.identity.id] = genuine
    net.filter = lambda wire: False
    a.connect(b)
    net.run(300)
    assert [each.reason for each in a.all(Closed)] == [CloseReason.AUTHENTICATION_FAILED]
    assert not a.all(Established)


def test_the_answers_that_are_tried_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    net, a, b = pair(IkeConfig(retransmission=Retransmission(first_s=1, tries=2)))
    a.connect(b)
    net.run(0.03, until=lambda: len(net.wire) > 1)
    real = net.wire[1].data
    tried: list[int] = []
    monkeypatch.setattr(_Accepted, "next", lambda self, now: tried.append(1))
    head, payloads = parse_header(real), parse_payloads(real[16], real, 28)
    for number in range(500):
        net.inject(a, answer_to(real, payloads, spi_r=struct.pack("!Q", number + 1)), source=b.ip)
    assert head.spi_i and 0 < len(tried) <= TRIED


def test_a_bad_auth_in_the_name_of_a_half_open_peer_does_not_end_its_handshake() -> None:
    net, a, b = pair(auth=G)
    answer_all(b)
    real = net._send

    def send(node: Node, effect: object) -> None:
        if node is a and effect.data[18] == G:  # type: ignore[attr-defined]
            for _what, (kind, body) in BODIES.items():
                head = replace(parse_header(effect.data), next_payload=kind)  # type: ignore[attr-defined]
                net.inject(b, encode_header(head, 28 + len(body)) + body, source=a.ip)
        real(node, effect)  # type: ignore[arg-type]

    net._send = send  # type: ignore[method-assign,assignment]
    a.connect(b)
    net.run(1)
    assert established(a) and established(b)


def test_no_keys_are_derived_for_a_header_alone() -> None:
    net, a, b = pair(IkeConfig(log_keys=True))
    a.connect(b)
    net.run(0.03, until=lambda: len(net.wire) > 1)
    nothing_happens(net, b, share=1.0)
    assert not b.all(KeysDerived)


# -- what an authenticated peer may not do


def test_an_sa_with_a_key_wrap_algorithm_is_rekeyed_to_one_with_the_same() -> None:
    net, a, b = pair()
    a.connect(b)
    net.run(1)
    assert a.sa.kwa is not None
    b.endpoint._party.config = replace(b.endpoint._party.config, offers=(suites.PLAIN,))
    a.do("rekey_ike", a.sa)
    net.run(5)
    b.do("rekey_ike", b.sa)
    net.run(5)
    assert a.sa.kwa is not None and established(a)


def test_an_answer_that_cannot_be_carried_is_an_error_and_another_can_be_given() -> None:
    from agents.ikev2 import IkeError

    net, a, b = pair(auth=G)
    a.connect(b)
    net.run(0.1, until=lambda: bool(b.all(AuthRequest)))
    for octets in (63_000, 66_000, 90_000):
        with pytest.raises(IkeError):
            b.do(
                "respond",
                b.last(AuthRequest).token,
                [RawPayload(51, bytes(octets // 2))] * 2 + [RawPayload(51, bytes(3000))],
            )
    b.do("respond", b.last(AuthRequest).token, [])
    net.run(1)
    assert established(a) and established(b)


def test_a_request_that_cannot_be_made_fails_alone() -> None:
    from agents.ikev2 import IkeError, RequestFailed

    net, a, b = pair(auth=G)
    answer_all(b)
    a.connect(b)
    net.run(1)

    class Impossible(Request):
        def payloads(self) -> list[Payload]:
            raise IkeError("no key wrap algorithm")

    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Impossible())
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request([RawPayload(51, bytes(60_000))] * 2))
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request())
    net.run(1)
    assert len(a.all(RequestFailed)) == 2 and len(a.all(ResponseReceived)) == 1 and established(a)


@pytest.mark.parametrize("spi", [0, 1, 255])
def test_a_child_sa_with_a_reserved_spi_is_refused(spi: int) -> None:
    net = Net()
    a, b = net.add("a", child_policy=lambda *_: OFFER), net.add("b", child_policy=lambda *_: OFFER)
    a.connect(b)
    net.run(1)
    a.do("create_child", a.sa, replace(OFFER, spi=struct.pack("!I", spi)))
    net.run(1)
    assert not b.all(ChildEstablished) and a.last(ChildFailed).notify == NotifyType.NO_PROPOSAL_CHOSEN
    net = Net()
    a = net.add("a", child_policy=lambda *_: OFFER)
    b = net.add("b", child_policy=lambda *_: replace(OFFER, spi=struct.pack("!I", spi)))
    a.connect(b)
    net.run(1)
    a.do("create_child", a.sa, OFFER)
    net.run(1)
    assert not a.all(ChildEstablished)


def test_the_child_sas_of_a_peer_are_bounded_at_a_time_and_in_time() -> None:
    net = Net()
    config = IkeConfig(max_children=4, creations=8, creation_every_s=10)
    a, b = net.add("a"), net.add("b", config, child_policy=lambda *_: OFFER)
    a.connect(b)
    net.run(1)
    for _ in range(20):
        a.do("create_child", a.sa, OFFER)
        net.run(0.1)
    assert len(b.sa.children) == 4 and a.last(ChildFailed).notify == NotifyType.NO_ADDITIONAL_SAS
    for _ in range(20):
        a.do("rekey_ike", a.sa)
        net.run(0.1)
    assert len({each.data[8:16] for each in net.wire}) < 16


def test_invalid_syntax_after_authentication_ends_the_sa_on_both_sides() -> None:
    net, a, b = pair(auth=G)
    answer_all(b)
    a.connect(b)
    net.run(1)
    a.do("request", a.sa, ExchangeType.CREATE_CHILD_SA, Request([RawPayload(PayloadType.NONCE, b"short")]))
    net.run(1)
    assert [each.reason for node in (a, b) for each in node.all(Closed)] == [CloseReason.INVALID_SYNTAX] * 2


def test_an_auth_answer_without_meaning_ends_the_sa_on_both_sides() -> None:
    net, a, b = pair(auth=G)
    answer_all(b, RawPayload(PayloadType.NONCE, b"short"))
    a.connect(b)
    net.run(10)
    assert b.all(Established) and b.last(Closed).reason is CloseReason.INVALID_SYNTAX
    assert a.last(Closed).reason is CloseReason.INVALID_SYNTAX


@pytest.mark.parametrize("protected", [False, True])
def test_an_unknown_critical_payload_is_answered(protected: bool) -> None:
    net, a, b = pair()
    if protected:
        a.connect(b)
        net.run(1)
        a.do("request", a.sa, ExchangeType.CREATE_CHILD_SA, Request([Critical()]))
        net.run(1)
        found = a.last(ResponseReceived).payloads
    else:
        first, body = encode_payloads([Critical()])
        head = Header(bytes([1] * 8), bytes(8), first, 34, int(Flag.INITIATOR), 0)
        net.inject(b, encode_header(head, 28 + len(body)) + body)
        found = tuple(parse_payloads(net.wire[-1].data[16], net.wire[-1].data, 28))
    assert [(each.type, each.data) for each in found if isinstance(each, NotifyPayload)] == [(1, bytes([200]))]


def test_a_selector_of_an_unknown_type_is_left_out_and_the_others_count() -> None:
    known = TsPayload(PayloadType.TSi, ANYWHERE).body()
    both = bytes([2, 0, 0, 0]) + struct.pack("!BBH4s", 9, 0, 8, b"what") + known[4:]
    [read] = parse_payloads(PayloadType.TSi, generic(0, 4 + len(both), both))
    assert isinstance(read, TsPayload) and read.selectors == ANYWHERE
    only = bytes([1, 0, 0, 0]) + struct.pack("!BBH4s", 9, 0, 8, b"what")
    [read] = parse_payloads(PayloadType.TSi, generic(0, 4 + len(only), only))
    assert isinstance(read, TsPayload) and read.selectors == ()


def test_the_last_message_id_is_for_a_delete() -> None:
    net, a, b = pair(auth=G)
    answer_all(b)
    a.connect(b)
    net.run(1)
    a.sa.current.requests.next_id = MAX_MESSAGE_ID - 1
    b.sa.current.responses._lowest_new = MAX_MESSAGE_ID - 1
    a.do("request", a.sa, ExchangeType.GSA_REGISTRATION, Request())
    net.run(1)
    assert a.all(ResponseReceived)
    assert a.last(Closed).reason is CloseReason.MESSAGE_IDS_EXHAUSTED
    assert b.last(Closed).reason is CloseReason.DELETED_BY_PEER


def test_an_sa_stands_only_as_long_as_its_peer_would_be_authenticated_with_the_same_key() -> None:
    net, a, b = pair(auth=G)
    answer_all(b)
    a.connect(b)
    net.run(1)
    a.do("review")
    b.do("review")
    net.run(1)
    assert established(a) and established(b)
    net.keys[a.endpoint._party.identity.id] = net.keys[b.endpoint._party.identity.id]
    b.do("rekey_ike", b.sa)
    net.run(1)
    b.do("review")
    net.run(1)
    assert a.all(Closed) and b.all(Closed)


@pytest.mark.parametrize("seed", range(40))
def test_crossing_rekeys_with_loss_leave_one_child_sa_that_both_own(seed: int) -> None:
    net = Net(seed=[*range(36), 152, 219, 383, 533][seed])
    config = IkeConfig(retransmission=Retransmission(first_s=0.5, factor=1.5, cap_s=3, tries=25))
    a, b = (net.add(name, config, child_policy=lambda *_: OFFER) for name in "ab")
    a.connect(b, child=OFFER)
    net.run(3)
    net.loss, net.repeat = 0.25, 0.1
    for _ in range(3):
        for each in (a, b):
            what = net.random.randrange(4)
            if what < 2 and each.sa.children:
                each.do("rekey_child", each.sa, each.sa.children[-1])
            if what >= 1 and each.sa.established:
                each.do("rekey_ike", each.sa)
        net.run(net.random.random() * 2)
    net.loss = net.repeat = 0.0
    net.run(120)
    ours = {(child.spi_in, child.keys_in.encryption, child.keys_out.encryption) for child in a.sa.children}
    theirs = {(child.spi_out, child.keys_out.encryption, child.keys_in.encryption) for child in b.sa.children}
    assert ours == theirs and len(ours) == 1 and len(a.endpoint.sas()) == len(b.endpoint.sas()) == 1


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("contact", [True, False])
def test_one_handshake_after_the_other_fills_no_memory_whether_or_not_deletes_are_answered(
    contact: bool, answers: bool
) -> None:
    net = Net()
    a, b = net.add("a"), net.add("b", IkeConfig(max_sas_per_peer=4))
    for number in range(150):
        if contact or not answers:
            a = net.replace(a, key=ed25519_key(1))
        handle = a.connect(b, initial_contact=contact)
        net.run(0.2)
        assert handle.established
        party = b.endpoint._party
        assert len(party.by_spi) <= 9, f"{len(party.by_spi)} after {number} handshakes"
        assert len({sa for _, _, sa in party._timers}) <= 90, f"timers after {number} handshakes"
    net.run(300)
    assert not b.endpoint._party._going


def test_an_sa_that_is_gone_is_not_kept_until_its_life_would_have_ended() -> None:
    net = Net()
    config = IkeConfig(ike_lifetime_s=360_000, max_sas_per_peer=2)
    a, b = net.add("a", config), net.add("b", config)
    for _ in range(120):
        a.connect(b)
        net.run(70)
    for node in (a, b):
        party = node.endpoint._party
        assert len({sa for _, _, sa in party._timers}) < 90, "nobody points to most of them"
        assert len(node.endpoint.sas()) == 2
