"""What a DKS does for its routers while somebody floods it, beside what it does in peace.

Router after router registers, each from its own address, and repeats what is lost as a router does. Beside them one
process sends an attack of a steady rate. The same attacks then meet an LKS's core (lks_flood). Runs as
`testbed.bench.ike` does; all addresses are of the loopback, so the flood's sources are as good as spoofed: nobody there
reads an answer.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import selectors
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agents.ikev2 import Identification, IkeConfig, IkeEndpoint, LocalIdentity, PeerAddress, PeerKey, Send
from agents.ikev2.codec.header import Header, encode_header
from agents.ikev2.registry import ExchangeType, Flag, PayloadType
from agents.policy.names import GroupId
from testbed.bench import lks_flood
from testbed.bench.ike import DKS_ADDRESS, PORT, cpu_s, dks, dks_target, loopback_up, resident_kib
from testbed.bench.initiator import Handshake, HandshakeFailed, Target, connected
from testbed.bench.ring import NAME, make
from testbed.domains.keys import laboratory_key

_NEXT_PAYLOAD, _FRAGMENT = 16, 32
"""Where an IKE header names the first payload, and where an encrypted fragment has its number and their count."""
SOURCES = 400
"""Addresses that a spoofing flood comes from."""
CHURN = "a router registers again and again"
LIAR, PIECES = "wrong signatures", "fragments never completed"
PER_ATTEMPT = 4
"""Datagrams of an attempt that comes as far as a signature."""
FRAGMENT_OCTETS = 300
"""Small, so that a GSA_AUTH is in several fragments."""
LEAST_LKS_S = 3.0
KEPT_S = 1.0
"""So long an attacker waits for answers to one attempt."""
REPEAT_S = 0.25
PACE_S = 0.02
"""Between registrations: in peace the DKS has time to spare, so that a flood shows in what it takes away."""


@dataclass(frozen=True)
class Row:
    """One measurement. `sent_per_s`: of the attack; `registered`, `failed`: legitimate handshakes; `median_ms`,
    `p95_ms`: how long they took; `cpu_ms`: what a datagram of the attack cost the DKS (in peace, and of the attack by a
    router: what a registration cost); `grown_kib`: its memory."""

    attack: str
    sent_per_s: float
    registered: int
    failed: int
    median_ms: float
    p95_ms: float
    cpu_ms: float
    grown_kib: int


# -- attacks: what is sent, for ever ----------------------------------------------------------------------------------

Attack = Callable[[random.Random], Iterator[tuple[int, bytes]]]
"""(number of the source, datagram), for ever."""


def _first_message() -> bytes:
    """An IKE_SA_INIT request as a router makes it."""
    endpoint = IkeEndpoint(
        LocalIdentity(Identification.key_id(b"nobody"), laboratory_key(0, "nobody")),
        lambda *_: PeerKey(laboratory_key(0, "nobody").public_key()),
        random=os.urandom,
        config=IkeConfig(),
        auth_exchange=ExchangeType.GSA_AUTH,
    )
    endpoint.connect(PeerAddress(DKS_ADDRESS, PORT, "127.0.0.1"), Identification.key_id(b"dks"), [], 0.0)
    return next(each.data for each in endpoint.take() if isinstance(each, Send))


def spoofed(draw: random.Random) -> Iterator[tuple[int, bytes]]:
    """Half-open SAs: IKE_SA_INIT with a new SPI each, from addresses that never answer."""
    message = _first_message()
    while True:
        yield draw.randrange(SOURCES), draw.randbytes(8) + message[8:]


def one_source(draw: random.Random) -> Iterator[tuple[int, bytes]]:
    """The same from one address."""
    return ((0, data) for _source, data in spoofed(draw))


def unknown_spi(draw: random.Random) -> Iterator[tuple[int, bytes]]:
    """Messages of SAs that do not exist."""
    body = draw.randbytes(200)
    while True:
        header = Header(
            draw.randbytes(8), draw.randbytes(8), PayloadType.SK, ExchangeType.INFORMATIONAL, Flag.INITIATOR, 0
        )
        yield draw.randrange(SOURCES), encode_header(header, 28 + len(body)) + body


def garbage(draw: random.Random) -> Iterator[tuple[int, bytes]]:
    """Octets."""
    while True:
        yield draw.randrange(SOURCES), draw.randbytes(draw.randrange(1, 1400))


ATTACKS: dict[str, Attack] = {
    "IKE_SA_INIT, spoofed sources": spoofed,
    "IKE_SA_INIT, one source": one_source,
    "unknown SPIs": unknown_spi,
    "random octets": garbage,
}


def flood(attack: Attack, per_s: float, sent: Any) -> None:
    """Until it is ended. `sent`: counts datagrams, shared."""
    sockets = []
    for number in range(SOURCES):
        each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        each.bind((f"127.66.{number // 200}.{number % 200 + 1}", 0))
        each.connect((DKS_ADDRESS, PORT))
        sockets.append(each)
    began, count = time.monotonic(), 0
    for source, data in attack(random.Random(1)):
        ahead = count / per_s - (time.monotonic() - began)
        if ahead > 0.002:
            time.sleep(ahead)
        try:
            sockets[source].send(data)
        except OSError:
            continue  # the DKS's answers are read by nobody, and its ICMP errors come back here
        count += 1
        sent.value = count


def liar(target: Target, per_s: float, sent: Any) -> None:
    """Somebody who reads answers, cookies too, at many addresses: each IKE_SA_INIT is in order, and the GSA_AUTH after
    it bears a router's name and another key's signature. Until it is ended."""
    stranger = laboratory_key(0, "liar")
    _attempts(replace(target, identity=lambda n: LocalIdentity(target.identity(n).id, stranger)), per_s, sent)


def pieces(target: Target, per_s: float, sent: Any) -> None:
    """The same, and of each GSA_AUTH all fragments but the last: sealed as they must be, and never completed."""
    small = replace(target, config=IkeConfig(max_datagram=FRAGMENT_OCTETS))
    _attempts(small, per_s, sent, lambda channel: _NoLastFragment(channel))


class _NoLastFragment:
    """A socket that loses the last of each message's fragments."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.getsockname = channel.getsockname

    def send(self, data: bytes) -> int:
        """As a socket's."""
        number, total = struct.unpack_from("!HH", data, _FRAGMENT) if len(data) > _FRAGMENT + 4 else (0, 0)
        last = data[_NEXT_PAYLOAD] == PayloadType.SKF and number == total
        return len(data) if last else self._channel.send(data)


def _attempts(target: Target, per_s: float, sent: Any, through: Callable[[socket.socket], Any] = lambda s: s) -> None:
    """Handshakes of routers 1, 2, …, begun at this rate, each from the next address. What fails is given up."""
    began, waiting = time.monotonic(), selectors.DefaultSelector()
    for number in itertools.count():
        channel = connected(target, f"127.99.{number // 250 % 250}.{number % 250 + 1}")
        one = Handshake(target, 1 + number % 2, through(channel))
        waiting.register(channel, selectors.EVENT_READ, (one, time.monotonic()))
        sent.value = number + 1
        while (ahead := (number + 1) / per_s - (time.monotonic() - began)) > 0:
            for key, _mask in waiting.select(ahead):
                with suppress(HandshakeFailed, OSError):
                    key.data[0].received(key.fileobj.recv(65535))  # type: ignore[union-attr]
        for key in list(waiting.get_map().values()):
            if time.monotonic() - key.data[1] > KEPT_S:
                waiting.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]


def churn(target: Target, sent: Any) -> None:
    """A router with a good key that registers again and again, as fast as it is served. Until it is ended."""
    while True:
        with connected(target, "127.77.0.1") as channel:
            _one(target, 0, channel, time.monotonic() + 5)
        sent.value += 1


# -- legitimate routers -----------------------------------------------------------------------------------------------


def _one(target: Target, number: int, channel: socket.socket, until: float) -> bool:
    """Whether this router's handshake was done in time."""
    channel.settimeout(REPEAT_S)
    try:
        one = Handshake(target, number, channel)
        while time.monotonic() < until:
            try:
                if one.received(channel.recv(65535)):
                    return True
            except TimeoutError:
                one.again()
    except HandshakeFailed:
        return False
    return False


def routers(target: Target, count: int, seconds: float) -> tuple[list[float], int]:
    """How long each registration took (s), and how many failed, in this time. Router 0 is left to `churn`."""
    took, failed, number = [], 0, 1
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        with connected(target, f"127.88.{number // 200}.{number % 200 + 1}") as channel:
            if _one(target, number, channel, began + 5):
                took.append(time.monotonic() - began)
            else:
                failed += 1
        number = number % (count - 1) + 1
        time.sleep(PACE_S)
    return took, failed


# -- the whole --------------------------------------------------------------------------------------------------------


@contextmanager
def _beside(job: Callable[..., None], *words: Any) -> Iterator[Any]:
    fork = multiprocessing.get_context("fork")
    sent = fork.Value("Q", 0, lock=False)
    process = fork.Process(target=job, args=(*words, sent), daemon=True)
    process.start()
    try:
        yield sent
    finally:
        process.kill()
        process.join()


def run(seconds: float, per_s: float, count: int) -> dict[str, Any]:
    """Peace, every attack, and peace again. HandshakeFailed, EnvironmentFailure."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-dos-") as name:
        folder = Path(name) / "dks"
        domain = make(count, DKS_ADDRESS, PORT, folder, issued_at=int(time.time()) - 60, local_key_server=True)
        with (folder / "dks.toml").open("a") as config:
            config.write('socket = "dks.sock"\n')
        with dks(folder) as process:
            target = dks_target(domain, lambda router: GroupId.control(NAME, router), PayloadType.NOTIFY)
            routers(target, count, 2.0)
            peace = _measure("none", process.pid, target, count, seconds)
            rows.append(peace)
            for what, attack in ATTACKS.items():
                with _beside(flood, attack, per_s) as sent:
                    rows.append(_measure(what, process.pid, target, count, seconds, sent, peace))
            for what, job in ((LIAR, liar), (PIECES, pieces)):
                with _beside(job, target, per_s / PER_ATTEMPT) as sent:
                    rows.append(_measure(what, process.pid, target, count, seconds, sent, peace))
            with _beside(churn, target) as sent:
                rows.append(_measure(CHURN, process.pid, target, count, seconds, sent, peace))
            rows.append(_measure("none, afterwards", process.pid, target, count, seconds))
    # Of virtual time, in which a neighbour boots meanwhile.
    long_s = max(seconds, LEAST_LKS_S)
    floods = [lks_flood.measure("none", iter(()), per_s, long_s)]
    floods += [lks_flood.measure(what, attack(random.Random(1)), per_s, long_s) for what, attack in ATTACKS.items()]
    return {
        "rows": [asdict(row) for row in rows],
        "lks": [asdict(row) for row in floods],
        "per_s": per_s,
        "seconds": seconds,
    }


def _measure(
    attack: str, pid: int, target: Target, count: int, seconds: float, sent: Any = None, peace: Row | None = None
) -> Row:
    if sent is not None:
        time.sleep(1.0)
    sent_before = sent.value if sent is not None else 0
    cpu, memory = cpu_s(pid), resident_kib(pid)
    took, failed = routers(target, count, seconds)
    spent, grown = 1000 * (cpu_s(pid) - cpu), resident_kib(pid) - memory
    attacks = (sent.value if sent is not None else 0) - sent_before
    if peace is not None:
        spent -= peace.cpu_ms * len(took)
    in_ms = sorted(1000 * each for each in took) or [float("inf")]
    return Row(
        attack=attack,
        sent_per_s=round(attacks / seconds),
        registered=len(took),
        failed=failed,
        median_ms=round(statistics.median(in_ms), 1),
        p95_ms=round(in_ms[int(0.95 * (len(in_ms) - 1))], 1),
        cpu_ms=round(spent / max(1, attacks if peace is not None else len(took)), 3),
        grown_kib=grown,
    )


def main(arguments: Sequence[str]) -> int:
    """OUTPUT SECONDS PER_S ROUTERS."""
    output = Path(arguments[0])
    loopback_up()
    output.write_text(json.dumps(run(float(arguments[1]), float(arguments[2]), int(arguments[3])), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
