"""Multicast probe packets from one node to a group, which the receivers join as any program does, and what each lost.

Group memberships are the kernel's: it reports them by IGMPv3 whenever the interface comes up or a router asks. It must
not know of trees.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from testbed.net.namespace import Namespace
from testbed.probes.numbered import Receiver, Sender
from testbed.record.writer import Event, Recorder

_FIRST_PORT = 41000
_IP_FREEBIND, _IP_MULTICAST_ALL = 15, 49
_MCAST_JOIN_GROUP, _MCAST_JOIN_SOURCE_GROUP = 42, 46
_MREQN = struct.Struct("=4s4si")
_TTL = 64


@dataclass(frozen=True)
class End:
    """A node's end of a stream: where its sockets are, and the interface that it sends from or joins on."""

    namespace: Namespace
    address: str
    interface: str


@dataclass(frozen=True)
class Wanted:
    """One stream. `specific`: the receivers join (source, group). `receivers`: by the name that the record has."""

    number: int
    name: str
    group: str
    receivers: Mapping[str, End]
    specific: bool


class ProbeStreams:
    """The streams of one source at one rate, from their first packet to the account of what each receiver lost."""

    def __init__(self, streams: Sequence[Wanted], source: End, *, rate_pps: float, sending: Callable[[], bool]) -> None:
        """`sending()` tells whether the source has power; without, no number is used up."""
        places = [(each.group, _FIRST_PORT + each.number) for each in streams]
        numbers = [each.number for each in streams]
        self._sender = Sender(_sending(source, places[0][1]), places, numbers, rate_pps, sending)
        self._receivers = [
            (
                each.name,
                receiver,
                Receiver(_joined(end, *place, source.address if each.specific else None), each.number),
            )
            for each, place in zip(streams, places, strict=True)
            for receiver, end in each.receivers.items()
        ]

    async def send(self, start: float, stop: float) -> None:
        """Send from `start` to `stop` (seconds of the event loop's clock)."""
        await self._sender.send(start, stop, [receiver for _, _, receiver in self._receivers])

    def report(self, record: Recorder) -> None:
        """Write the losses and the totals of every receiver."""
        sent_at = self._sender.sent_at
        for stream, name, receiver in self._receivers:
            receiver.drain(len(sent_at))
            for loss in self._sender.losses(receiver):
                record(**_event(stream, name, loss))
            record(
                "lab",
                "probe",
                "stream",
                stream=stream,
                receiver=name,
                sent=len(sent_at),
                received=receiver.received,
                duplicated=receiver.duplicated,
            )

    def losses_so_far(self) -> Iterator[Event]:
        """What has been lost since the last call, as the record will have it."""
        for stream, name, receiver in self._receivers:
            for loss in self._sender.losses_so_far(receiver):
                yield _event(stream, name, loss)

    def close(self) -> None:
        """Give the sockets back; the kernel leaves the groups."""
        self._sender.close()
        for _, _, receiver in self._receivers:
            receiver.close()


def _event(stream: str, receiver: str, loss: Mapping[str, int]) -> Event:
    own = {"t": loss["sent_first_ns"], "node": "lab", "source": "probe", "kind": "stream_loss"}
    return {**own, "stream": stream, "receiver": receiver, **loss}


def _sending(source: End, port: int) -> socket.socket:
    with source.namespace.enter():
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        index = socket.if_nametoindex(source.interface)
    opened.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    opened.bind((source.address, port))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL)
    # What goes out on a loopback comes in there anyway; looped as well, it would be forwarded twice.
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _MREQN.pack(bytes(4), bytes(4), index))
    return opened


def _joined(end: End, group: str, port: int, source: str | None) -> socket.socket:
    with end.namespace.enter():
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        index = socket.if_nametoindex(end.interface)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, end.interface.encode())
    opened.bind(("0.0.0.0", port))
    # Only what this socket joined, and not what others of the node did.
    opened.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    request = struct.pack("=I4x", index) + _sockaddr(group)
    if source is None:
        opened.setsockopt(socket.IPPROTO_IP, _MCAST_JOIN_GROUP, request)
    else:
        opened.setsockopt(socket.IPPROTO_IP, _MCAST_JOIN_SOURCE_GROUP, request + _sockaddr(source))
    return opened


def _sockaddr(address: str) -> bytes:
    """A sockaddr_storage (RFC 3678 §5)."""
    return struct.pack("=H2x4s120x", socket.AF_INET, socket.inet_aton(address))
