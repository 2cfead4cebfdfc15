"""The UDP port on the loopback, both families: where a datagram came to, its hop limit, and the answer's way back."""

from __future__ import annotations

import fcntl
import select
import socket
from collections.abc import Iterator

import pytest

from agents.ikev2.model import Datagram, PeerAddress
from agents.runtime.effects import Send
from agents.runtime.udp import UdpPort

ADDRESSES = ["127.0.0.1", "::1"]


@pytest.fixture
def port(number: int) -> Iterator[UdpPort]:
    opened = UdpPort(number)
    yield opened
    opened.close()


def heard(port: UdpPort) -> Datagram:
    assert select.select([port], [], [], 5)[0], "the port became readable"
    found = port.receive()
    assert found is not None
    return found


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_datagram_says_where_it_came_from_and_to_and_goes_back_from_there(
    port: UdpPort, number: int, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind((address, 0))
        peer.settimeout(5)
        peer.sendto(b"question", (address, number))
        datagram = heard(port)
        assert (datagram.data, datagram.peer.ip, datagram.peer.local_ip) == (b"question", address, address)
        assert (datagram.peer.interface, datagram.peer.local_port, datagram.hop_limit) == ("lo", number, 64)
        assert port.send(Send(b"answer", datagram.peer))
        data, source = peer.recvfrom(100)
        assert data == b"answer" and source[:2] == (address, number)
        assert port.receive() is None


def test_a_flood_of_one_family_keeps_the_other_waiting_for_no_datagram(port: UdpPort, number: int) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loud,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as shy,
    ):
        for _ in range(20):
            loud.sendto(b"flood", ("127.0.0.1", number))
        shy.sendto(b"question", ("::1", number))
        found = [heard(port).data for _ in range(2)]
        assert sorted(found) == [b"flood", b"question"]
        while port.receive() is not None:
            found.append(b"flood")
        assert len(found) == 21, "and nothing is lost"


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_sent_has_a_hop_limit_of_255(port: UdpPort, number: int, address: str) -> None:
    assert port.send(Send(b"to myself", PeerAddress(address, number, address, "lo", number)))
    assert heard(port).hop_limit == 255


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_port_with_an_address_is_of_its_family_alone(number: int, address: str) -> None:
    opened = UdpPort(number, address)
    try:
        other = next(each for each in ADDRESSES if each != address)
        assert opened.send(Send(b"x", PeerAddress(address, number)))
        assert not opened.send(Send(b"x", PeerAddress(other, number)))
    finally:
        opened.close()


def test_a_taken_port_is_an_error(port: UdpPort, number: int) -> None:
    with pytest.raises(OSError):
        UdpPort(number)
    with pytest.raises(OSError, match="does not appear to be"):
        UdpPort(number, "nowhere")


def test_what_cannot_go_is_lost_and_no_error(port: UdpPort, number: int) -> None:
    for peer in (
        PeerAddress("fe80::1", number, "", "nowhere0"),
        PeerAddress("::1", number, "2001:db8::77", "", number),
        PeerAddress("127.0.0.1", number, "192.0.2.77", "", number),
    ):
        assert not port.send(Send(b"x", peer))


def test_an_interface_that_has_another_number_now_is_found_when_no_datagram_waits(
    port: UdpPort, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    real = fcntl.ioctl

    def ioctl(opened: socket.socket, request: int, interface: bytes) -> bytes:
        asked.append(interface[:16].rstrip(b"\0"))
        return real(opened, request, interface)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"question", ("127.0.0.1", number))
        datagram = heard(port)
        asked.clear()
        assert port.send(Send(b"answer", datagram.peer)) and not asked
        assert port.receive() is None
        assert port.send(Send(b"later", datagram.peer)) and asked == [b"lo"]


def test_a_name_that_no_interface_can_have_is_not_taken_for_a_shorter_one(port: UdpPort) -> None:
    assert not port.send(Send(b"x", PeerAddress("127.0.0.1", 9, "", "lo" + "o" * 14, 9)))
