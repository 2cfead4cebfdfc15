"""State that all IKE SAs of one party share: its identity and settings, its tables, timers and effects.

Knows nothing of messages.
"""

from __future__ import annotations

import heapq
from collections import Counter
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from agents.ikev2.child import ChildPolicy
from agents.ikev2.codec.header import ZERO_SPI
from agents.ikev2.codec.payloads import Identification
from agents.ikev2.codec.transforms import Transform
from agents.ikev2.config import IkeConfig, Offer, has_additional
from agents.ikev2.cookie import CookieJar
from agents.ikev2.events import CloseReason, Dropped, Event, Faulted, Send
from agents.ikev2.fragments import FragmentBudget
from agents.ikev2.model import Authenticate, LocalIdentity, PeerAddress, RandomSource, source_prefix
from agents.ikev2.round_trip import MOST_PEERS, RoundTrip
from agents.ikev2.suites import ike_suite

if TYPE_CHECKING:
    from agents.ikev2.codec.payloads import RawPayload
    from agents.ikev2.sa import IkeSa
    from agents.ikev2.suites import IkeSuite

MOST_AGREED, MOST_AGREED_OCTETS = 64, 1024
"""The number and the length in octets of proposals whose answers a responder caches."""
_SPARE_TIMERS = 64
"""The number of timers kept beyond two for each SA before stale ones are removed."""
LOTS_S = 1.0
"""The time, in seconds, within which all requests for a place of a full share draw lots."""
Share = tuple[str, str, bool]
"""The key under which half-open SAs count together: an address or a prefix, and whether from privileged ports."""
PRIVILEGED_PORTS = 1024
"""Ports below it belong to root on Linux. IKE's own are among them (848 and 500), except 4500 and those that a NAT
assigns."""


class Party:
    """The services of the endpoint for its SAs."""

    def __init__(
        self,
        identity: LocalIdentity,
        authenticate: Authenticate,
        random: RandomSource,
        config: IkeConfig,
        auth_exchange: int,
        child_policy: ChildPolicy | None,
    ) -> None:
        self.identity = identity
        self.authenticate = authenticate
        self.random = random
        self.config = config
        self.auth_exchange = int(auth_exchange)
        self.accept_auth = frozenset({self.auth_exchange}) if config.accept_auth is None else config.accept_auth
        self.child_policy = child_policy
        self.cookies = CookieJar(random, config.cookie_rotation_s, config.cookie_grace_s)
        self.fragments = FragmentBudget(config.max_fragment_octets)
        self.effects: list[Send | Event] = []
        self.by_spi: dict[bytes, IkeSa] = {}
        self.by_init: dict[bytes, IkeSa] = {}  # digest of the IKE_SA_INIT request → responder's SA
        self.by_peer: dict[Identification, set[IkeSa]] = {}
        self._going: dict[Identification, dict[IkeSa, None]] = {}  # closed or being deleted, the oldest first
        self._ways: dict[Identification, RoundTrip] = {}
        self.agreed: dict[bytes, tuple[IkeSuite, RawPayload]] = {}
        self.half_open = 0
        self._half_open: dict[Share, dict[IkeSa, None]] = {}
        self._lots: tuple[float, Counter[Share]] = (0.0, Counter())
        """Since when a share is full, and which requests wanted a place of it."""
        self._timers: list[tuple[float, int, IkeSa]] = []
        self._counter = 0
        self._tokens: dict[int, tuple[IkeSa, int, int]] = {}
        self.offers: tuple[Offer, ...] = ()
        self.offer(config.offers)

    def offer(self, offers: tuple[Offer, ...]) -> None:
        """Set the offered and accepted proposals. UnsupportedAlgorithm for proposals that we cannot make."""
        for offer in offers:
            _check_offer(offer)
        self.offers = offers
        self.only_additional = all(has_additional(offer) for offer in offers)
        """True if every IKE SA must have an additional key exchange (RFC 9370)."""
        self.agreed.clear()  # answers under the previous proposals

    def allows(self, suite: IkeSuite | None) -> bool:
        """True if an IKE SA of this suite may stay."""
        return suite is None or bool(suite.additional_ke) or not self.only_additional

    def number(self) -> int:
        """A number that was not used before."""
        self._counter += 1
        return self._counter

    def emit(self, effect: Send | Event) -> None:
        self.effects.append(effect)

    def drop(self, reason: str, peer: PeerAddress) -> None:
        self.effects.append(Dropped(reason, peer))

    def new_spi(self) -> bytes:
        """An SPI of ours that no SA has."""
        while True:
            spi = shared_spi(self.random(8), *self.config.spi_share)
            if spi != ZERO_SPI and spi not in self.by_spi:
                return spi

    def add(self, sa: IkeSa) -> None:
        self.by_spi[sa.our_spi] = sa

    def forget(self, sa: IkeSa) -> None:
        """Drop all references to this SA. Until then a failed SA counts as half-open, since it takes memory."""
        sa.end_half_open()
        sa.forget_fragments()
        sa.scheduled = None  # its timer has become stale
        if self.by_spi.get(sa.our_spi) is sa:
            del self.by_spi[sa.our_spi]
        if sa.init_digest is not None and self.by_init.get(sa.init_digest) is sa:
            del self.by_init[sa.init_digest]
        if sa.peer_id is not None and (going := self._going.get(sa.peer_id)) is not None:
            going.pop(sa, None)
            if not going:
                del self._going[sa.peer_id]

    def up(self, sa: IkeSa) -> None:
        """The SA's peer is authenticated."""
        assert sa.peer_id is not None
        self.by_peer.setdefault(sa.peer_id, set()).add(sa)

    def way(self, peer_id: Identification) -> RoundTrip:
        """The round-trip estimate of this peer. The caller has authenticated the peer, or begins a handshake with
        it."""
        round_trip = self._ways.get(peer_id)
        if round_trip is None:
            if len(self._ways) >= MOST_PEERS:
                del self._ways[next(iter(self._ways))]
            round_trip = self._ways[peer_id] = RoundTrip()
        return round_trip

    def down(self, sa: IkeSa) -> None:
        """The SA is no longer established."""
        if sa.peer_id is not None and (others := self.by_peer.get(sa.peer_id)) is not None:
            others.discard(sa)
            if not others:
                del self.by_peer[sa.peer_id]

    def going(self, sa: IkeSa, now: float) -> None:
        """An established SA has ended, and is kept for a while to answer retransmissions. Each peer has at most as many
        such SAs as it may have established ones, so a series of handshakes fills no memory. One more drops the
        oldest."""
        assert sa.peer_id is not None
        going = self._going.setdefault(sa.peer_id, {})
        if sa in going:
            return
        going[sa] = None
        if len(going) > self.config.max_sas_per_peer:
            oldest = next(iter(going))
            oldest.close(CloseReason.DELETED_BY_US, now)
            self.forget(oldest)

    def begin_half_open(self, sa: IkeSa) -> None:
        """Count one more half-open SA for its peer's address and prefix."""
        self.half_open += 1
        for share, _most in self._shares(sa.peer):
            self._half_open.setdefault(share, {})[sa] = None

    def end_half_open(self, sa: IkeSa, peer: PeerAddress) -> None:
        """This SA, which began from there, no longer counts."""
        self.half_open -= 1
        for share, _most in self._shares(peer):
            held = self._half_open[share]
            del held[sa]
            if not held:
                del self._half_open[share]

    def half_open_of(self, peer: PeerAddress) -> int:
        """The number of half-open SAs of this source's address."""
        return len(self._half_open.get(self._shares(peer)[0][0], ()))

    def has_share(self, peer: PeerAddress) -> bool:
        """True if a source may have one more half-open SA, by its address and by its prefix: the owner of a /64 can
        receive answers at 2^64 addresses."""
        shares = self._shares(peer)
        return self.half_open < self.config.max_half_open and all(
            len(self._half_open.get(share, ())) < most for share, most in shares
        )

    def make_room(self, peer: PeerAddress, now: float) -> bool:
        """True if a source with our cookie may have one more half-open SA, at the cost of another of its own.

        In a full share, the place is drawn by lot among all requests within a second, and so is the SA that is dropped.
        An attacker that reads cookies and sends in another's name, or alters copies of its request, needs very many
        packets to keep it out.
        """
        if self.half_open >= self.config.max_half_open:
            return False
        for share, most in self._shares(peer):
            held = self._half_open.get(share, {})
            if len(held) < most:
                continue
            given_up = [each for each in held if each.may_be_displaced]
            if not given_up or not self._drawn(share, most, now):
                return False
            given_up[self.lot(len(given_up))].displace()
        return True

    def _drawn(self, share: Share, most: int, now: float) -> bool:
        since, wanted = self._lots
        if not 0 <= now - since < LOTS_S:
            self._lots = now, (wanted := Counter())
        wanted[share] += 1
        return self.lot(wanted[share]) < most

    def lot(self, of: int) -> int:
        """A number from 0 on, below the count, each with the same chance."""
        return int.from_bytes(self.random(8), "big") % of

    def _shares(self, peer: PeerAddress) -> tuple[tuple[Share, int], ...]:
        """The counters of a source's half-open SAs with their limits: of its address and of its prefix. Privileged
        ports count separately, so that a user of a router's machine cannot use up the router's own share."""
        config, privileged = self.config, peer.port < PRIVILEGED_PORTS
        of_prefix = max(config.max_half_open_per_address, config.max_half_open // config.half_open_prefixes)
        return (
            (("address", peer.ip, privileged), config.max_half_open_per_address),
            (("prefix", source_prefix(peer.ip), privileged), of_prefix),
        )

    def new_token(self, sa: IkeSa, message_id: int, exchange: int) -> int:
        """A token for a request that the layer above will answer."""
        token = self.number()
        self._tokens[token] = (sa, message_id, exchange)
        sa.tokens.add(token)
        return token

    def token(self, token: int) -> tuple[IkeSa, int, int] | None:
        """The request of this token: its SA, Message ID and exchange."""
        return self._tokens.get(token)

    def take_token(self, token: int) -> None:
        """The request of this token was answered, or can no longer be answered."""
        waiting = self._tokens.pop(token, None)
        if waiting is not None:
            waiting[0].tokens.discard(token)

    def schedule(self, sa: IkeSa) -> None:
        """Make sure that sa.tick is called no later than its next deadline."""
        deadline = sa.deadline()
        if deadline is None or (sa.scheduled is not None and sa.scheduled <= deadline):
            return
        sa.scheduled = deadline
        heapq.heappush(self._timers, (deadline, self.number(), sa))
        # An earlier deadline leaves the later entry behind, which would hold a closed SA in memory for the rest of its
        # lifetime.
        if len(self._timers) > 2 * len(self.by_spi) + _SPARE_TIMERS:
            self._timers = [each for each in self._timers if each[2].scheduled == each[0]]
            heapq.heapify(self._timers)

    def next_timer(self) -> float | None:
        timers = self._timers
        while timers and timers[0][2].scheduled != timers[0][0]:
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def tick(self, now: float) -> None:
        while (due := self.next_timer()) is not None and due <= now:
            sa = heapq.heappop(self._timers)[2]
            sa.scheduled = None
            try:
                sa.tick(now)
            except Exception as error:
                self.emit(Faulted("timer", error))
                sa.broken(now)
            self.schedule(sa)


def shared_spi(spi: bytes, number: int, of: int) -> bytes:
    """An SPI as endpoint `number` of `of` on one port makes it: first octet - 1 ≡ number (mod of), and not 0.

    The port's socket filter reads it (`agents.runtime.shared_udp`). 1 <= of <= 64.
    """
    if of == 1:
        return spi
    choices = range(1 + number, 256, of)
    return bytes([choices[spi[0] % len(choices)]]) + spi[1:]


@lru_cache(maxsize=64)
def _check_offer(offer: tuple[Transform, ...]) -> None:
    """Raise UnsupportedAlgorithm for a configured transform that we lack."""
    by_type: dict[int, list[Transform]] = {}
    for item in offer:
        by_type.setdefault(item.type, []).append(item)
    for combination in product(*by_type.values()):
        ike_suite(combination)
