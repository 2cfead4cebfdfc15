"""One port and several sockets on the loopback: the kernel gives each datagram to the process that its SPI names."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ikev2.party import shared_spi
from agents.runtime.shared_udp import bind_shared

ADDRESSES = ["127.0.0.1", "::1"]
COUNT = 3
INITIATOR, RESPONSE = 0x08, 0x20


@pytest.fixture
def shared(number: int) -> Iterator[list[list[socket.socket]]]:
    found = bind_shared(number, "", COUNT)
    yield found
    for each in (one for bound in found for one in bound):
        each.close()


def header(spi_i: bytes, spi_r: bytes, flags: int) -> bytes:
    return spi_i + spi_r + bytes([46, 0x20, 34, flags]) + bytes(8)


def who_heard(shared: list[list[socket.socket]]) -> list[int]:
    """The numbers of the processes that have a datagram waiting, each as often as it has some."""
    found = []
    for number, bound in enumerate(shared):
        for each in bound:
            while True:
                try:
                    each.recv(100)
                except BlockingIOError:
                    break
                found.append(number)
    return found


def sent(family: socket.AddressFamily, address: str, port: int, data: bytes, source: str = "") -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind((source or address, 0))
        peer.sendto(data, (address, port))


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("ours_is_the_responder_s", [True, False])
def test_an_sa_s_datagrams_reach_its_process_from_any_port(
    shared: list[list[socket.socket]], number: int, address: str, ours_is_the_responder_s: bool
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    draw = random.Random(1)
    for process in range(COUNT):
        for _time in range(20):
            ours, theirs = shared_spi(draw.randbytes(8), process, COUNT), draw.randbytes(8)
            if ours_is_the_responder_s:
                data = header(theirs, ours, INITIATOR | draw.choice((0, RESPONSE)))
            else:
                data = header(ours, theirs, draw.choice((0, RESPONSE)))
            sent(family, address, number, data)
            assert who_heard(shared) == [process]


def test_a_first_message_and_its_repetition_reach_one_process_and_different_peers_different_ones(
    shared: list[list[socket.socket]], number: int
) -> None:
    chosen = []
    draw = random.Random(2)
    for _peer in range(60):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            for _time in range(3):
                peer.sendto(header(draw.randbytes(8), bytes(8), INITIATOR), ("127.0.0.1", number))
        heard = who_heard(shared)
        assert len(heard) == 3 and len(set(heard)) == 1
        chosen.append(heard[0])
    assert set(chosen) == set(range(COUNT))


def test_a_datagram_without_an_ike_header_harms_nobody(shared: list[list[socket.socket]], number: int) -> None:
    for length in (0, 1, 8, 19):
        sent(socket.AF_INET, "127.0.0.1", number, bytes(length))
    assert who_heard(shared) == [0, 0, 0, 0]


def test_a_second_dks_of_the_same_user_gets_no_share(shared: list[list[socket.socket]], number: int) -> None:
    with pytest.raises(OSError, match="in use"):
        bind_shared(number, "", COUNT)


@given(st.binary(min_size=8, max_size=8), st.integers(1, 64), st.data())
def test_the_number_is_in_the_first_octet_and_the_spi_is_never_zero(spi: bytes, of: int, data: st.DataObject) -> None:
    process = data.draw(st.integers(0, of - 1))
    made = shared_spi(spi, process, of)
    assert len(made) == 8 and made[1:] == spi[1:]
    if of > 1:
        assert made[0] and (made[0] - 1) % of == process
    else:
        assert made == spi
