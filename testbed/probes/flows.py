"""Probe packets from one node to another, and what of them was lost. It must not know of routes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping

from testbed.net.namespace import Namespace
from testbed.probes.numbered import Receiver, Sender
from testbed.record.writer import Event, Recorder

_FIRST_PORT = 40000
# Of a family: the sockets' own, the level and number of its option to send from any address, and all its addresses.
_IPV4 = (socket.AF_INET, socket.IPPROTO_IP, 15, "0.0.0.0")
_IPV6 = (socket.AF_INET6, socket.IPPROTO_IPV6, 78, "::")


class ProbeFlow:
    """One flow, from its first packet to the account of its losses."""

    def __init__(
        self,
        number: int,
        name: str,
        sender: tuple[Namespace, str],
        receiver: tuple[Namespace, str],
        rate_pps: float,
        sending: Callable[[], bool],
    ) -> None:
        """`sending()` tells whether the source has power; without, no number is used up."""
        self.name, port = name, _FIRST_PORT + number
        family, level, freebind, anywhere = _IPV6 if ":" in sender[1] else _IPV4
        with sender[0].enter():
            out = socket.socket(family, socket.SOCK_DGRAM)
        out.setsockopt(level, freebind, 1)
        out.bind((sender[1], port))
        with receiver[0].enter():
            heard = socket.socket(family, socket.SOCK_DGRAM)
        heard.bind((anywhere, port))
        self._sender = Sender(out, [(receiver[1], port)], [number], rate_pps, sending)
        self._receiver = Receiver(heard, number)

    async def send(self, start: float, stop: float) -> None:
        """Send from `start` to `stop` (seconds of the event loop's clock)."""
        await self._sender.send(start, stop, (self._receiver,))

    def report(self, record: Recorder) -> None:
        """Write the losses and the totals."""
        sent_at = self._sender.sent_at
        self._receiver.drain(len(sent_at))
        for loss in self._sender.losses(self._receiver):
            record(**self._event(loss))
        record("lab", "probe", "flow", flow=self.name, sent=len(sent_at), received=self._receiver.received)

    def losses_so_far(self) -> Iterator[Event]:
        """What has been lost since the last call, as the record will have it."""
        return map(self._event, self._sender.losses_so_far(self._receiver))

    def _event(self, loss: Mapping[str, int]) -> Event:
        own = {"t": loss["sent_first_ns"], "node": "lab", "source": "probe", "kind": "loss"}
        return {**own, "flow": self.name, **loss}

    def close(self) -> None:
        """Give the sockets back."""
        self._sender.close()
        self._receiver.close()
