"""The Child SAs with a router that is not a neighbour, as the kernel must hold them, and when each begins and ends.

Knows nothing of messages: it gets the agreed and the deleted SAs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from agents.ikev2 import ChildOffer, ChildSa, SaHandle, TrafficSelector, Transform
from agents.ikev2.codec.transforms import transform
from agents.ikev2.registry import TransformType
from agents.ipsec.protection import Suite
from agents.ipsec.unicast import PairSa, UnicastPeer
from agents.lks.generations import earliest
from agents.policy.document import PairPolicy

Addresses = tuple[IPv4Address, IPv4Address]
_NO_ESN = 0


def transforms(suite: Suite) -> tuple[Transform, ...]:
    """The suite as a proposal for ESP, without extended sequence numbers."""
    parameters = suite.parameters
    wanted = [transform(TransformType.ENCR, parameters.encr_id, parameters.encr_key_bits or None)]
    if parameters.integ_id is not None:
        wanted.append(transform(TransformType.INTEG, parameters.integ_id))
    return (*wanted, transform(TransformType.SN, _NO_ESN))


@dataclass(slots=True)
class _Held:
    sa: SaHandle
    child: ChildSa
    addresses: Addresses
    active_at: float  # 0: it is
    until: float
    ends_at: float | None = None


class PairKeys:
    """All Child SAs with one peer."""

    def __init__(self, policy: PairPolicy, suite: Suite) -> None:
        self.policy, self._suite = policy, suite
        self._held: list[_Held] = []  # the newest first

    @property
    def wanted(self) -> tuple[Addresses, ...]:
        """(own, peer's): a Child SA for each."""
        return tuple((local, remote) for local in self.policy.local for remote in self.policy.remote)

    @property
    def missing(self) -> tuple[Addresses, ...]:
        """The pairs of addresses without a Child SA."""
        there = {each.addresses for each in self._held if each.ends_at is None}
        return tuple(each for each in self.wanted if each not in there)

    @property
    def peer(self) -> UnicastPeer:
        """The peer in the form of agents.ipsec."""
        policy = self.policy
        return UnicastPeer(policy.index, policy.protocol, policy.mode, policy.local, policy.remote)

    def offer(self, addresses: Addresses) -> ChildOffer:
        """The Child SA that we request and agree to: transport mode, this protocol only, between these two
        addresses."""
        number = self.policy.protocol.ip_protocol
        local, remote = (TrafficSelector(each, each, number) for each in addresses)
        return ChildOffer((transforms(self._suite),), (local,), (remote,))

    def fits(self, local: tuple[TrafficSelector, ...], remote: tuple[TrafficSelector, ...]) -> Addresses | None:
        """The wanted SA that a peer means by these selectors."""
        for mine, theirs in self.wanted:
            if self._covers(local, mine) and self._covers(remote, theirs):
                return mine, theirs
        return None

    def _covers(self, selectors: tuple[TrafficSelector, ...], address: IPv4Address) -> bool:
        number = self.policy.protocol.ip_protocol
        return any(
            each.first.version == 4
            and each.protocol in (0, number)
            and int(each.first) <= int(address) <= int(each.last)
            for each in selectors
        )

    # -- agreed and ended Child SAs ------------------------------------------------------------------

    def add(self, sa: SaHandle, child: ChildSa, now: float, atd_s: float, answered_s: float, life_s: float) -> bool:
        """Add this Child SA, which its IKE SA rekeys within `life_s`. False when it is not a wanted one.

        A Child SA that the peer requested in place of another is sent with as soon as the peer deletes the other: the
        peer can use the new one only after our answer, and then deletes the old one (RFC 7296 §2.8). At the latest that
        is `answered_s` later, the time for which it retransmits. Of two IKE SAs, the newer one's Child SA is sent with
        `atd_s` later.
        """
        addresses = self.fits(child.local, child.remote)
        if addresses is None or not child.transport:
            return False
        there = [each.sa for each in self._held if each.addresses == addresses and each.ends_at is None]
        wait_s = answered_s if sa in there else atd_s
        active_at = now + wait_s if there and not child.initiator else 0.0
        self._held.insert(0, _Held(sa, child, addresses, active_at, now + life_s))
        return True

    def ended(self, sa: SaHandle, child: ChildSa, now: float, dtd_s: float) -> None:
        """The Child SA was deleted: nothing is sent with it, and packets on their way are accepted for `dtd_s` more."""
        for each in self._held:
            if each.sa is sa and each.child.spi_in == child.spi_in and each.ends_at is None:
                each.ends_at = now + dtd_s
                self._begin(each.addresses)

    def _begin(self, addresses: Addresses) -> None:
        for each in self._held:
            if each.addresses == addresses:
                each.active_at = 0.0

    def lost(self, sa: SaHandle) -> bool:
        """The IKE SA is gone, and its Child SAs with it. True if there were any."""
        gone = [each for each in self._held if each.sa is sa]
        self._held = [each for each in self._held if each.sa is not sa]
        for each in gone:
            self._begin(each.addresses)
        return bool(gone)

    def tick(self, now: float) -> bool:
        """True if a Child SA has begun or ended by now."""
        due = [each for each in self._held if each.ends_at is not None and each.ends_at <= now]
        self._held = [each for each in self._held if each not in due]
        begun = [each for each in self._held if 0.0 < each.active_at <= now]
        for each in begun:
            each.active_at = 0.0
        return bool(due or begun)

    def next_timer(self) -> float | None:
        """The time of the next change."""
        ends = [each.ends_at for each in self._held]
        return earliest([*ends, *(each.active_at for each in self._held if each.active_at > 0.0)])

    # -- for the kernel ------------------------------------------------------------------------------

    def sas(self) -> Iterator[PairSa]:
        """The content that the kernel must have, the newest first."""
        for each in self._held:
            local, remote = each.addresses
            keys_in = each.child.keys_in.encryption + each.child.keys_in.integrity
            keys_out = each.child.keys_out.encryption + each.child.keys_out.integrity
            spi_in, spi_out = (int.from_bytes(spi, "big") for spi in (each.child.spi_in, each.child.spi_out))
            index = self.policy.index
            until = each.until if each.ends_at is None else min(each.until, each.ends_at)
            yield PairSa(spi_in, self._suite, keys_in, remote, local, index, outbound=False, until=until)
            if each.ends_at is None:
                active = not each.active_at
                yield PairSa(spi_out, self._suite, keys_out, local, remote, index, True, active, until)


__all__ = ["PairKeys", "transforms"]
