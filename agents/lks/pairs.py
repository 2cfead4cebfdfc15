"""Keys for unicast PIM with routers that are not neighbours: an IKE SA with each, and Child SAs in it.

Plain IKEv2 (RFC 7296), not G-IKEv2: two parties, transport mode, PIM only, both addresses. The router that is not a
rendezvous point begins, and tries until there is a route. These peers are several hops away, so interface and hop limit
are not checked. Only datagrams from a signed address of a pair to the other one are accepted, with cookies and a bound
of half-open SAs. Knows nothing of groups, neighbours or the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

from agents.gikev2.party import IkeParty
from agents.ikev2 import (
    ChildClosed,
    ChildEstablished,
    ChildFailed,
    ChildOffer,
    Closed,
    CloseReason,
    Datagram,
    Established,
    Identification,
    IkeConfig,
    IkeEndpoint,
    PeerAddress,
    PeerCredential,
    PeerKey,
    Retransmission,
    SaHandle,
    TrafficSelector,
    UnknownSa,
)
from agents.ikev2.config import offers
from agents.ikev2.registry import ExchangeType
from agents.ipsec.protection import Mode
from agents.ipsec.unicast import Unicast, UnicastPoint
from agents.lks.context import Context
from agents.lks.generations import earliest
from agents.lks.pair_keys import PairKeys
from agents.policy.document import InterfacePolicy, PairPolicy, PolicyDocument

RETRANSMISSION = Retransmission(first_s=0.5, factor=1.8, cap_s=2.0, tries=10)
FIRST_S = (0.0, 0.5)
"""The range of the initiator's first wait, in seconds: all routers of a domain may have booted at once."""
POINT_FIRST_S = (3.0, 6.0)
"""When a rendezvous point begins in place of the other side: after a reboot it may be the only one that knows."""
AGAIN_S, REFUSED_S = (1.0, 3.0), (5.0, 15.0)
MAX_HALF_OPEN = 256
ROUTED_S = 0.1
"""The time after a change of routes at which a silent peer is tried again: there may now be a path to it and back."""
REKEY_S = 30
"""A rekey that began in time has its answer by then; otherwise the IKE SA is given up, with its Child SAs."""
_QUICKLY = frozenset({CloseReason.TIMEOUT, CloseReason.DELETED_BY_PEER, CloseReason.INITIAL_CONTACT})


@dataclass
class _Peer:
    keys: PairKeys
    connect_at: float | None
    poke_at: float | None = None
    trying: SaHandle | None = None
    up: list[SaHandle] = field(default_factory=list)  # the newest last
    surplus_at: float | None = None
    keyed: bool = False

    @property
    def policy(self) -> PairPolicy:
        return self.keys.policy


class Pairs(IkeParty):
    """All pairs of one router. Call `adopt` at the start and for each new document."""

    def __init__(self, context: Context, port: int) -> None:
        self._context, self._port = context, port
        self._peers: dict[str, _Peer] = {}
        self._addresses: dict[str, _Peer] = {}
        self._ours: frozenset[tuple[str, str]] = frozenset()
        document = context.document
        self._suite, self._lifetimes = document.suite, document.lifetimes
        endpoint = IkeEndpoint(
            context.identity,
            self._authenticate,
            random=context.random,
            config=IkeConfig(
                offers=offers(document.key_exchange),
                retransmission=RETRANSMISSION,
                liveness_s=context.liveness.pair_s,
                ike_lifetime_s=float(document.lifetimes.ike_s),
                child_lifetime_s=float(document.lifetimes.group_s),
                admit=lambda peer: (peer.ip, peer.local_ip) in self._ours,
                cookie_threshold=16,
                cookie_threshold_per_address=2,
                max_half_open=MAX_HALF_OPEN,
                max_sas_per_peer=4,
                upper_exchanges=frozenset(),
                log_keys=context.log_keys,
            ),
            auth_exchange=ExchangeType.IKE_AUTH,
            child_policy=self._agree,
        )
        super().__init__(endpoint, document.domain, context.effects.append, context.boundary)

    # -- who may speak to us -------------------------------------------------------------------------

    def is_from(self, datagram: Datagram) -> bool:
        """True if it goes from a peer's address to one that we use with that peer."""
        return (datagram.peer.ip, datagram.peer.local_ip) in self._ours

    def _authenticate(
        self, claimed: Identification, credential: PeerCredential | None, peer: PeerAddress
    ) -> PeerKey | None:
        router = self._addresses.get(peer.ip)
        if router is None or claimed != self._context.party(router.policy.router):
            return None
        return PeerKey.from_spki(router.policy.key)

    def _agree(
        self,
        identity: Identification,
        peer: PeerAddress,
        local: tuple[TrafficSelector, ...],
        remote: tuple[TrafficSelector, ...],
    ) -> ChildOffer | None:
        pair = self._named(identity)
        addresses = pair.keys.fits(local, remote) if pair is not None else None
        return pair.keys.offer(addresses) if pair is not None and addresses is not None else None

    def _named(self, identity: Identification | None) -> _Peer | None:
        router = self.router_of(identity)
        return None if router is None else self._peers.get(router)

    # -- policy --------------------------------------------------------------------------------------

    def adopt(self, document: PolicyDocument, now: float) -> None:
        """Continue under this document: unchanged pairs are undisturbed, and a mode affects no key."""
        wanted = {each.router: each for each in document.pairs if each.mode is not Mode.CLEAR}
        if document.suite is not self._suite:
            self.stop(now)
        self._suite, self._lifetimes = document.suite, document.lifetimes
        for router, peer in list(self._peers.items()):
            new = wanted.get(router)
            if new is None or new.model_copy(update={"mode": peer.policy.mode}) != peer.policy:
                self._drop(router, now)
            else:
                peer.keys.policy = new
        for router, policy in wanted.items():
            if router not in self._peers:
                wait = FIRST_S if policy.initiator else POINT_FIRST_S
                keys = PairKeys(policy, self._suite)
                self._peers[router] = _Peer(keys, now + self._context.uniform(*wait))
        self._addresses = {str(address): each for each in self._peers.values() for address in each.policy.remote}
        facing = {pair for interface in document.interfaces for pair in _facing(interface)}
        self._ours = frozenset(
            {(str(remote), str(local)) for each in self._peers.values() for local, remote in each.keys.wanted} - facing
        )
        self._endpoint.review(now)
        self._context.kernel_dirty = True
        self._drain(now)

    def _drop(self, router: str, now: float) -> None:
        peer = self._peers.pop(router)
        for sa in (*peer.up, *([peer.trying] if peer.trying is not None else [])):
            self._endpoint.close(sa, now)
        self._note(peer)

    def stop(self, now: float) -> None:
        """End the contact with all peers."""
        for router in list(self._peers):
            self._drop(router, now)
        self._drain(now)

    # -- input ---------------------------------------------------------------------------------------

    def routes(self, now: float) -> None:
        """Routes changed. An initiator need not wait for the next retransmission or attempt."""
        for peer in self._peers.values():
            if peer.policy.initiator and not peer.up and peer.poke_at is None:
                peer.poke_at = now + ROUTED_S

    def receive(self, datagram: Datagram, now: float) -> None:
        """Handle a datagram that `is_from` a peer. Answers follow the routes, not the interface of arrival."""
        self._endpoint.receive(replace(datagram, peer=replace(datagram.peer, interface="")), now)
        self._drain(now)

    def tick(self, now: float) -> None:
        """Do all actions that are due."""
        self.boundary.timer("pairs", lambda: self._due(now), now)
        self._endpoint.tick(now)
        self._drops.tick(now)
        self._drain(now)

    def _due(self, now: float) -> None:
        for peer in self._peers.values():
            if peer.poke_at is not None and peer.poke_at <= now:
                peer.poke_at = None
                if peer.trying is not None:
                    self._endpoint.poke(peer.trying, now)
                elif not peer.up:
                    peer.connect_at = now
            if peer.connect_at is not None and peer.connect_at <= now:
                self._connect(peer, now)
            if peer.surplus_at is not None and peer.surplus_at <= now:
                peer.surplus_at = None
                for sa in peer.up[:-1]:
                    self._endpoint.close(sa, now)
            if peer.keys.tick(now):
                self._context.kernel_dirty = True

    def next_timer(self) -> float | None:
        """When something is due."""
        peers = (
            when
            for each in self._peers.values()
            for when in (each.connect_at, each.poke_at, each.surplus_at, each.keys.next_timer())
        )
        due = self.boundary.due("pairs", earliest(peers))
        return earliest([self._endpoint.next_timer(), self._drops.next_timer(), due])

    def _connect(self, peer: _Peer, now: float) -> None:
        """Begin an IKE SA, or request the missing Child SAs in the existing one."""
        peer.connect_at = None
        missing = peer.keys.missing
        if peer.up:
            for addresses in missing:
                self._ask(peer, addresses, now)
        elif peer.trying is None:
            local, remote = peer.policy.local[0], peer.policy.remote[0]
            address = PeerAddress(str(remote), self._port, str(local), "", self._port)
            offer = peer.keys.offer(missing[0] if missing else peer.keys.wanted[0])
            peer.trying = self._endpoint.connect(address, self._context.party(peer.policy.router), (), now, child=offer)

    def _ask(self, peer: _Peer, addresses: tuple[IPv4Address, IPv4Address], now: float) -> None:
        try:
            self._endpoint.create_child(peer.up[-1], peer.keys.offer(addresses), now)
        except UnknownSa:
            self._again(peer, now, AGAIN_S)

    def _again(self, peer: _Peer, now: float, wait: tuple[float, float]) -> None:
        if peer.connect_at is None:
            peer.connect_at = now + self._context.uniform(*wait)

    # -- events --------------------------------------------------------------------------------------

    def on_child_closed(self, event: ChildClosed, now: float) -> None:
        peer = self._named(event.sa.peer_id)
        if peer is not None:
            dtd_s = max(float(self._lifetimes.dtd_s), event.sa.answer_within_s)
            peer.keys.ended(event.sa, event.child, now, dtd_s)
            self._context.kernel_dirty = True
            self._missed(peer, now, AGAIN_S)

    def on_child_failed(self, event: ChildFailed, now: float) -> None:
        peer = self._named(event.sa.peer_id)
        if peer is not None:
            self._context.event("error", what="pair", peer=peer.policy.router, detail=f"notify {event.notify}")
            self._missed(peer, now, REFUSED_S)

    def _missed(self, peer: _Peer, now: float, wait: tuple[float, float]) -> None:
        self._note(peer)
        if peer.keys.missing:
            self._again(peer, now, wait)

    def on_established(self, event: Established, now: float) -> None:
        peer = self._named(event.peer_id)
        if peer is None:
            self._endpoint.close(event.sa, now)
            return
        role = "initiator" if event.initiator else "responder"
        self._context.event("ike", peer=peer.policy.router, interface="", role=role, state="established")
        if event.sa is peer.trying:
            peer.trying = None
        else:
            self._give_up(peer, now)
        peer.up.append(event.sa)
        if len(peer.up) > 1 and peer.policy.initiator:
            peer.surplus_at = now + self._lifetimes.atd_s + self._lifetimes.dtd_s
        peer.connect_at = None
        if event.initiator:
            for addresses in peer.keys.wanted:
                if addresses in peer.keys.missing[1:]:
                    self._ask(peer, addresses, now)
        else:
            # The initiator requests the wanted Child SAs. If it does not, we do.
            self._again(peer, now, REFUSED_S)

    def _give_up(self, peer: _Peer, now: float) -> None:
        """The peer's IKE SA is established, so ours is superfluous: both sides begin when a route appears. An SA that
        has an answer continues, since the peer may have it soon; then there are two until `surplus_at`. So the two
        routers never give up each other's SA at once."""
        trying = peer.trying
        if trying is not None and not trying.answered:
            peer.trying = None
            self._endpoint.abandon(trying, now)

    def on_child_established(self, event: ChildEstablished, now: float) -> None:
        peer = self._named(event.sa.peer_id)
        lives = self._lifetimes
        life_s = float(lives.group_s + lives.atd_s + lives.dtd_s + REKEY_S)
        # Our answer may be lost, and requested again late.
        atd_s = max(float(lives.atd_s), min(2 * event.sa.answer_within_s, lives.group_s / 10))
        if peer is None or not peer.keys.add(event.sa, event.child, now, atd_s, REKEY_S, life_s):
            self._endpoint.delete_child(event.sa, event.child, now)
            return
        self._context.kernel_dirty = True
        if not peer.keys.missing:
            peer.connect_at = None
        self._note(peer)

    def on_closed(self, event: Closed, now: float) -> None:
        peer = self._named(event.sa.peer_id)
        if peer is None:
            return
        ours = event.sa is peer.trying or event.sa in peer.up
        if event.sa is peer.trying:
            peer.trying = None
        if event.sa in peer.up:
            peer.up.remove(event.sa)
        if peer.keys.lost(event.sa):
            self._context.kernel_dirty = True
        if ours:
            reason = event.reason.name.lower()
            self._context.event("ike", peer=peer.policy.router, interface="", role="", state=reason)
            if not peer.up and peer.trying is None:
                self._again(peer, now, AGAIN_S if event.reason in _QUICKLY else REFUSED_S)
            elif peer.keys.missing:
                self._again(peer, now, AGAIN_S)
        self._note(peer)

    def _note(self, peer: _Peer) -> None:
        keyed = not peer.keys.missing and self._peers.get(peer.policy.router) is peer
        if keyed is not peer.keyed:
            peer.keyed = keyed
            self._context.event("pair", peer=peer.policy.router, state="keyed" if keyed else "lost")

    # -- for the kernel and for status ---------------------------------------------------------------

    def unicast(self, *, closed: bool) -> Unicast:
        """The content that the kernel must have. `closed`: without any key."""
        points = tuple(
            UnicastPoint(each.address, each.protocol, each.mode, each.own) for each in self._context.document.points
        )
        sas = () if closed else tuple(sa for each in self._peers.values() for sa in each.keys.sas())
        return Unicast(points, tuple(each.keys.peer for each in self._peers.values()), sas)

    def status(self) -> list[Mapping[str, Any]]:
        """For `lks status`, fit for JSON."""
        return [
            {
                "router": router,
                "mode": peer.policy.mode.value,
                "local": [str(each) for each in peer.policy.local],
                "remote": [str(each) for each in peer.policy.remote],
                "ike": bool(peer.up),
                "keyed": peer.keyed,
                "key_exchange": self.key_exchange(router),
            }
            for router, peer in sorted(self._peers.items())
        ]


def _facing(interface: InterfacePolicy) -> list[tuple[str, str]]:
    """The key management between neighbours of a link: never a pair's address (the Policy Server signs none)."""
    ends = (interface.between(each) for each in interface.neighbors)
    return [(str(theirs), str(ours)) for ours, theirs in ends]


__all__ = ["Pairs"]
