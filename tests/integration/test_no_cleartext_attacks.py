"""What an intruder on the link can make a protected router hear or say: nothing.

Plain raw sockets stand in for the routing daemons, so that every packet is counted.
"""

from __future__ import annotations

import itertools
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ipsec_lab import INTERFACE, SWITCH, Link, Router, inside, let_links_settle, run

from agents.ipsec.guard import NftGuard
from agents.ipsec.model import Wanted
from agents.ipsec.plan import wanted_state
from agents.ipsec.protection import GroupSa, Mode, ProtectedInterface, RoutingProtocol
from agents.ipsec.reconciler import Reconciler
from agents.ipsec.xfrm import Request, Xfrm

pytestmark = pytest.mark.guest

OSPF, OSPF6, PIM = RoutingProtocol.OSPF, RoutingProtocol.OSPF6, RoutingProtocol.PIM
ALL = (OSPF, OSPF6, PIM)
GROUP = {OSPF: "224.0.0.5", OSPF6: "ff02::5", PIM: "224.0.0.13"}


@pytest.fixture
def lan() -> Iterator[Link]:
    link = Link("lan", 3)
    try:
        yield link
    finally:
        link.close()


class Ear:
    """A routing daemon's ear: a raw socket of one protocol in a router."""

    def __init__(self, router: Router, protocol: RoutingProtocol, interfaces: Iterable[str] = (INTERFACE,)) -> None:
        def open_() -> socket.socket:
            ear = socket.socket(protocol.family, socket.SOCK_RAW, protocol.ip_protocol)
            for interface in interfaces:
                index = socket.if_nametoindex(interface)
                for group in protocol.reserved_groups:
                    if protocol.family == socket.AF_INET:
                        member = struct.pack("=4s4si", group.packed, bytes(4), index)
                        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
                    else:
                        member = struct.pack("=16si", group.packed, index)
                        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
            ear.settimeout(0.05)
            return ear

        self._cut = 20 if protocol.family == socket.AF_INET else 0
        self._socket = inside(router.name, open_)

    def heard(self) -> list[bytes]:
        """The payloads since the last time."""
        out = []
        try:
            while True:
                out.append(self._socket.recv(2048)[self._cut :])
        except TimeoutError:
            return out


def ipv4_header(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    length = 20 + len(payload)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    return struct.pack("!BBHHHBBH", 0x45, 0xC0, length, 0, 0, 1, protocol, 0) + addresses + payload


def say(
    router: Router | str,
    protocol: RoutingProtocol,
    destination: str,
    payload: bytes,
    source: str | None = None,
    header: bool = True,
    interface: str = INTERFACE,
) -> bool:
    """Send as a routing daemon does: IPv4 with a header of its own (`header`), or without.

    False when the kernel refused to send.
    """
    name = router if isinstance(router, str) else router.name

    def send() -> bool:
        with socket.socket(protocol.family, socket.SOCK_RAW, protocol.ip_protocol) as mouth:
            mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            data = payload
            if protocol.family == socket.AF_INET and header:
                assert isinstance(router, Router) or source
                own = source or str(router.ipv4)
                mouth.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
                data = ipv4_header(own, destination, protocol.ip_protocol, payload)
            try:
                if protocol.family == socket.AF_INET:
                    mouth.sendto(data, (destination, 0))
                else:
                    mouth.sendto(data, (destination, 0, 0, socket.if_nametoindex(interface)))
            except OSError:
                return False
            return True

    return inside(name, send)


class Wire:
    """Frames seen at one end of the link, and frames put onto it."""

    def __init__(self, namespace: str, interface: str) -> None:
        def open_() -> socket.socket:
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
            tap.bind((interface, 0))
            tap.settimeout(0.05)
            return tap

        self._socket = inside(namespace, open_)

    def frames(self) -> list[bytes]:
        out = []
        try:
            while True:
                data, (_, _, direction, *_) = self._socket.recvfrom(2048)
                if direction != socket.PACKET_OUTGOING:
                    out.append(data)
        except TimeoutError:
            return out

    def protocols(self) -> list[int]:
        """The IP protocol of every IP frame seen."""
        seen = self.frames()
        v4 = [f[23] for f in seen if f[12:14] == b"\x08\x00"]
        return v4 + [f[20] for f in seen if f[12:14] == b"\x86\xdd"]

    def put(self, frame: bytes) -> None:
        self._socket.send(frame)


def added(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}


def protect_all(link: Link, protocols: Iterable[RoutingProtocol] = ALL) -> None:
    for router in link.routers:
        link.protect(router, protocols, link.keys(router, protocols))


@pytest.mark.parametrize("protocol", ALL)
def test_a_protected_packet_is_heard_by_every_neighbour(lan: Link, protocol: RoutingProtocol) -> None:
    protect_all(lan)
    ears = [Ear(router, protocol) for router in lan.routers[1:]]
    say(lan.routers[0], protocol, GROUP[protocol], b"hello")
    assert [ear.heard() for ear in ears] == [[b"hello"], [b"hello"]]


def test_unicast_ospf_is_protected_and_heard_however_the_daemon_sends_it(lan: Link) -> None:
    protect_all(lan)
    first, second, _ = lan.routers
    wire, ear, ear6 = Wire(SWITCH, "p-r1"), Ear(second, OSPF), Ear(second, OSPF6)
    say(first, OSPF, str(second.ipv4), b"with header")
    say(first, OSPF, str(second.ipv4), b"without", header=False)
    say(first, OSPF6, str(second.ipv6), b"six")
    assert ear.heard() == [b"with header", b"without"]
    assert ear6.heard() == [b"six"]
    numbers = wire.protocols()
    assert numbers.count(50) == 3
    assert 89 not in numbers


@pytest.mark.parametrize("source", ["10.0.0.66", "10.0.0.1", "10.0.0.3", "203.0.113.9"])
@pytest.mark.parametrize("protocol", [OSPF, PIM])
def test_cleartext_is_dropped_whatever_its_source(lan: Link, protocol: RoutingProtocol, source: str) -> None:
    protect_all(lan)
    victim = lan.routers[1]
    lan.plug_rogue()
    ear, before = Ear(victim, protocol), victim.xfrm_stat()
    destinations = [GROUP[protocol]] + ([str(victim.ipv4)] if protocol is OSPF else [])
    for destination in destinations:
        assert say("rogue", protocol, destination, b"intruder", source)
    assert ear.heard() == []
    drops = added(before, victim.xfrm_stat())
    reason = "XfrmInTmplMismatch" if source.startswith("10.0.0.") else "XfrmInPolBlock"
    # PIM is counted twice: for the raw socket, and for the kernel's own PIM handler.
    assert drops == {reason: 2}


def test_cleartext_ospfv3_is_dropped_from_any_source(lan: Link) -> None:
    protect_all(lan)
    victim = lan.routers[1]
    lan.plug_rogue()
    ear, before = Ear(victim, OSPF6), victim.xfrm_stat()
    for destination in ("ff02::5", "ff02::6", str(victim.ipv6)):
        assert say("rogue", OSPF6, destination, b"intruder")
    assert ear.heard() == []
    assert added(before, victim.xfrm_stat()) == {"XfrmInTmplMismatch": 3}


def test_a_replayed_packet_is_dropped(lan: Link) -> None:
    protect_all(lan)
    first, victim, _ = lan.routers
    wire, port, ear = Wire(SWITCH, "p-r1"), Wire(SWITCH, "p-r2"), Ear(victim, OSPF)
    say(first, OSPF, GROUP[OSPF], b"once")
    assert ear.heard() == [b"once"]
    (frame,) = [f for f in wire.frames() if f[23] == 50]
    before = victim.xfrm_stat()
    for _ in range(3):
        port.put(frame)
    assert ear.heard() == []
    assert added(before, victim.xfrm_stat()) == {"XfrmInStateSeqError": 3}


def test_an_unknown_spi_and_a_changed_packet_are_dropped(lan: Link) -> None:
    protect_all(lan)
    first, victim, _ = lan.routers
    wire, port, ear = Wire(SWITCH, "p-r1"), Wire(SWITCH, "p-r2"), Ear(victim, OSPF)
    lan.protect(victim, ALL, [])
    say(first, OSPF, GROUP[OSPF], b"unheard")
    (frame,) = [f for f in wire.frames() if f[23] == 50]
    lan.protect(victim, ALL, lan.keys(victim, ALL))
    before = victim.xfrm_stat()
    port.put(frame[:34] + b"\x12\x34\x56\x78" + frame[38:])
    port.put(frame[:-1] + bytes([frame[-1] ^ 1]))
    assert ear.heard() == []
    assert added(before, victim.xfrm_stat()) == {"XfrmInNoStates": 1, "XfrmInStateProtoError": 1}


def test_a_member_cannot_speak_as_another_with_the_others_key(lan: Link) -> None:
    protect_all(lan)
    first, victim, insider = lan.routers
    ear, before = Ear(victim, OSPF), victim.xfrm_stat()
    stolen = [
        replace(key, outbound=True, speaker=insider.ipv4)
        for key in lan.keys(insider, (OSPF,))
        if key.speaker == first.ipv4 and str(key.destination) == GROUP[OSPF]
    ]
    lan.protect(insider, (OSPF,), stolen)
    assert say(insider, OSPF, GROUP[OSPF], b"I am r1")
    assert ear.heard() == []
    assert added(before, victim.xfrm_stat()) == {"XfrmInStateMismatch": 1}


def test_a_replay_floor_keeps_old_packets_from_a_rebooted_receiver(lan: Link) -> None:
    protect_all(lan)
    first, victim, _ = lan.routers
    wire, port, ear = Wire(SWITCH, "p-r1"), Wire(SWITCH, "p-r2"), Ear(victim, OSPF)
    for number in range(5):
        say(first, OSPF, GROUP[OSPF], b"%d" % number)
    old = [f for f in wire.frames() if f[23] == 50]
    assert len(ear.heard()) == len(old) == 5
    with Xfrm(f"/run/netns/{first.name}") as xfrm:
        (own,) = [k for k in lan.keys(first, (OSPF,)) if k.outbound and str(k.destination) == GROUP[OSPF]]
        floor = Reconciler(xfrm).sequence(own.spi, own.destination)
    assert floor == 5
    lan.protect(victim, ALL, [])
    lan.protect(victim, ALL, lan.keys(victim, ALL, floor=floor))
    before = victim.xfrm_stat()
    for frame in old:
        port.put(frame)
    assert ear.heard() == []
    assert added(before, victim.xfrm_stat()) == {"XfrmInStateSeqError": 5}
    say(first, OSPF, GROUP[OSPF], b"new")
    assert ear.heard() == [b"new"]


def test_rekeying_under_a_stream_of_packets_loses_none(lan: Link) -> None:
    protect_all(lan)
    first, *others = lan.routers
    ears, count = [Ear(router, OSPF) for router in others], itertools.count()

    def talk() -> None:
        sent = [b"%d" % next(count) for _ in range(5)]
        for payload in sent:
            assert say(first, OSPF, GROUP[OSPF], payload)
        assert [ear.heard() for ear in ears] == [sent, sent]

    for new in range(2, 8):
        for active in (False, True):
            for router in lan.routers:
                keys = lan.keys(router, ALL, new - 1) + lan.keys(router, ALL, new, active=active)
                lan.protect(router, ALL, keys)
                talk()
        for router in lan.routers:
            lan.protect(router, ALL, lan.keys(router, ALL, new))
            talk()


def test_other_traffic_between_the_same_addresses_passes_clear(lan: Link) -> None:
    protect_all(lan)
    first, second, _ = lan.routers

    def ear() -> socket.socket:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((str(second.ipv4), 848))
        udp.settimeout(1)
        return udp

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((str(first.ipv4), 848))
            udp.sendto(b"IKE", (str(second.ipv4), 848))

    wire, listening = Wire(SWITCH, "p-r1"), inside(second.name, ear)
    inside(first.name, send)
    assert listening.recv(100) == b"IKE"
    assert 17 in wire.protocols()
    run("ip", "netns", "exec", first.name, "ping", "-c", "1", "-W", "1", str(second.ipv4))
    run("ip", "netns", "exec", first.name, "ping", "-c", "1", "-W", "1", f"{second.ipv6}%{INTERFACE}")


def test_a_register_to_a_distant_rp_passes_beside_required_ospf_and_pim(lan: Link) -> None:
    protect_all(lan)
    first, second, _ = lan.routers
    run("ip", "-n", first.name, "route", "add", "1.1.1.2/32", "via", str(second.ipv4))
    ear = Ear(second, PIM)
    assert say(first, PIM, "1.1.1.2", b"register")
    assert ear.heard() == [b"register"]


# -- interfaces that are not all required --------------------------------------------------------


def second_interface(router: Router) -> None:
    """Give a router `e1`, whose other end is the namespace "edge"."""
    run("ip", "netns", "add", "edge")
    run("ip", "-n", router.name, "link", "add", "e1", "type", "veth", "peer", "name", "e1", "netns", "edge")
    for name, host in ((router.name, 1), ("edge", 2)):
        run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.e1.accept_dad=0")
        run("ip", "-n", name, "addr", "add", f"10.0.1.{host}/24", "dev", "e1")
        run("ip", "-n", name, "link", "set", "e1", "address", f"02:00:00:00:01:{host:02x}", "up")
    let_links_settle()


def beside(lan: Link, router: Router, mode: Mode) -> list[ProtectedInterface]:
    """`e0` required, `e1` in another mode."""
    required = lan.interfaces(router, (OSPF, OSPF6))
    other = [
        replace(each, name="e1", mode=mode, link="p2p", local=local, subnet=subnet)
        for each, local, subnet in zip(
            required,
            (router.ipv4 + 256, router.ipv6 + 0x100),
            (type(required[0].subnet)("10.0.1.0/24"), required[1].subnet),
            strict=True,
        )
    ]
    return required + other


@pytest.fixture
def edge(lan: Link) -> Iterator[Router]:
    router = lan.routers[0]
    second_interface(router)
    yield router
    run("ip", "netns", "del", "edge")


@pytest.mark.parametrize("mode", [Mode.CLEAR, Mode.PERMISSIVE])
def test_a_clear_interface_goes_on_beside_a_required_one(lan: Link, edge: Router, mode: Mode) -> None:
    interfaces = beside(lan, edge, mode)
    local6 = str(interfaces[3].local)
    with Xfrm(f"/run/netns/{edge.name}") as xfrm:
        Reconciler(xfrm).apply(wanted_state(interfaces, lan.keys(edge, (OSPF, OSPF6))))
    ear, ear6 = Ear(edge, OSPF, ("e0", "e1")), Ear(edge, OSPF6, ("e0", "e1"))
    for destination in ("224.0.0.5", "10.0.1.1"):
        assert say("edge", OSPF, destination, b"clear", "10.0.1.2", interface="e1")
    for destination in ("ff02::5", local6):
        assert say("edge", OSPF6, destination, b"clear", interface="e1")
    assert ear.heard() == ear6.heard() == [b"clear"] * 2
    tap = Wire("edge", "e1")
    assert say(edge, OSPF, "224.0.0.5", b"out", source="10.0.1.1", interface="e1")
    assert [number for number in tap.protocols() if number in (50, 89)] == [89]
    assert ear.heard() == [b"out"], "the router's own multicast comes back to it"
    lan.plug_rogue()
    for destination in ("ff02::5", str(edge.ipv6)):
        assert say("rogue", OSPF6, destination, b"intruder")
    for source in ("10.0.0.2", "192.0.2.1"):
        assert say("rogue", OSPF, "224.0.0.5", b"intruder", source)
    assert ear.heard() == ear6.heard() == []


def test_a_guard_drops_at_the_device_what_an_ipv4_policy_cannot_tell(lan: Link, edge: Router) -> None:
    wanted = wanted_state(beside(lan, edge, Mode.CLEAR), lan.keys(edge, (OSPF, OSPF6)))
    ear = Ear(edge, OSPF, ("e0", "e1"))
    lan.plug_rogue()

    def spoof() -> list[bytes]:
        assert say("rogue", OSPF, "224.0.0.5", b"from e1's subnet", "10.0.1.2")
        return ear.heard()

    with Xfrm(f"/run/netns/{edge.name}") as xfrm:
        Reconciler(xfrm).apply(wanted)
        assert spoof() == [b"from e1's subnet"]
        guarded = Reconciler(xfrm, inside(edge.name, NftGuard))
        assert inside(edge.name, lambda: guarded.apply(wanted)) != []
        assert spoof() == []
        assert say("edge", OSPF, "224.0.0.5", b"clear", "10.0.1.2", interface="e1")
        assert ear.heard() == [b"clear"]
        protect_all(lan)
        assert say(lan.routers[1], OSPF, "224.0.0.5", b"protected")
        inside(edge.name, lambda: guarded.apply(wanted))
        ear.heard()
        assert say(lan.routers[1], OSPF, "224.0.0.5", b"protected")
        assert ear.heard() == [b"protected"]
        assert inside(edge.name, lambda: Reconciler(xfrm, NftGuard()).apply(wanted)) == []
        inside(edge.name, lambda: guarded.apply(Wanted()))
        assert spoof() == [b"from e1's subnet"]


# -- kill -9 between any two messages -------------------------------------------------------------


class Cut(Exception):
    """The process is killed here."""


class CutXfrm(Xfrm):
    """Does so many changes, each a message of its own, and then dies."""

    def __init__(self, namespace: str, after: int) -> None:
        super().__init__(namespace)
        self.left = after

    def submit(self, requests: Iterable[Request]) -> None:
        for request in requests:
            if self.left == 0:
                raise Cut
            self.left -= 1
            super().submit([request])


def stages(lan: Link, router: Router) -> dict[str, tuple[Wanted, Wanted]]:
    """The changes of a router's life, each from one wanted state to the next."""
    required = lan.interfaces(router, ALL)
    permissive = lan.interfaces(router, ALL, Mode.PERMISSIVE)

    def keys(generation: int, active: bool = True) -> list[GroupSa]:
        return lan.keys(router, ALL, generation, active)

    return {
        "first keys": (wanted_state(required, []), wanted_state(required, keys(1))),
        "a new generation": (
            wanted_state(required, keys(1)), wanted_state(required, keys(1) + keys(2, False)),
        ),
        "change over": (
            wanted_state(required, keys(1) + keys(2, False)), wanted_state(required, keys(1) + keys(2)),
        ),
        "the old one goes": (
            wanted_state(required, keys(1) + keys(2)), wanted_state(required, keys(2)),
        ),
        "all at once": (wanted_state(required, keys(1)), wanted_state(required, keys(2))),
        "keys run out": (wanted_state(required, keys(1)), wanted_state(required, [])),
        "from permissive": (wanted_state(permissive, keys(1)), wanted_state(required, keys(1))),
    }  # fmt: skip


STAGES = ["first keys", "a new generation", "change over", "the old one goes", "all at once",
          "keys run out", "from permissive"]  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_between_any_two_messages_leaks_nothing_and_is_mended(lan: Link, stage: str) -> None:
    router = lan.routers[0]
    before, after = stages(lan, router)[stage]
    namespace = f"/run/netns/{router.name}"
    wire = Wire(SWITCH, f"p-{router.name}")
    ears = [Ear(router, protocol) for protocol in ALL]
    lan.plug_rogue()
    leaks_at_first = stage == "from permissive"
    cut = 0
    while True:
        with Xfrm(namespace) as xfrm:
            reconciler = Reconciler(xfrm)
            reconciler.apply(Wanted())
            reconciler.apply(before)
        done = False
        with CutXfrm(namespace, cut) as dying:
            try:
                Reconciler(dying).apply(after)
                done = True
            except Cut:
                pass
        if not leaks_at_first or done:
            assert leaked(router, lan, wire) == []
            assert intruded(ears) == []
        with Xfrm(namespace) as xfrm:
            Reconciler(xfrm).apply(after)
            assert set(xfrm.dump_policies()) == set(after.policies)
            assert set(xfrm.dump_sas()) == set(after.associations)
            assert Reconciler(xfrm).apply(after) == []
        if done:
            break
        cut += 1
    assert cut >= 3


def leaked(router: Router, lan: Link, wire: Wire) -> list[int]:
    """Say everything a daemon may say; what of it went over the wire in clear."""
    wire.frames()
    other = lan.routers[1]
    for destination in ("224.0.0.5", "224.0.0.6", str(other.ipv4)):
        for header in (True, False):
            say(router, OSPF, destination, b"x", header=header)
    for destination in ("ff02::5", "ff02::6", str(other.ipv6)):
        say(router, OSPF6, destination, b"x")
    for header in (True, False):
        say(router, PIM, "224.0.0.13", b"x", header=header)
    return [number for number in wire.protocols() if number in (89, 103)]


def intruded(ears: list[Ear]) -> list[bytes]:
    """What a stranger's packets in clear brought to the daemons' ears."""
    for protocol in (OSPF, PIM):
        say("rogue", protocol, GROUP[protocol], b"intruder", "10.0.0.2")
    say("rogue", OSPF6, GROUP[OSPF6], b"intruder")
    return [payload for ear in ears for payload in ear.heard()]
