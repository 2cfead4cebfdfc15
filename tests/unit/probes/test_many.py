"""Many messages to a system call: none is lost or mixed up, and a filter by interface takes those that it names."""

from __future__ import annotations

import socket
import struct

import pytest

from testbed.probes.many import INTERFACE, JEQ, LD, RET, SO_TIMESTAMPNS, Many, Out, choose, of_interfaces, stamp_ns

_ADDRESS = struct.Struct("=HH4s8x")
_PKTINFO = 8


def sockets() -> tuple[socket.socket, socket.socket]:
    heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    heard.bind(("127.0.0.1", 0))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(heard.getsockname())
    return heard, sender


@pytest.mark.parametrize("count", [1, 3, 8, 9])
def test_all_that_waits_is_taken_in_its_order_however_much_there_is_room_for(count: int) -> None:
    room = Many(100, count=count)
    heard, sender = sockets()
    with heard, sender:
        for _ in range(2):  # the second time in the same room
            for number in range(8):
                sender.send(bytes([number]) * (number + 1))
            assert [each.data for each in room.all(heard)] == [bytes([number]) * (number + 1) for number in range(8)]
            assert list(room.all(heard)) == []


def test_a_message_that_is_too_long_is_cut_and_the_next_one_whole() -> None:
    room = Many(4)
    heard, sender = sockets()
    with heard, sender:
        sender.send(b"abcdefgh")
        sender.send(b"xy")
        sender.send(b"")
        assert [each.data for each in room.all(heard)] == [b"abcd", b"xy", b""]


def test_each_message_has_its_own_sender_and_control_message() -> None:
    room = Many(10, count=2, name=_ADDRESS.size, control=64)
    heard, sender = sockets()
    with heard, sender, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        heard.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sender.send(b"1")
        other.sendto(b"2", heard.getsockname())
        sender.send(b"3")
        found = list(room.all(heard))
        ports = [socket.ntohs(_ADDRESS.unpack(each.name)[1]) for each in found]
        assert ports == [each.getsockname()[1] for each in (sender, other, sender)]
        times = [stamp_ns(each.control) for each in found]
        assert times == sorted(times) and times[0] > 0
        heard.setsockopt(socket.IPPROTO_IP, _PKTINFO, 1)
        sender.send(b"two of them")
        (both,) = room.all(heard)
        assert list(both.control) == [(socket.SOL_SOCKET, SO_TIMESTAMPNS), (socket.IPPROTO_IP, _PKTINFO)]
        assert socket.inet_ntoa(both.control[socket.IPPROTO_IP, _PKTINFO][4:8]) == "127.0.0.1"
        heard.setsockopt(socket.IPPROTO_IP, _PKTINFO, 0)
        heard.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 0)
        sender.send(b"4")
        assert [each.control for each in room.all(heard)] == [{}]


def test_what_a_socket_reports_is_raised_and_what_follows_is_still_there() -> None:
    room = Many(10)
    heard, sender = sockets()
    nobody = heard.getsockname()
    heard.close()
    with sender, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        sender.send(b"to nobody")
        with pytest.raises(ConnectionRefusedError):
            room.take(sender)
        other.bind(nobody)
        other.sendto(b"later", sender.getsockname())
        assert [each.data for each in room.take(sender)] == [b"later"]


def test_a_program_for_interfaces_asks_for_each_number_and_takes_nothing_else() -> None:
    assert of_interfaces([3, 70000], 100) == [
        (LD, 0, 0, INTERFACE), (JEQ, 0, 1, 3), (RET, 0, 0, 100), (JEQ, 0, 1, 70000), (RET, 0, 0, 100), (RET, 0, 0, 0)
    ]  # fmt: skip


def test_the_kernel_takes_a_program() -> None:
    heard, sender = sockets()
    with heard, sender:
        choose(heard, [(RET, 0, 0, 0)])
        sender.send(b"not for us")
        choose(heard, [(RET, 0, 0, 0xFFFF)])
        sender.send(b"for us")
        assert [each.data for each in Many(10).all(heard)] == [b"for us"]


def test_one_call_sends_a_message_to_each_place_and_what_is_refused_keeps_no_other_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        heard = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for each in heard:
            each.bind(("127.0.0.1", 0))
        places = [each.getsockname() for each in heard]
        refused = ("255.255.255.255", 9)  # without SO_BROADCAST
        out = Out([places[0], refused, places[1], refused, refused, places[2], refused], 2)
        for turn in (b"a", b"b"):  # the second time in the same room
            out.send(sender, [turn + bytes([number]) for number in range(7)])
            assert [each.recv(10) for each in heard] == [turn + b"\0", turn + b"\2", turn + b"\5"]
        for each in heard:
            each.close()
