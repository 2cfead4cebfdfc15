"""Numbered packets: what a receiver says of what it heard."""

from __future__ import annotations

import socket
import struct

import pytest

from testbed.probes.numbered import Receiver, Sender


def receiver(*numbers: int, stream: int = 7, sent: int) -> Receiver:
    """One that heard these numbers of the first `sent`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    made = Receiver(ours, 7)
    for number in numbers:
        theirs.send(struct.pack("!IQQ", stream, number, 0))
    theirs.send(b"something else")
    made.drain(sent)
    theirs.close()
    return made


def test_runs_of_numbers_that_never_came_are_told_and_copies_counted() -> None:
    incoming = receiver(1, 2, 2, 5, 2, sent=8)
    assert (incoming.received, incoming.duplicated) == (3, 2)
    assert list(incoming.lost()) == [(0, 0), (3, 4), (6, 7)]
    incoming.close()


def test_numbers_that_were_never_sent_and_other_streams_are_none_of_ours() -> None:
    incoming = receiver(0, 1, 2**40, sent=2)
    assert (incoming.received, incoming.duplicated, list(incoming.lost())) == (2, 0, [])
    assert receiver(0, 1, stream=8, sent=2).received == 0


def test_a_row_of_losses_is_cut_where_its_source_was_without_power_so_that_its_packets_are_evenly_spaced() -> None:
    sender = Sender(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), [("127.0.0.1", 9)], [7], 10.0, lambda: True)
    sender.sent_at.extend(round(seconds * 1e9) for seconds in (1.0, 1.1, 1.2, 5.0, 5.1, 5.2))
    incoming = receiver(0, 5, sent=6)
    assert [[each["first_seq"], each["last_seq"], each["sent_first_ns"], each["sent_last_ns"]]
            for each in sender.losses(incoming)] == [
        [1, 2, 1_100_000_000, 1_200_000_000], [3, 4, 5_000_000_000, 5_100_000_000]
    ]  # fmt: skip
    sender.close()
    incoming.close()


def test_losses_of_a_run_that_is_watched_are_told_as_they_grow_and_are_those_of_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_ns = 0
    monkeypatch.setattr("time.monotonic_ns", lambda: now_ns)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender = Sender(out, [("127.0.0.1", 9)], [7], 10.0, lambda: True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    incoming, reported, rows = Receiver(ours, 7), [], {}
    for number in range(60):
        now_ns += 10**8 if number != 40 else 5 * 10**9  # the source had no power
        sender.sent_at.append(now_ns)
        if number not in (*range(10, 18), 30, *range(38, 43), *range(55, 60)):
            theirs.send(struct.pack("!IQQ", 7, number, 0))
        if number % 5 == 4:
            reported.append([(each["first_seq"], each["last_seq"]) for each in sender.losses_so_far(incoming)])
            assert all(sender.sent_at[last] <= now_ns - 10**9 for _, last in reported[-1]), "the rest may be on its way"
            assert list(sender.losses_so_far(incoming)) == [], "nothing is told twice"
            rows |= dict(reported[-1])
    now_ns += 2 * 10**9
    rows |= {each["first_seq"]: each["last_seq"] for each in sender.losses_so_far(incoming)}
    assert [(10, 14)] in reported and [(10, 17)] in reported, "the row has grown"
    assert rows == {each["first_seq"]: each["last_seq"] for each in sender.losses(incoming)}
    assert rows == {10: 17, 30: 30, 38: 39, 40: 42, 55: 59}
    for each in (sender, incoming, theirs):
        each.close()


def test_what_comes_later_is_ticked_off_later() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    incoming = Receiver(ours, 7)
    incoming.drain(3)
    theirs.send(struct.pack("!IQQ", 7, 1, 0))
    theirs.send(struct.pack("!IQQ", 7, 3, 0))
    incoming.drain(4)
    assert (incoming.received, list(incoming.lost())) == (2, [(0, 0), (2, 2)])
