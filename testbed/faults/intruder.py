"""A machine that is plugged into segments without being asked: it hears, records, forges, and speaks IKE.

It sits on the segment's bridge, so it hears every frame, and what it sends reaches every port. `ears` are not its own:
raw sockets in the routers, beside those of their routing daemons, which say what gets as far as these.
It must not know what an experiment asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Sequence
from typing import Any

from agents.gikev2 import GroupMember
from agents.ikev2 import (
    Closed,
    Datagram,
    Established,
    IkeConfig,
    IkeEndpoint,
    LocalIdentity,
    PeerAddress,
    PeerKey,
    Send,
)
from agents.ikev2.codec.payloads import Identification
from agents.ikev2.registry import ExchangeType, Flag
from agents.ipsec.protection import RoutingProtocol, Suite
from agents.ipsec.xfrm import Xfrm
from agents.policy.keys import spki
from agents.policy.names import GroupId, party_id
from testbed.domains.build import PORT
from testbed.domains.keys import laboratory_key
from testbed.faults import packets
from testbed.net.laboratory import Laboratory

_ETHER_TYPES = {4: 0x0800, 6: 0x86DD}
_PROMISCUOUS = struct.Struct("@IHH8s")
_SOL_PACKET, _ADD_MEMBERSHIP, _MR_PROMISC, _OUTGOING = 263, 1, 1, 4
_IKE_PORT = 40848
"""The impostor's UDP port: not the one of the router whose address it takes."""
_PATIENCE_S = 8.0
_UDP_OCTETS = 8
_IPV6_FLOWINFO = 11
"""Both the option of a socket and the kind of what it then brings along (linux/in6.h)."""
_ROUTING = (packets.OSPF, packets.PIM)
_MARKS = {packets.FORGED: "forged", packets.REPLAYED: "replayed"}
"""Flow labels of IPv6, and what they mean."""


class Intruder:
    """One in each segment that it is told to go to."""

    def __init__(self, lab: Laboratory) -> None:
        self._lab, self._family = lab, lab.topology.family
        self._headers = packets.head_octets(self._family) + _UDP_OCTETS
        self._random = random.Random(f"{lab.seed}/intruder")
        self._ports: dict[str, socket.socket] = {}
        self._kept: dict[str, list[bytes]] = {}
        self._answers: dict[str, list[int]] = {}
        self._talks: dict[int, asyncio.Queue[bytes]] = {}
        self._ears: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard: dict[str, set[tuple[bytes, bytes]]] = {}

    # -- being there

    def taps(self, segment: str) -> bool:
        """Whether it is there."""
        return segment in self._ports

    def tap(self, segment: str) -> bool:
        """Go there; keep every routing packet from now on, protected or not; open the routers' ears there. False when
        it is there already."""
        if segment in self._ports:
            return False
        bridge = self._lab.wires.segment(segment).bridge
        with self._lab.wires.namespace.enter():
            kind = _ETHER_TYPES[self._family]
            port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
            port.bind((bridge, kind))
            member = _PROMISCUOUS.pack(socket.if_nametoindex(bridge), _MR_PROMISC, 0, b"")
            port.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, member)
        port.setblocking(False)
        self._ports[segment], self._kept[segment] = port, []
        asyncio.get_running_loop().add_reader(port, self._hear, segment)
        for node, _interface in self._lab.topology.segments[segment].members:
            if node in self._lab.topology.routers and node not in self._heard:
                self._open_ears(node)
        self._record_event(segment, "tap")
        return True

    def _hear(self, segment: str) -> None:
        port = self._ports[segment]
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                data, address = port.recvfrom(65535)
                opened = packets.opened(data)
                if address[2] == _OUTGOING or opened is None:
                    continue
                if opened.protocol in (packets.ESP, *_ROUTING):
                    self._kept[segment].append(data)
                elif opened.protocol == packets.UDP and len(data) > self._headers:
                    self._count_answer(segment, data)
                    talk = self._talks.get(int.from_bytes(data[opened.at + 2 : opened.at + 4], "big"))
                    if talk is not None:
                        talk.put_nowait(data[self._headers :])

    def _count_answer(self, segment: str, data: bytes) -> None:
        """Answers to IKE_SA_INIT, whoever gets them: what a flood under others' addresses makes a router send them."""
        ike = data[self._headers :]
        if len(ike) >= 28 and ike[18] == ExchangeType.IKE_SA_INIT and ike[19] & Flag.RESPONSE:
            counts = self._answers.setdefault(segment, [0, 0])
            counts[0] += 1
            counts[1] += len(ike)

    # -- the routers' ears

    def _open_ears(self, node: str) -> None:
        self._heard[node] = set()
        for protocol in _ROUTING:
            family = socket.AF_INET if self._family == 4 else socket.AF_INET6
            with self._lab.node(node).net_namespace.enter():
                ear = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
            listen = self._listen
            if self._family == 6:
                ear.setsockopt(socket.IPPROTO_IPV6, _IPV6_FLOWINFO, 1)
                listen = self._listen6
            self._ears.append(ear)
            asyncio.get_running_loop().add_reader(ear, listen, node, ear)

    def _listen(self, node: str, ear: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._sort(node, ear.recv(65535))

    def _listen6(self, node: str, ear: socket.socket) -> None:
        """By the flow label, which is all of the header that the kernel passes on."""
        with contextlib.suppress(BlockingIOError):
            while True:
                _data, ancillary, _flags, _source = ear.recvmsg(65535, socket.CMSG_SPACE(4))
                labels = [int.from_bytes(value[:4], "big") & 0xFFFFF for level, kind, value in ancillary
                          if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_FLOWINFO)]  # fmt: skip
                for label in labels:
                    if label in _MARKS:
                        protocol = ear.proto
                        self._lab.record(node, "probe", "intruded", what=_MARKS[label], protocol=protocol)

    def _sort(self, node: str, packet: bytes) -> None:
        """Forged, or one that has been there before: on record."""
        mark = (packet[4:6] + packet[12:16], packet[20:])
        forged = int.from_bytes(packet[4:6], "big") == packets.FORGED
        again = mark in self._heard[node]
        self._heard[node].add(mark)
        if forged or again:
            kind = "forged" if forged else "replayed"
            self._lab.record(node, "probe", "intruded", what=kind, protocol=packet[9])

    # -- what it does

    def inject(
        self, segment: str, frames: Sequence[str], copies: int, gap_s: float, fresh: Sequence[tuple[int, int]]
    ) -> None:
        """Send frames (hexadecimal), all `copies` times. `fresh`: [place, octets] that are drawn anew each time."""
        self._begin(self._send_all(segment, [bytes.fromhex(each) for each in frames] * copies, gap_s, fresh))

    async def _send_all(
        self, segment: str, frames: list[bytes], gap_s: float, fresh: Sequence[tuple[int, int]]
    ) -> None:
        self._answers[segment] = [0, 0]
        for data in frames:
            changed = bytearray(data)
            for offset, octets in fresh:
                changed[offset : offset + octets] = self._random.randbytes(octets)
            self._send(segment, packets.summed(bytes(changed)) if fresh else data)
            if gap_s:
                await asyncio.sleep(gap_s)
        answers, octets = self._answers[segment]
        sent = sum(len(each) - self._headers for each in frames)
        self._record_event(segment, "sent", frames=len(frames), octets=sent, answers=answers, answer_octets=octets)

    def _send(self, segment: str, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._ports[segment].send(data)

    def replay(self, segment: str, tamper: bool = False) -> None:
        """All that was kept goes again; with `tamper`, ESP with a later sequence number and its last octet changed."""
        kept = list(self._kept[segment])
        if tamper:
            kept = [self._tampered(each) for each in kept if self._is(each, packets.ESP)]
        for data in kept:
            self._send(segment, data if self._family == 4 else packets.relabelled(data, packets.REPLAYED))
        self._record_event(segment, "replayed", frames=len(kept), tampered=tamper)

    def _is(self, data: bytes, protocol: int) -> bool:
        opened = packets.opened(data)
        return opened is not None and opened.protocol == protocol

    def _tampered(self, data: bytes) -> bytes:
        at = packets.head_octets(self._family) + 4
        later = (int.from_bytes(data[at : at + 4], "big") + (1 << 20)) & 0xFFFFFFFF
        return data[:at] + later.to_bytes(4, "big") + data[at + 4 : -1] + bytes([data[-1] ^ 1])

    def impersonate(self, segment: str, insider: str, speaker: str, payload: str) -> None:
        """Send an OSPF packet as `speaker` here, with all that `insider` has: the keys under which it hears that
        speaker, the key of OSPF's own authentication, or in clear when it has neither."""
        source = self._interface(segment, speaker).hop(self._family)
        group = packets.all_ospf(self._family)
        with Xfrm(self._lab.node(insider).net_namespace.fd) as kernel:
            held = [sa for sa in kernel.dump_sas()
                    if sa.destination == group and (sa.source == source or sa.source.is_unspecified)]  # fmt: skip
        body, heard, at = bytes.fromhex(payload), self._kept[segment], packets.head_octets(self._family)
        made = []
        for sa in held:
            last = [int.from_bytes(each[at + 4 : at + 8], "big") for each in heard
                    if self._is(each, packets.ESP) and each[at : at + 4] == sa.spi.to_bytes(4, "big")]  # fmt: skip
            sealed = packets.esp(sa, max(last, default=0) + 1, packets.OSPF, body, self._random.randbytes)
            made.append((packets.ESP, sealed))
        # What is signed is OSPFv2's (RFC 5709); OSPFv3's trailer (RFC 7166) is not forged.
        key = self._lab.keying.ospf_key(insider) if self._family == 4 else None
        if not held and key is not None:
            last = [packets.ospf_sequence(each[34:]) for each in heard
                    if each[23] == packets.OSPF and each[26:30] == source.packed]  # fmt: skip
            made.append((packets.OSPF, packets.ospf_signed(body, *key, max(last, default=0) + 1)))
        for protocol, octets in made or [(packets.OSPF, body)]:
            self._send(segment, packets.frame(source, group, protocol, octets))
        how = "ipsec" if held else "clear" if key is None else "authenticated"
        self._record_event(segment, "impersonated", insider=insider, speaker=speaker, how=how, frames=max(1, len(made)))

    def impostor(self, segment: str, victim: str, router: str, name: str, key: str) -> None:
        """Speak IKE to `victim` from the address of `router`, as `name`, with the key of `key`."""
        self._begin(self._speak_ike(segment, victim, router, name, key))

    async def _speak_ike(self, segment: str, victim: str, router: str, name: str, key: str) -> None:
        topology, seed, loop = self._lab.topology, self._lab.seed, asyncio.get_running_loop()
        here, there = self._interface(segment, router), self._interface(segment, victim)
        domain, server = topology.domain, laboratory_key(seed, victim).public_key()
        port = _IKE_PORT + len(self._talks)
        talk = self._talks[port] = asyncio.Queue()
        endpoint = IkeEndpoint(
            LocalIdentity(Identification.key_id(party_id(domain, name)), laboratory_key(seed, key)),
            lambda _claimed, _credential, _address: PeerKey.from_spki(spki(laboratory_key(seed, victim))),
            random=self._random.randbytes,
            config=IkeConfig(hop_limit=255),
            auth_exchange=ExchangeType.GSA_AUTH,
        )
        member = GroupMember((Suite.default(),), lambda _group, _issuer: server, lambda _group: None)
        ours, theirs = here.hop(self._family), there.hop(self._family)
        peer = PeerAddress(str(theirs), PORT, str(ours), "", port)
        protocol = RoutingProtocol.OSPF if self._family == 4 else RoutingProtocol.OSPF6
        wanted = GroupId.of(domain, victim, there.name, protocol)
        expected = Identification.key_id(party_id(domain, victim))
        endpoint.connect(peer, expected, member.request(wanted), loop.time(), initial_contact=False)
        outcome, end = "no answer", loop.time() + _PATIENCE_S
        while loop.time() < end and outcome == "no answer":
            for effect in iter(endpoint.take, []):
                for each in effect:
                    if isinstance(each, Send):
                        body = packets.udp(port, PORT, each.data)
                        data = packets.frame(ours, theirs, packets.UDP, body, mac=there.mac, ttl=255)
                        self._send(segment, data)
                    elif isinstance(each, Established):
                        outcome = "admitted"
                    elif isinstance(each, Closed):
                        outcome = f"rejected: {each.reason.name.lower()}, notify {each.notify}"
            if outcome != "no answer":
                break
            due = min(endpoint.next_timer() or end, end)
            with contextlib.suppress(TimeoutError):
                answer = await asyncio.wait_for(talk.get(), max(0.001, due - loop.time()))
                endpoint.receive(Datagram(answer, peer, 255), loop.time())
            endpoint.tick(loop.time())
        self._record_event(segment, "impostor", victim=victim, name=name, key=key, outcome=outcome)

    # -- helpers

    def _interface(self, segment: str, router: str) -> Any:
        return next(each for each in self._lab.topology.routers[router].interfaces if each.segment == segment)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _record_event(self, segment: str, kind: str, **fields: Any) -> None:
        self._lab.record("intruder", "probe", kind, segment=segment, **fields)
