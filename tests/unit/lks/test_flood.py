"""What a stranger who can send on a link makes an LKS write down, and send to others."""

from __future__ import annotations

import random

import pytest

from agents.ikev2 import Datagram, IkeConfig, IkeEndpoint, LocalIdentity, PeerAddress, Send
from agents.ikev2.codec.header import parse_header
from agents.ikev2.codec.payloads import Identification
from agents.ikev2.registry import ExchangeType, Flag
from agents.policy.names import party_id
from agents.runtime.drops import EACH, OTHERS, REASONS, WINDOW_S, Drops
from testbed.simulation.network import Network
from testbed.simulation.parties import key
from testbed.simulation.wires import Passing

PAIR = {"a--b": ("a", "b")}
AT_A = PeerAddress("10.0.0.2", 848, "10.0.0.1", "a-e0", 848)
"""What `a` sees of a datagram that seems to come from `b`."""
FLOOD = 400


def first_message(number: int) -> bytes:
    """A good IKE_SA_INIT of a party that nobody knows."""
    identity = LocalIdentity(Identification.key_id(party_id("example", "stranger")), key("stranger"))
    endpoint = IkeEndpoint(
        identity, lambda *_: None, random=random.Random(number).randbytes, config=IkeConfig(),
        auth_exchange=ExchangeType.GSA_AUTH,
    )  # fmt: skip
    endpoint.connect(AT_A, Identification.key_id(party_id("example", "a")), [], 0.0)
    return next(effect.data for effect in endpoint.take() if isinstance(effect, Send))


def flooded(network: Network, messages: list[bytes], seconds: float) -> list[bytes]:
    """What `a` sends meanwhile, when these come from b's address, evenly spread."""
    sent: list[bytes] = []

    def watch(passing: Passing) -> Passing:
        if passing.datagram.peer.ip == AT_A.local_ip:
            sent.append(passing.datagram.data)
        return passing

    network.wires.tap = watch
    for data in messages:
        network.deliver("a", Datagram(data, AT_A, 255))
        network.run(network.now + seconds / len(messages))
    network.wires.tap = None
    return sent


def told(network: Network, node: str) -> tuple[int, int]:
    """How many lines a node wrote of dropped datagrams, and how many datagrams they speak of."""
    lines = network.seen("dropped", node)
    return len(lines), sum(each.fields.get("suppressed", 1) for each in lines)


def test_a_stranger_s_rubbish_fills_no_event_log_and_is_counted() -> None:
    network = Network(PAIR)
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.run(network.now + 5)  # until repeats of what has been answered are over
    before = told(network, "a")
    flooded(network, [b"rubbish" * 10] * FLOOD, 10.0)
    network.run(network.now + WINDOW_S + 1)
    lines, datagrams = (now - then for now, then in zip(told(network, "a"), before, strict=True))
    assert datagrams == FLOOD
    assert lines == EACH + 1


def test_a_forged_first_message_costs_the_neighbour_no_more_octets_than_the_stranger() -> None:
    network = Network(PAIR)
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.run(network.now + 5)
    messages = [first_message(number) for number in range(FLOOD)]
    before = told(network, "b")
    sent = [data for data in flooded(network, messages, 10.0) if parse_header(data).exchange == 34]
    replies = [data for data in sent if parse_header(data).flags & Flag.RESPONSE]
    assert 0 < len(replies) <= FLOOD
    # Two half-open SAs of an address at a time, which last 10 s; every other answer is a cookie (RFC 7296, 2.6).
    assert sum(len(data) > 100 for data in replies) <= 4
    assert sum(map(len, replies)) < sum(map(len, messages)) / 2
    network.run(network.now + WINDOW_S + 1)
    lines, datagrams = (now - then for now, then in zip(told(network, "b"), before, strict=True))
    assert datagrams >= len(replies) - 4
    assert lines <= EACH + 1
    assert network.all_keyed()


@pytest.mark.parametrize("forged", [False, True])
def test_forged_first_messages_do_not_make_a_router_call_a_dead_neighbour_more_often(forged: bool) -> None:
    network = Network(PAIR)
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    network.power_off("b")
    network.run(network.now + 60)
    sent = flooded(network, [first_message(each) if forged else b"rubbish" for each in range(FLOOD)], 10.0)
    calls = [data for data in sent if not parse_header(data).flags & Flag.RESPONSE]
    assert 0 < len(calls) <= 14  # its own retransmissions, one in a second


# -- counting


def test_after_a_quiet_window_drops_are_told_one_by_one_again() -> None:
    lines: list[dict[str, object]] = []
    drops = Drops(lambda kind, **fields: lines.append(fields), "eth0")
    for number in range(EACH + 2):
        drops.saw("192.0.2.1", "hop limit", number)
    assert drops.next_timer() == WINDOW_S
    drops.tick(WINDOW_S - 0.1)
    assert len(lines) == EACH
    drops.tick(WINDOW_S)
    assert lines[-1] == {"interface": "eth0", "peer": None, "reason": "hop limit", "suppressed": 2}
    assert drops.next_timer() is None
    drops.saw("192.0.2.1", "hop limit", WINDOW_S + 1)
    assert lines[-1]["peer"] == "192.0.2.1"


@pytest.mark.parametrize("reasons", [REASONS, 1000])
def test_reasons_that_a_stranger_makes_up_are_bounded_too(reasons: int) -> None:
    lines: list[dict[str, object]] = []
    drops = Drops(lambda kind, **fields: lines.append(fields), "eth0")
    for number in range(reasons):
        word = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        drops.saw("192.0.2.1", f"payload {word}", 0.0)
    drops.tick(WINDOW_S)
    assert len(lines) <= REASONS + EACH + 1
    assert sum(int(str(each.get("suppressed", 1))) for each in lines) == reasons
    assert (OTHERS in {each["reason"] for each in lines}) is (reasons > REASONS)


def test_numbers_that_a_stranger_puts_into_a_datagram_make_no_reason_of_their_own() -> None:
    told: list[dict[str, object]] = []
    drops = Drops(lambda _kind, **fields: told.append(fields), "e0")
    for number in range(100):
        drops.saw("10.0.0.9", f"header says {number} octets", 0.0)
    drops.saw("10.0.0.9", "hop limit", 0.0)
    assert [each["reason"] for each in told] == [*(f"header says {n} octets" for n in range(EACH)), "hop limit"]
