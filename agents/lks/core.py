"""A router's Local Key Server as a whole: datagrams, time and interfaces in, effects out.

It starts without help: first it installs fail-closed policies and its own groups' keys in the kernel. Then it speaks
with every neighbour, and with the DKS on the schedule. Knows no socket, file or clock.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.gikev2 import GroupKeys
from agents.ikev2 import Datagram, UnsupportedAlgorithm
from agents.ikev2.config import offers, shortfall
from agents.ipsec.protection import GroupSa, IPAddress, ProtectedInterface
from agents.lks.carrying import MOST_HANDED, Carrying
from agents.lks.central import CentralGroups, CentralLink
from agents.lks.context import LIVENESS, Context, Counter, Liveness, RandomSource
from agents.lks.dks_link import DksLink
from agents.lks.generations import Sending, earliest
from agents.lks.lease import LEASE, Lease
from agents.lks.link import Link
from agents.lks.metrics import LksCounts, ailments, families
from agents.lks.own_confirmation import Confirming
from agents.lks.pairs import Pairs
from agents.lks.readiness import Missing, Readiness
from agents.lks.retained import DOCUMENT
from agents.lks.revocation import RouterRevocations
from agents.lks.status import keyed, status
from agents.policy.delegation import signer_of
from agents.policy.document import InterfacePolicy, PolicyDocument, verify_document
from agents.policy.errors import PolicyError, in_file
from agents.policy.group import MOST_VERSIONS_AHEAD
from agents.policy.names import GroupId
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import Revocations
from agents.runtime.control import CommandRefused
from agents.runtime.effects import Effect, Event, Kernel, in_order
from agents.runtime.links import LinkState
from agents.runtime.metrics import Family

_LINK_LOCAL = IPv6Network("fe80::/10")


class LksCore:
    """One router. Call `start` once; `links` whenever interfaces changed, also before `start`."""

    def __init__(
        self,
        signed_document: bytes,
        private_key: Ed25519PrivateKey,
        policy_server_key: Ed25519PublicKey,
        retained_record: bytes | None,
        *,
        domain: str,
        router: str,
        random: RandomSource,
        sequence: Counter,
        wall: Callable[[], float],
        port: int = 848,
        revocation: bytes | None = None,
        lease_record: bytes | None = None,
        carried_record: bytes | None = None,
        log_keys: bool = False,
        liveness: Liveness = LIVENESS,
    ) -> None:
        """PolicyError for a document or revocation list that is another router's, unsigned, older than one that was in
        force, or that this machine cannot meet; CorruptRecord for damaged counters.

        Expiry is not checked here: after a power failure the clock may be wrong, and the lease bounds how long an old
        document stays in force.
        """
        with in_file(DOCUMENT):
            document = verify_document(signed_document, policy_server_key, domain=domain, router=router)
            _check_ability(document)
        revocations = Revocations(domain, policy_server_key)
        if revocation is not None:
            with in_file(REVOCATION):
                revocations.take(revocation)
        acted_on = revocations.without_revoked(document)
        self._signer = signer_of(signed_document, policy_server_key, domain=domain)
        effects: list[Effect] = []
        # Before the counters: a router with counters but without a lease record has lost its lease.
        self._lease = Lease(
            lease_record,
            first=retained_record is None,
            seconds=document.lease.seconds,
            wall=wall,
            emit=effects.append,
        )
        self._context = Context(
            acted_on,
            private_key,
            retained_record,
            effects,
            random=random,
            sequence=sequence,
            log_keys=log_keys,
            liveness=liveness,
            signer=self._signer[1],
            revoked=revocations.revokes_administrator_hash,
        )
        self._whole = document
        self.revocation = RouterRevocations(self._context, revocations, lambda: self._whole, self._revoked)
        self._policy_server_key, self._wall, self._port = policy_server_key, wall, port
        self.carrying = Carrying(carried_record, signed_document, self._context, self)
        self.confirming = Confirming(self._context, self._keyed_on, lambda: self.revocation.version, wall)
        self._pairs = Pairs(self._context, port)
        self._link_states: Mapping[str, LinkState] = {}
        self._links: dict[str, Link] = {}
        self._protection: dict[str, tuple[InterfacePolicy, tuple[ProtectedInterface, ...]]] = {}
        """Each interface of the document in the words of agents.ipsec: every change of a key asks for it."""
        self._dks: DksLink | None = None
        self._pending: tuple[PolicyDocument, bytes | None] | None = None
        self._in_kernel: dict[tuple[int, IPAddress, str], GroupSa] = {}
        self._counts = LksCounts()
        self._since: dict[str, tuple[int, float]] = {}
        """The generation that each own group sends with, and since when."""
        self._now = 0.0
        """Time of the last input, from which a change of the kernel is timed."""
        self._lease_binds = False
        """True if an SA in the kernel ends with the lease, before its own time."""
        self._started = False
        self._kernel_refused = False
        """True if the kernel has refused part of the last change."""
        self._missed = 0
        self._readiness: Readiness | None = None

    @property
    def document(self) -> PolicyDocument:
        """The policy in force."""
        return self._context.document

    @property
    def link(self) -> Mapping[str, Link]:
        """Key management by interface (empty when all keys come from the DKS)."""
        return self._links

    # -- input ---------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Install own keys and fail-closed policies; then begin IKE with every reachable peer."""
        context, self._now = self._context, now
        self._started = True
        document = context.document
        neighbors = {each.router for interface in document.interfaces for each in interface.neighbors}
        counts = {"interfaces": len(document.interfaces), "neighbors": len(neighbors)}
        context.event("started", router=document.router, issuer=document.issuer, **counts)
        context.event("state_loaded", generation_floor=context.retained.generation_floor)
        context.event("policy", version=context.document.version)
        context.event("revocation", version=self.revocation.version, origin="disk", alone=self.revocation.alone)
        self._tell_shortfall()
        self._build(now)
        self._pairs.adopt(context.document, now)
        self._lease.start(now)
        if self._lease.doubt:
            context.event("error", what="lease", detail=f"{LEASE}: {self._lease.doubt}, so the lease is over")
        if context.newer:
            self._lease.granted(self._whole.issued_at, self._whole.lease.seconds, now)
        context.event("lease", left_s=round(self._lease.left(now), 3))
        self._readiness = Readiness(now)
        self._links_up(now)

    def links(self, states: Mapping[str, LinkState], now: float) -> None:
        """The router's interfaces are now these."""
        self._now = now
        before, self._link_states = self._link_states, dict(states)
        if {name: state.index for name, state in before.items()} != {
            name: state.index for name, state in states.items()
        }:
            self._context.kernel_dirty = True  # policies are bound to an interface's number
        if self._started:
            self._links_up(now)

    def routes(self, now: float) -> None:
        """The kernel's IPv4 routes changed."""
        self._now = now
        self._context.boundary.run("routes", lambda: self._pairs.routes(now))

    def receive(self, datagram: Datagram, now: float) -> None:
        """Handle a received datagram."""
        self._now = now
        self._context.boundary.run("datagram", lambda: self._take_in(datagram, now))
        self._look(now)

    def _take_in(self, datagram: Datagram, now: float) -> None:
        link = self._links.get(datagram.peer.interface)
        if self._pairs.is_from(datagram):
            self._pairs.receive(datagram, now)
        elif self._dks is not None and self._dks.is_from(datagram):
            self._dks.receive(datagram, now)
        elif link is not None:
            link.receive(datagram, now)
            self._look_whether_older(now)

    def _look(self, now: float) -> None:
        """The steps that may follow any input."""
        run = self._context.boundary.run
        if self._pending is not None:
            run("policy", lambda: self._adopt(now))
        if self._waited_for() is not None:
            run("readiness", lambda: self._look_whether_ready(now))
        run("confirmation", lambda: self.confirming.look(now))
        run("documents", self.carrying.keep)

    def enforced(self, kernel: Kernel | None, now: float) -> None:
        """The kernel now has this content; None: it refused part of it."""
        self._now = now
        self._kernel_refused = kernel is None
        self._context.boundary.run("confirmation", lambda: self.confirming.enforced(kernel))
        self._look(now)

    def tick(self, now: float) -> None:
        """Do all actions that are due."""
        self._now = now
        run = self._context.boundary.run
        for link in self._links.values():
            run("link", lambda link=link: link.tick(now))  # type: ignore[misc]
        if (dks := self._dks) is not None:
            run("DKS", lambda: dks.tick(now))
        run("pairs", lambda: self._pairs.tick(now))
        run("lease", lambda: self._check_lease(now))
        self._look(now)

    def lost(self, now: float) -> None:
        """Another program removed SAs of ours from the kernel, and their counters of sent and received packets with
        them. No key is used without its counter: all keys are replaced, as after a reboot."""
        self._now = now
        self._context.kernel_dirty = True
        self._begin_anew(now)
        self._pairs.stop(now)
        self._pairs.adopt(self._context.document, now)
        self._links_up(now)

    def stop(self, now: float) -> None:
        """The router stops in an orderly way. The kernel's SAs stay for the next start, each up to its key's end."""
        self._lease.stop(now)

    def next_timer(self) -> float | None:
        """The time of the next action."""
        dks = self._dks.next_timer() if self._dks is not None else None
        lease = self._lease.next_timer()
        readiness = self._waited_for()
        ready = readiness.next_timer(self._missing()) if readiness is not None else None
        links = [link.next_timer() for link in self._links.values()]
        return earliest([dks, lease, ready, self._pairs.next_timer(), *links])

    def command(self, words: Sequence[str], now: float) -> Mapping[str, Any]:
        """`status`; `rekey [INTERFACE]`: new generations of own groups; `accept DOCUMENT…`, `revocation LIST`, base64:
        an administrator's files. CommandRefused."""
        self._now = now
        return self._context.boundary.command(lambda: self._command(words, now))

    def _command(self, words: Sequence[str], now: float) -> Mapping[str, Any]:
        match list(words):
            case ["status"]:
                lease, seconds = round(self._lease.left(now), 3), self._context.document.lease.seconds
                answer = status(self._context, self._links, self._central, self._dks, now, refused=self._kernel_refused)
                for group in (each for interface in answer["interfaces"] for each in interface["groups"]):
                    since = self._since.get(group["group"])
                    group["age_s"] = None if since is None else round(now - since[1], 3)
                revocation = {"revocation_version": self.revocation.version, "revoked": self.revocation.alone}
                answer = {**answer, **revocation, "pairs": self._pairs.status(), "carried": self.carrying.status()}
                terms = {"lease_left_s": lease, "lease_s": seconds}
                return {**answer, **terms, "all_keyed": self._all_keyed() and not self._kernel_refused}
            case ["revocation", text]:
                return self._given(text, now)
            case ["accept", *texts]:
                return self._accepted(texts, now)
            case ["rekey", *names]:
                if self._central is not None:
                    raise CommandRefused("the DKS makes this router's keys")
                unknown = [name for name in names if name not in self._links]
                if unknown:
                    raise CommandRefused(f"no interface with groups of ours: {', '.join(unknown)}")
                for name in names or self._links:
                    self._links[name].rekey(now, "command")
                return {
                    "rekeyed": [str(group) for name in names or self._links for group in self._links[name].speakers]
                }
            case _:
                raise CommandRefused(f"unknown command: {' '.join(words) or 'none'}")

    def families(self, now: float) -> list[Family]:
        """As Core.families."""
        return families(self.command(["status"], now), self._counts)

    def ailments(self, now: float) -> list[str]:
        """As Core.ailments."""
        return ailments(self.command(["status"], now))

    # -- parts ---------------------------------------------------------------------------------------

    def _build(self, now: float) -> None:
        document = self._context.document
        if document.local_key_server:
            for interface in document.interfaces:
                self._add_link(interface, now)
            self._dks = DksLink(self._context, self, self._port, now)
        else:
            self._dks = CentralLink(self._context, self, CentralGroups(self._context), self._port, now)

    @property
    def _central(self) -> CentralGroups | None:
        """The groups whose keys the DKS makes for all members; None when Local Key Servers make them."""
        return self._dks.groups if isinstance(self._dks, CentralLink) else None

    def _add_link(self, interface: InterfacePolicy, now: float) -> None:
        if interface.name not in self._links and interface.protected:
            self._links[interface.name] = Link(
                self._context, self.revocation, self.carrying, interface, self._port, now, self
            )

    def _links_up(self, now: float) -> None:
        for name, link in self._links.items():
            state = self._link_states.get(name)
            up = state is not None and state.running and {*map(str, link.policy.addresses)} <= state.addresses
            self._context.boundary.run("link", lambda link=link, up=up: link.set_up(up, now))  # type: ignore[misc]

    # -- for the contact with the DKS (RouterSide) ----------------------------------------------------

    def states(self) -> list[bytes]:
        """As RouterSide.states."""
        signed = []
        for link in self._links.values():
            for speaker in link.speakers.values():
                keys = speaker.sending.waiting or speaker.sending.active
                if keys is not None:
                    signed.append(keys.state.octets)
        return signed

    def take_document(self, signed: bytes, now: float) -> None:
        """As RouterSide.take_document: accepted when the Policy Server signed it for us and it is newer. Its dates are
        ignored, but an administrator's delegation must not have ended. If the key that signed the document in force is
        revoked, a document is newer when it is not below the marks of the other keys: their last one may have been in
        force before."""
        try:
            fresh = self._acceptable(signed)
        except PolicyError as error:
            self._context.event("error", what="policy", detail=str(error))
            return
        if fresh.version >= self.policy_wanted:
            self._pending = (fresh, signed)

    def _acceptable(self, signed: bytes) -> PolicyDocument:
        """Our own document, if it may come into force. PolicyError."""
        fresh = self.verified(signed, self._context.document.router, self._context.retained.version)
        self._check_own(fresh)
        return fresh

    def _check_own(self, fresh: PolicyDocument) -> None:
        """PolicyError unless this verified document of our own can come into force."""
        _check_ability(fresh)
        before = self._context.retained.version
        if fresh.version > before + MOST_VERSIONS_AHEAD:
            raise PolicyError(f"version {fresh.version} is too far ahead of {before}")

    def verified(self, signed: bytes, router: str | None, minimum_version: int) -> PolicyDocument:
        """As CarryingSide.verified, for any router."""
        document = verify_document(
            signed,
            self._policy_server_key,
            domain=self._context.document.domain,
            router=router,
            minimum_version=minimum_version,
            wall_s=self._wall(),
            revoked=self.revocation.revokes_administrator,
        )
        if document.router != self._context.document.router and self.revocation.revokes_router(document.identity):
            raise PolicyError(f"the key of {document.router} is revoked")
        return document

    @property
    def policy_wanted(self) -> int:
        """As CarryingSide.policy_wanted."""
        lowest = self._context.retained.version + (0 if self._signed_by_revoked() else 1)
        pending = self._pending[0].version + 1 if self._pending is not None and self._pending[1] is not None else 1
        return max(lowest, pending)

    def carried(self, routers: Sequence[str], now: float) -> None:
        """As CarryingSide.carried."""
        for link in self._links.values():
            link.announce(routers, now)

    def documents_missed(self, now: float) -> None:
        """As CarryingSide.documents_missed."""
        if self._dks is not None:
            self._dks.come_paced(now)

    def _signed_by_revoked(self) -> bool:
        """True if a revoked administrator signed the policy in force."""
        _name, key = self._signer
        return bool(key) and self.revocation.revokes_administrator(key)

    def renew_lease(self, since: float, now: float) -> None:
        """As RouterSide.renew_lease."""
        if self._lease.renew(since, self._context.document.lease.seconds, now) or self._lease_binds:
            self._context.kernel_dirty = True

    def make_generations(self, groups: Sequence[GroupId], now: float) -> None:
        """As RouterSide.make_generations."""
        for group in groups:
            if (link := self._links.get(group.interface)) is not None:
                link.rekey_group(group, now, "ordered")
        self.report(now)

    def issued(self, group: GroupId, keys: GroupKeys | None, now: float) -> None:
        """As RouterSide.issued."""
        if (link := self._links.get(group.interface)) is not None:
            link.issued(group, keys, now)

    # -- the way to a DKS that makes generations of our groups (Orders) --------------------------------

    def order(self, group: GroupId, held: bytes, now: float) -> bool:
        """As Orders.order."""
        return self._dks is not None and self._dks.order(group, held, now)

    def answer_within_s(self) -> float:
        """As Orders.answer_within_s."""
        return self._dks.sa.answer_within_s if self._dks is not None and self._dks.sa is not None else 0.0

    def report(self, now: float) -> None:
        """As Orders.report."""
        if self._dks is not None:
            self._dks.report_soon(now)

    # -- policy --------------------------------------------------------------------------------------

    def _adopt(self, now: float) -> None:
        """Act on a new document: unchanged parts continue undisturbed."""
        if self._pending is None:
            return
        (whole_document, signed), self._pending = self._pending, None
        context = self._context
        self._whole, fresh = whole_document, self.revocation.effective(whole_document)
        old, context.document = context.document, fresh
        if signed is not None:
            self._signer = signer_of(signed, self._policy_server_key, domain=fresh.domain)
            context.retained.document(signed, fresh.version, self._signer[1])
            self._lease.shorten(fresh.lease.seconds, now)
            self._lease.granted(fresh.issued_at, fresh.lease.seconds, now)
            context.event("policy", version=fresh.version)
        context.kernel_dirty = True
        whole = _common(old) != _common(fresh)
        for name, link in list(self._links.items()):
            policy = fresh.interface(name)
            kept = not whole and policy is not None and bool(policy.protected)
            if not (kept and policy is not None and (policy == link.policy or link.adopt(policy, now))):
                link.stop(now)
                del self._links[name]
        if whole:
            self._begin_anew(now)
        elif isinstance(self._dks, CentralLink):
            central = CentralGroups(context)
            central.inherit(self._dks.groups)
            self._dks.groups = central
            self._dks.register_missing(now)
        else:
            for interface in fresh.interfaces:
                self._add_link(interface, now)
        self._pairs.adopt(fresh, now)
        self._agree(old, now)
        self._links_up(now)
        # Also with a new document: a list may have come with it.
        for link in self._links.values():
            link.pass_on(now)
        if self._dks is not None:
            self._dks.pass_on(now)
        if signed is not None:
            self.carrying.adopted(signed, now)

    def _agree(self, old: PolicyDocument, now: float) -> None:
        """Use the key exchange that policy asks for from now on, with every peer."""
        asked = self._context.document.key_exchange
        if asked is not old.key_exchange:
            self._tell_shortfall()
        for party in (*self._links.values(), self._pairs, *([self._dks] if self._dks is not None else [])):
            party.agree(asked, now)

    def _tell_shortfall(self) -> None:
        detail = shortfall(self._context.document.key_exchange)
        if detail is not None:
            self._context.event("error", what="key_exchange", detail=detail)

    def _begin_anew(self, now: float) -> None:
        """Begin again as at a start, with all groups and the DKS. No generation that was in the kernel is used
        again."""
        for link in self._links.values():
            link.stop(now)
        self._links.clear()
        if self._dks is not None:
            self._dks.stop(now)
        older = self._central
        self._build(now)
        if older is not None and (fresh := self._central) is not None:
            fresh.remember(older)

    # -- removal -------------------------------------------------------------------------------------

    def _revoked(self, now: float) -> None:
        """A newer revocation list is kept: continue under the same document without the revoked routers. A document
        that a revoked administrator signed stays in force too, until the next one comes or the lease ends."""
        if self.revocation.outdated:
            detail = (
                "the policy in force expired before the revocation list begins: no neighbour is accepted until the "
                "next policy"
            )
            self._context.event("error", what="policy", detail=detail)
            if self._dks is not None:
                self._dks.come_soon(now)
        if self._signed_by_revoked():
            detail = f"the policy in force is signed by administrator {self._signer[0]}, whose key is revoked"
            self._context.event("error", what="policy", detail=detail)
            if self._dks is not None:
                self._dks.come_soon(now)
                self._dks.report_soon(now)  # its answer brings the policy
        self.carrying.look_again()
        if self._pending is None:
            self._pending = (self._whole, None)

    def _accepted(self, texts: Sequence[str], now: float) -> Mapping[str, Any]:
        """The administrator of this router brings signed documents, base64: our own to act on, others' to pass on. All
        of them are accepted, or none."""
        brought = [self._brought(text) for text in texts]
        if not brought or len(brought) > MOST_HANDED:
            raise CommandRefused(f"{len(brought)} documents; allowed: 1 to {MOST_HANDED} at a time")
        router = self._context.document.router
        taken: list[dict[str, Any]] = []
        known: list[dict[str, Any]] = []
        for document, signed in brought:
            if document.router != router:
                new = self.carrying.hand(document, signed, now)
            elif new := document.version >= self.policy_wanted:
                self._pending = (document, signed)
            (taken if new else known).append({"router": document.router, "version": document.version})
        self._adopt(now)
        self.carrying.keep()
        return {"accepted": taken, "not_newer": known}

    def _brought(self, text: str) -> tuple[PolicyDocument, bytes]:
        signed = _decoded(text)
        try:
            document = self.verified(signed, None, 0)
            if document.router == self._context.document.router and document.version >= self.policy_wanted:
                self._check_own(document)
            else:
                self.carrying.check_ahead(document)
        except PolicyError as error:
            raise CommandRefused(f"no document was accepted: {error}") from error
        return document, signed

    def _given(self, text: str, now: float) -> Mapping[str, Any]:
        """The administrator of this router brings a revocation list, base64."""
        signed = _decoded(text)
        revocation, before = self.revocation, self.revocation.version
        revocation.offer(signed, "administrator", now)
        self._adopt(now)
        if revocation.signed != signed:
            raise CommandRefused(
                f"rejected: it is not signed for this domain, or not newer than version {revocation.version}"
            )
        return {"revocation_version": revocation.version, "before": before}

    # -- lease ---------------------------------------------------------------------------------------

    def _check_lease(self, now: float) -> None:
        if not self._lease.tick(now):
            return
        self._context.kernel_dirty = True
        self._context.event("error", what="lease", detail=f"over; policy says {self._context.document.lease.at_end}")

    # -- readiness -----------------------------------------------------------------------------------

    def _all_keyed(self) -> bool:
        """True if every neighbour on a running interface has our keys and we have its keys."""
        if (central := self._central) is not None:
            return central.complete
        return all(link.keyed(router) for link in self._links.values() if link.up for router in link.listeners)

    def _missing(self) -> Missing:
        up = [link for link in self._links.values() if link.up]
        present = any(not link.keyed(router) for link in up for router in link.present)
        return Missing.of(keyed=self._all_keyed(), present=present)

    def _keyed_on(self, policy: InterfacePolicy) -> tuple[str, ...]:
        """The neighbours on this interface with which we share keys in use, by name."""
        if self._lease.over and self._context.document.lease.at_end == "close":
            return ()
        link, central = self._links.get(policy.name), self._central
        routers = [each.router for each in policy.neighbors if keyed(policy, each.router, link, central)]
        return tuple(sorted(routers)) if len(routers) > 1 else tuple(routers)

    def _look_whether_older(self, now: float) -> None:
        """A neighbour has our own signed statement that we acted on a later policy: our folder was restored from an
        older state. Only the DKS has the later policy for us."""
        version = self._context.policy_shown
        if version > max(self._context.document.version, self._missed):
            self._missed = version
            detail = f"version {version} was in force, and our disk has version {self._context.document.version}"
            self._context.event("error", what="policy", detail=detail)
            if self._dks is not None:
                self._dks.come_soon(now)

    def _waited_for(self) -> Readiness | None:
        """The readiness that was not reported yet: until then all neighbours are checked after each datagram."""
        return self._readiness if self._readiness is not None and self._readiness.waits else None

    def _look_whether_ready(self, now: float) -> None:
        readiness = self._waited_for()
        if readiness is not None and readiness.reached(self._missing(), now):
            self._context.event("ready", keyed=self._all_keyed())

    # -- effects -------------------------------------------------------------------------------------

    def take(self) -> list[Effect]:
        """The effects, in the order in which they must be done."""
        context = self._context
        if context.kernel_dirty and self._started:
            context.kernel_dirty = False
            context.boundary.run("kernel", self._kernel)
        effects, context.effects[:] = list(context.effects), []
        for effect in effects:
            if isinstance(effect, Event):
                self._counts.observe(effect)
        return in_order(effects)

    def _kernel(self) -> None:
        closes = self._context.document.lease.at_end == "close"
        closed = closes and self._lease.over
        bound = self._lease.until if closes and self._lease.until is not None else math.inf
        sas = () if closed else tuple(self._sas())
        unicast = self._pairs.unicast(closed=closed)
        self._lease_binds = max((each.until for held in (sas, unicast.sas) for each in held), default=0.0) > bound
        if self._lease_binds:
            sas = tuple(replace(each, until=min(each.until, bound)) for each in sas)
            ended = tuple(replace(each, until=min(each.until, bound)) for each in unicast.sas)
            unicast = replace(unicast, sas=ended)
        held: dict[tuple[int, IPAddress, str], GroupSa] = {}
        for each in sas:
            # An SPI can stand for one key only. The newest of a group comes first.
            held.setdefault((each.spi, each.destination, "out" if each.outbound else "in"), each)
        kernel = Kernel(tuple(self._protected()), tuple(held.values()), unicast, self._now)
        self._context.effects.append(kernel)
        for key in (*held, *(each for each in self._in_kernel if each not in held)):
            new, old = held.get(key), self._in_kernel.get(key)
            sa = new or old
            if sa is None or (new is not None and old is not None and new.active == old.active):
                continue
            change = "removed" if new is None else "added" if old is None else "active" if new.active else "inactive"
            self._context.event(
                "sa",
                spi=f"{sa.spi:#010x}",
                direction=key[2],
                destination=str(sa.destination),
                interface=sa.interface,
                generation=sa.generation,
                change=change,
            )
        self._in_kernel = held
        for group, sending in self._sending():
            active = sending.active
            if active is not None and self._since.get(str(group), (0, 0.0))[0] != active.generation:
                self._since[str(group)] = (active.generation, self._now)

    def _sending(self) -> Iterator[tuple[GroupId, Sending]]:
        if (central := self._central) is not None:
            yield from central.sending.items()
        for link in self._links.values():
            yield from ((group, speaker.sending) for group, speaker in link.speakers.items())

    def _sas(self) -> Iterator[GroupSa]:
        if (central := self._central) is not None:
            sas = central.sas()
        else:
            sas = (sa for link in self._links.values() for sa in link.sas())
        return (sa for sa in sas if sa.interface in self._link_states)

    def _protected(self) -> Iterator[ProtectedInterface]:
        for interface in self._context.document.interfaces:
            if interface.name not in self._link_states:
                continue
            known = self._protection.get(interface.name)
            if known is None or known[0] is not interface:
                known = self._protection[interface.name] = interface, tuple(protected(interface))
            yield from known[1]


def _decoded(text: str) -> bytes:
    """The octets that an administrator brings. CommandRefused."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise CommandRefused(f"not base64: {error}") from error


def _check_ability(document: PolicyDocument) -> None:
    """PolicyError when this machine cannot meet the document."""
    try:
        offers(document.key_exchange)
    except UnsupportedAlgorithm as error:
        raise PolicyError(f"policy version {document.version}: {error}") from error


def _common(document: PolicyDocument) -> tuple[object, ...]:
    """The settings that all groups share: when they change, all groups begin again."""
    return document.issuer, document.issuers, document.local_key_server, document.dks, document.suite, document.spi


def protected(interface: InterfacePolicy) -> Iterator[ProtectedInterface]:
    """An interface of the document in the form of agents.ipsec, once for each protocol."""
    for protocol in interface.protocols:
        local = interface.local_for(protocol)
        yield ProtectedInterface(
            name=interface.name,
            protocol=protocol,
            mode=interface.mode_of(protocol),
            link=interface.link,
            local=local,
            subnet=interface.subnet if local.version == 4 and interface.subnet is not None else _LINK_LOCAL,
            neighbors=tuple(each.address_for(protocol) for each in interface.neighbors),
        )
