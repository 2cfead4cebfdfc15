"""A conversation of two real endpoints as datagrams, key lines and capture files: a registration in fragments with a
policy document, an inband rekey, a GSA_REKEY, and two messages in clear."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from ipaddress import ip_address

from agents.gikev2 import GroupMember, KeyServer, notifies
from agents.gikev2.keys import make_group_keys
from agents.gikev2.rekey import RekeySa, RekeySender
from agents.ikev2 import (
    AuthRequest,
    Datagram,
    Established,
    Event,
    Identification,
    IkeConfig,
    IkeEndpoint,
    KeysDerived,
    LocalIdentity,
    PeerAddress,
    PeerKey,
    Request,
    RequestReceived,
    Send,
)
from agents.ikev2.keylog import KeyWrapEntry, TableEntry
from agents.ikev2.registry import Encr, ExchangeType, Integ
from agents.ipsec.protection import RoutingProtocol, Suite
from agents.policy.document import sign_document
from agents.policy.group import GroupState, SignedState
from agents.policy.names import GroupId, parse_party_id, party_id
from tests.unit.policy import samples

ADDRESS = {"r1": PeerAddress("10.1.0.1", 848), "r2": PeerAddress("10.1.0.2", 848)}
GROUP = GroupId.of("example", "r1", "r1-eth0", RoutingProtocol.OSPF)
REKEY_SA = RekeySa(bytes(range(1, 17)), bytes(range(68)))


def key_log_lines(sa: RekeySa) -> list[str]:
    """Lines of agents.ikev2.keylog, with which GSA_REKEY can be decrypted."""
    spi_i, spi_r, key = sa.spi[:8], sa.spi[8:], sa.keymat[:36]
    table = TableEntry(spi_i, spi_r, Encr.AES_GCM_16, 256, Integ.NONE, key, key)
    return [table.line(), KeyWrapEntry(spi_i, spi_r, sa.key_wrap_key).line()]


class Conversation:
    """r2 registers with r1 and is rekeyed; r1 ends with a GSA_REKEY. `datagrams`: (from, octets) in order."""

    def __init__(self, max_datagram: int = 500) -> None:
        self.datagrams: list[tuple[str, bytes]] = []
        self.key_lines: list[str] = []
        self.keys = [make_group_keys(samples.document("r1"), _source(100 + g), _state(g)) for g in (1, 2)]
        self._parties = {name: _endpoint(name, seed, max_datagram) for seed, name in enumerate(ADDRESS)}
        self._sa: dict[str, object] = {}
        member = GroupMember([Suite.ESP_AES128_SHA256], lambda group: samples.private_key("r1").public_key(), _floor)
        expected = Identification.key_id(party_id("example", "r1"))
        self._parties["r2"].connect(ADDRESS["r1"], expected, member.request(GROUP), 0.0)
        self._run()
        sender = RekeySender(REKEY_SA, samples.private_key("r1"), _source(9))
        self.datagrams.append(("r1", sender.message(KeyServer.rekey(self.keys[1], "r2", REKEY_SA.key_wrap_key))))
        self.key_lines += key_log_lines(REKEY_SA)

    def _run(self) -> None:
        busy = True
        while busy:
            busy = False
            for name, other in (("r1", "r2"), ("r2", "r1")):
                for effect in self._parties[name].take():
                    busy = True
                    if isinstance(effect, Send):
                        self.datagrams.append((name, effect.data))
                        self._parties[other].receive(Datagram(effect.data, ADDRESS[name], 255), 0.0)
                    else:
                        self._handle(name, effect)

    def _handle(self, name: str, event: Event) -> None:
        ours = self._parties[name]
        if isinstance(event, KeysDerived) and name == "r1":
            self.key_lines.append(event.line)
            assert event.key_wrap_line is not None
            self.key_lines.append(event.key_wrap_line)
        elif isinstance(event, AuthRequest):
            signed = sign_document(samples.document("r2"), samples.SERVER)
            extra = [notifies.policy_document(signed), notifies.reconnect_hint(7)]
            ours.respond(event.token, KeyServer.answer(self.keys[0], "r2", event.sa.key_wrap_key(), extra), 0.0)
        elif isinstance(event, Established) and name == "r1":
            rekey = KeyServer.rekey(self.keys[1], "r2", event.sa.key_wrap_key())
            ours.request(event.sa, ExchangeType.GSA_INBAND_REKEY, Request(rekey), 0.0)
        elif isinstance(event, RequestReceived):
            ours.respond(event.token, [], 0.0)


def _source(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def _state(generation: int) -> SignedState:
    return SignedState.sign(GroupState.of(GROUP, 3, generation, "lks"), samples.private_key("r1"))


def _floor(_group: GroupId) -> tuple[int, int]:
    return (0, 0)


def _endpoint(name: str, seed: int, max_datagram: int) -> IkeEndpoint:
    def authenticate(peer: Identification, _credential: object, _address: PeerAddress) -> PeerKey:
        return PeerKey(samples.private_key(parse_party_id(peer.data)[1]).public_key())

    identity = LocalIdentity(Identification.key_id(party_id("example", name)), samples.private_key(name))
    config = IkeConfig(log_keys=True, max_datagram=max_datagram)
    return IkeEndpoint(identity, authenticate, random=_source(seed), config=config, auth_exchange=ExchangeType.GSA_AUTH)


# -- capture files -----------------------------------------------------------------------------------


def ip_udp(source: str, target: str, data: bytes, port: int = 848) -> bytes:
    """An IP packet (either version) with a UDP datagram, checksums left out."""
    udp = struct.pack("!HHHH", port, port, 8 + len(data), 0) + data
    ends = ip_address(source).packed + ip_address(target).packed
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(udp), 17, 255) + ends + udp
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 255, 17, 0) + ends + udp


def pcap(packets: list[bytes]) -> bytes:
    """A classic capture of raw IP, a packet each second."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    return head + b"".join(struct.pack("<4I", at, 0, len(each), len(each)) + each for at, each in enumerate(packets))


def pcapng(packets: list[bytes], order: str = "<") -> bytes:
    """The same as pcapng with nanoseconds."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))

    resolution = struct.pack(order + "HHB3x", 9, 1, 9)
    out = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(1, struct.pack(order + "HxxI", 101, 0) + resolution)
    for at, each in enumerate(packets):
        time = at * 1_000_000_000
        out += block(6, struct.pack(order + "5I", 0, time >> 32, time & 0xFFFFFFFF, len(each), len(each)) + each)
    return out


def packets_of(datagrams: list[tuple[str, bytes]]) -> list[bytes]:
    """The conversation on the wire."""
    return [ip_udp(ADDRESS[name].ip, ADDRESS["r2" if name == "r1" else "r1"].ip, data) for name, data in datagrams]
