"""An outsider: has no key, sees every datagram, and sends what it likes in anybody's name, at every moment.

What it says over SAs that it saw must change nothing at all, and is judged by the digest of the party's whole state
(`unsealed`). What it says before there are keys (IKE_SA_INIT) may begin or delay a handshake, and never ends one.
Draws from a stream of its own, and what it says leaves no trace where the rule holds, so that a seed's other faults
are what they would be without it. Knows nothing of what any party makes of a datagram.
"""

from __future__ import annotations

import random
import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from agents.ikev2 import Datagram, NotifyPayload
from agents.ikev2.codec.header import Header, encode_header, parse_header
from agents.ikev2.codec.payloads import encode_payloads
from agents.ikev2.errors import MalformedMessage
from agents.ikev2.registry import ExchangeType, Flag, PayloadType
from agents.runtime.effects import Effect, Event, Send
from testbed.simulation.simulation import Node
from testbed.simulation.wires import Passing
from testbed.soak.unsealed import claims_to_be_sealed, digest, uncounted

if TYPE_CHECKING:
    from testbed.soak.world import World

T = TypeVar("T")
Pick = Callable[[int], int]
"""A number below this one."""
INVARIANT = "no unsealed datagram changes anything"
ATTEMPT = "no unsealed answer ends an attempt"
_HEADER = 28
_SEEN = 24
# Of the datagrams that pass, and of the first messages among them.
_SHARE, _FIRST_SHARE = 0.005, 0.03
_MOST = 16
"""Datagrams of a volley; and first messages to one party, so that its half-open SAs stay the others' too."""
_EXCHANGES = (34, 35, 36, 37, 39, 40, 41, 43, 200)
_FLAGS = (0, int(Flag.INITIATOR), int(Flag.RESPONSE), int(Flag.RESPONSE | Flag.INITIATOR))
_MESSAGE_IDS = (0, 1, 2, 3, 0xFFFFFFFF)
_REFUSALS = (7, 14, 17, 24, 16390, 8000)
"""INVALID_SYNTAX, NO_PROPOSAL_CHOSEN, INVALID_KE_PAYLOAD, AUTHENTICATION_FAILED, COOKIE, and one that nobody knows."""


def _payload(kind: int, body: bytes, length: int | None = None, following: int = 0) -> tuple[int, bytes]:
    return kind, struct.pack("!BBH", following, 0, 4 + len(body) if length is None else length) + body


BODIES = (
    _payload(int(PayloadType.SK), b"", 0xFFFF),
    _payload(int(PayloadType.SK), bytes(64)),
    _payload(int(PayloadType.SK), b""),
    _payload(int(PayloadType.SKF), b""),
    _payload(int(PayloadType.SKF), bytes(44)),
    _payload(int(PayloadType.SKF), b"\0\1\0\2" + bytes(40)),
    _payload(int(PayloadType.SKF), b"\0\1\xff\xff" + bytes(40)),
    _payload(43, b"", 3, int(PayloadType.SK)),
    (0, b""),
    *(_payload(41, struct.pack("!BBH", 0, 0, kind)) for kind in (*_REFUSALS, 4, 11)),
    _payload(42, struct.pack("!BBH", 1, 0, 0)),
)
"""Payloads that need no key, with their types: seals that do not fit, notifications and a Delete in clear."""


def forged(seen: Sequence[bytes], pick: Pick) -> bytes:
    """Something that nobody with a key sent, made of what was: over an SA that stands or comes about."""
    data = seen[pick(len(seen))]
    head, way = parse_header(data), pick(8)
    octets = bytearray(data)
    if head.exchange == ExchangeType.IKE_SA_INIT or way == 0:
        kind, body = BODIES[pick(len(BODIES))]
        number = (*_MESSAGE_IDS, head.message_id, (head.message_id + 1) & 0xFFFFFFFF)[pick(len(_MESSAGE_IDS) + 2)]
        exchange = _EXCHANGES[1 + pick(len(_EXCHANGES) - 1)]
        spi_r = head.spi_r if pick(8) else bytes(8)
        return _message(Header(head.spi_i, spi_r, kind, exchange, _FLAGS[pick(4)], number), body)
    match way:
        case 1:
            del octets[pick(len(octets)) :]
        case 2:
            octets[pick(len(octets))] ^= 1 << pick(8)
        case 3:
            offset = _HEADER + pick(max(1, len(octets) - _HEADER))
            octets[offset:] = bytes(each ^ 0xA5 for each in octets[offset:])
        case 4:
            other = seen[pick(len(seen))]
            return _message(head, other[_HEADER:], next_payload=other[16])
        case 5:
            number = (head.message_id + 1 + pick(3)) & 0xFFFFFFFF
            return _message(replace(head, message_id=number, flags=_FLAGS[pick(4)]), data[_HEADER:])
        case 6:
            body = struct.pack("!HH", pick(4), pick(4)) + data[_HEADER + 4 :]
            return _message(head, _payload(int(PayloadType.SKF), body)[1], next_payload=int(PayloadType.SKF))
        case _:
            octets += bytes(1 + pick(64))
    return bytes(octets)


def _message(head: Header, body: bytes, next_payload: int | None = None) -> bytes:
    kind = head.next_payload if next_payload is None else next_payload
    return encode_header(replace(head, next_payload=kind), _HEADER + len(body)) + body


def first(data: bytes, pick: Pick) -> bytes:
    """A first message or an answer to one, made of one that was seen: another's request, or a refusal."""
    head = parse_header(data)
    if not head.is_response and pick(2):
        kind = _REFUSALS[pick(len(_REFUSALS))]
        octets = {17: b"\0\x13", 16390: bytes([pick(256)]) * (1 + pick(70))}.get(kind, b"")
        named, body = encode_payloads([NotifyPayload(kind, octets)])
        flags = int(Flag.RESPONSE)
        return _message(Header(head.spi_i, bytes(8), named, int(ExchangeType.IKE_SA_INIT), flags, 0), body)
    header = bytearray(data)
    header[_HEADER + pick(len(header) - _HEADER)] ^= 1 << pick(8)
    if not head.is_response and pick(2):
        header[pick(8)] ^= 1 + pick(255)
    return bytes(header)


def stir(core: object, datagrams: Sequence[Datagram], now: float) -> str | None:
    """Give a party all of these, none of which anybody sealed; what they changed, or None. Counters of what was
    dropped do not count, and are left as they are."""
    before, timer = digest(core), core.next_timer()  # type: ignore[attr-defined]
    with uncounted(core):
        for each in datagrams:
            core.receive(each, now)  # type: ignore[attr-defined]
            if effects := _but_drops(core.take()):  # type: ignore[attr-defined]
                return f"{each.data[:48].hex()} of {len(each.data)} octets brought {effects[0]}"
    if core.next_timer() != timer:  # type: ignore[attr-defined]
        return f"one of {_heads(datagrams)} set another timer"
    return None if digest(core) == before else f"one of {_heads(datagrams)} changed the state"


def _but_drops(effects: Sequence[Effect]) -> list[Effect]:
    return [each for each in effects if not (isinstance(each, Event) and each.kind == "dropped")]


def _heads(datagrams: Sequence[Datagram]) -> str:
    return ", ".join(each.data[:_HEADER].hex() for each in datagrams)


class Outsider:
    """Of one world. Shown every datagram that passes."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._chance = world, random.Random(f"outsider {seed}")
        self._seen: dict[frozenset[str], deque[Passing]] = {}
        self._begun: Counter[str] = Counter()

    def saw(self, passing: Passing) -> None:
        """This is on its way; sometimes something goes with it."""
        seen = self._seen.setdefault(frozenset({passing.sender, passing.receiver}), deque(maxlen=_SEEN))
        seen.append(passing)
        is_first = not claims_to_be_sealed(passing.datagram.data)
        if self._chance.random() < (_FIRST_SHARE if is_first else _SHARE):
            when = self._world.now + self._chance.uniform(0.0, 0.02)
            self._world.at(when, lambda: self._attack(passing, list(seen)))
            if is_first:
                self._world.at(when, lambda: self._begin(passing))

    def _node(self, name: str) -> Node | None:
        node = self._world.nodes[name]
        return node if node.core is not None and node.up else None

    def _attack(self, passing: Passing, seen: Sequence[Passing]) -> None:
        """To the receiver, in the sender's name, over all that the two have said."""
        node = self._node(passing.receiver)
        if node is None or node.core is None:
            return
        timer = node.core.next_timer()
        if timer is not None and timer <= self._world.now:
            return  # what is due may be done with any datagram
        octets = {each.datagram.data for each in seen}
        made = [forged([each.datagram.data for each in seen], self._chance.randrange) for _ in range(_MOST)]
        made = [each for each in made if each not in octets and claims_to_be_sealed(each)]
        peer = passing.datagram.peer
        if self._chance.random() < 0.25:
            peer = replace(peer, port=1024 + self._chance.randrange(60_000))
        sent = [replace(passing.datagram, data=each, peer=peer) for each in made]
        changed = self._apart(lambda: stir(node.core, sent, self._world.now))
        self._world.judge.hold(INVARIANT, changed is None, f"{node.name}: {changed}")

    def _begin(self, passing: Passing) -> None:
        """A first message to its receiver, or a refusal to its sender, as if the other had sent it."""
        if self._begun[passing.receiver] >= _MOST:
            return
        self._begun[passing.receiver] += 1
        data = first(passing.datagram.data, self._chance.randrange)
        answer = parse_header(data).is_response and not parse_header(passing.datagram.data).is_response
        name, datagram = passing.receiver, replace(passing.datagram, data=data)
        if answer:
            back = next((each for each in self._seen[frozenset({passing.sender, passing.receiver})]
                         if each.receiver == passing.sender), None)  # fmt: skip
            if back is None:
                return
            name, datagram = passing.sender, replace(back.datagram, data=data)
        node = self._node(name)
        if node is None or node.core is None:
            return
        core, now = node.core, self._world.now
        timer = core.next_timer()
        if timer is not None and timer <= now:
            return

        def say() -> list[Effect]:
            with uncounted(core):
                core.receive(datagram, now)
                return _but_drops(core.take())

        effects = self._apart(say)
        sent = [each for each in effects if isinstance(each, Send)]
        others = [each for each in effects if not isinstance(each, Send)
                  and not (isinstance(each, Event) and each.kind == "request")]  # fmt: skip
        hold = self._world.judge.hold
        hold(ATTEMPT, not others, f"{name}: {data[:48].hex()} of {len(data)} octets brought {others[:1]}")
        if not answer:
            replies = sum(len(each.data) for each in sent if _answers(each.data))
            hold("no answer to a stranger is longer than what came", replies <= len(data), f"{name}: {replies}")
        for each in sent:
            if not _answers(each.data):
                self._world.do(node, each)
        self._world.after(node)

    def _apart(self, job: Callable[[], T]) -> T:
        """What this takes of chance is the outsider's own."""
        world = self._world
        kept, world.random = world.random, self._chance
        try:
            return job()
        finally:
            world.random = kept


def _answers(data: bytes) -> bool:
    try:
        return parse_header(data).is_response
    except MalformedMessage:
        return False
