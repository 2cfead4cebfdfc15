"""The domain on virtual time: every router's LKS core and the DKS's core, and a power failure that is over at 0.

Routers boot within a few seconds of each other, and so does the DKS, which reads its documents first. Datagrams
to the DKS wait in its socket and keep a worker for a declared time; all else costs nothing. Cores are the
daemons' own, with their cryptography. Two things can be left out in large domains, and the result says so:

- `apart`: the interfaces of these routers stay down, so that they speak with the DKS and no neighbour;
- `rest_s`: a router that has all it wants, and has had nothing but keep-alives for so long, is computed no more. Its
  keep-alives go on to reach the DKS, as work of the declared length.

Knows nothing of what is made of the figures.
"""

from __future__ import annotations

import random
from collections.abc import Collection

from agents.dks.core import DksCore
from agents.dks.documents import Documents
from agents.dks.store import GenerationBook
from agents.ikev2.model import Datagram, PeerAddress
from agents.ikev2.registry import ExchangeType
from agents.lks.core import LksCore
from agents.lks.dks_link import LIVENESS_S
from agents.lks.retained import COUNTERS, DOCUMENT
from agents.runtime.effects import Effect, Event, Kernel, KeyLines, Persist, Send
from agents.runtime.links import LinkState
from testbed.simulation.simulation import Node, Simulation
from testbed.storm.domain import DKS, DKS_ADDRESS, NAME, POLICY_SERVER, Place, key_of
from testbed.storm.service import Queue, Service
from testbed.storm.tally import Tally

_DKS = str(DKS_ADDRESS)
_EXCHANGE = 18
_INFORMATIONAL = int(ExchangeType.INFORMATIONAL)


class Storm(Simulation):
    """`rate`, `burst`: the DKS's pace; None: its own defaults."""

    def __init__(
        self,
        places: Collection[Place],
        seed: int,
        service: Service,
        *,
        apart: Collection[str] = (),
        rest_s: float | None = None,
        rate: float | None = None,
        burst: int | None = None,
        keep_times: bool = False,
        share: tuple[int, int] = (0, 1),
        documents: int | None = None,
    ) -> None:
        """`share`: this is which of how many processes of the DKS, with the routers that the kernel gives it;
        `documents`: how many the process reads, if there are more than these routers have."""
        super().__init__(seed)
        self._share, self._documents = share, len(places) if documents is None else documents
        self.places = {each.name: each for each in places}
        self.service, self.rest_s = service, rest_s
        self.apart = frozenset(apart)
        self.central = not next(iter(self.places.values())).document.local_key_server
        watched = {each.name: len(each.interfaces) for each in places if each.name not in self.apart}
        documents_watched = [each.document for each in places if each.name in watched]
        groups = sum(len(interface.protocols) for each in documents_watched for interface in each.interfaces)
        pairs = sum(len(each.pairs) for each in documents_watched)
        self.tally = Tally(watched, groups, pairs, keep_times=keep_times)
        self.queue = Queue(service.workers, service.buffer)
        self.resting = 0
        self._pace = {name: value for name, value in (("rate", rate), ("burst", burst)) if value is not None}
        self._owners: dict[str, tuple[Node, str]] = {}
        self._busy_at: dict[str, float] = {}
        self._sent_at: dict[str, float] = {}
        for place in self.places.values():
            node = self.add(Node(place.name, self._router, place.interfaces))
            node.files[DOCUMENT] = place.signed
            for interface, (address, _link) in place.interfaces.items():
                self._owners[address] = (node, interface)
            self._owners[place.loopback] = (node, "")
        self._dks = self.add(Node(DKS, self._server, {"eth0": (_DKS, DKS)}))
        self._book = GenerationBook(":memory:")

    # -- power -------------------------------------------------------------------------------------------------------

    def power_returns(self, spread_s: float, boots: dict[str, float] | None = None) -> None:
        """Everybody boots within `spread_s` seconds, at random; or when `boots` says (the DKS: when it answers)."""
        chance = random.Random(f"boots {len(self.places)} {self._random.getrandbits(64)}")
        for name in self.nodes:
            when = chance.uniform(0, spread_s) if boots is None else boots[name]
            if name == DKS and boots is None:
                when += self._documents * self.service.document_ms / 1000
            self.at(when, lambda name=name: self.power_on(name))  # type: ignore[misc]

    def close(self) -> None:
        """Forget the DKS's book."""
        self._book.close()

    def _router(self, node: Node) -> LksCore:
        return LksCore(
            node.files[DOCUMENT],
            self.places[node.name].key,
            POLICY_SERVER.public_key(),
            node.files.get(COUNTERS),
            domain=NAME,
            router=node.name,
            random=self.octets,
            sequence=node.sequence,
            wall=lambda: 1000.0 + self.now,
        )

    def _server(self, _node: Node) -> DksCore:
        documents = Documents(NAME, POLICY_SERVER.public_key())
        for place in self.places.values():
            documents.add(place.signed)
        return DksCore(
            key_of(DKS),
            documents,
            self._book,
            domain=NAME,
            name=DKS,
            random=self.octets,
            share=self._share,
            **self._pace,  # type: ignore[arg-type]
        )

    def _links(self, node: Node) -> dict[str, LinkState]:
        running = node.name not in self.apart
        return {
            name: LinkState(index, running, frozenset({address}))
            for index, (name, (address, _link)) in enumerate(node.interfaces.items(), 1)
        }

    # -- effects -----------------------------------------------------------------------------------------------------

    def _do(self, node: Node, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._send(node, effect)
        elif isinstance(effect, Event):
            if node is self._dks:
                first = len(self.tally.admitted)
                self.tally.dks(effect, self.now)
                if self.rest_s is not None and len(self.tally.admitted) > first:
                    router = self.nodes[effect.fields["peer"]]
                    self.at(self.now + self.rest_s, lambda: self._look_whether_to_rest(router))
            else:
                self.tally.router(node.name, effect, self.now)
        elif isinstance(effect, Kernel):
            node.kernel = effect
            if node.core is not None:
                node.core.enforced(effect, self.now)
        elif isinstance(effect, Persist):
            node.files[effect.name] = effect.data
        else:
            assert isinstance(effect, KeyLines)

    def _send(self, node: Node, effect: Send) -> None:
        peer = effect.peer
        if peer.ip == _DKS:
            if effect.retransmission:
                self.tally.repeats[int(self.now)] += 1
            if effect.data[_EXCHANGE] != _INFORMATIONAL:
                self._busy_at[node.name] = self.now
            self._sent_at[node.name] = self.now
            source = next(iter(node.interfaces.values()))[0]
            datagram = Datagram(effect.data, PeerAddress(source, 848, _DKS, "", 848), 60)
            self._after_delay(lambda: self._arrive(datagram))
        elif node is self._dks:
            self._carry(peer.ip, Datagram(effect.data, PeerAddress(_DKS, 848, peer.ip, "", 848), 60))
        elif not peer.interface:
            # A pair's, over several hops: as if routing were there at once.
            self._carry(peer.ip, Datagram(effect.data, PeerAddress(peer.local_ip, 848, peer.ip, "", 848), 60))
        else:
            source, link = node.interfaces[peer.interface]
            other, interface = self._owners[peer.ip]
            if other.interfaces[interface][1] == link and other.name not in self.apart:
                peer = PeerAddress(source, 848, peer.ip, interface, 848)
                self._carry(peer.local_ip, Datagram(effect.data, peer, 255))

    def _carry(self, address: str, datagram: Datagram) -> None:
        name = self._owners[address][0].name
        self._after_delay(lambda: self.deliver(name, datagram))

    def _after_delay(self, job: object) -> None:
        self.at(self.now + self.delay_s * (1 + self._random.random()), job)  # type: ignore[arg-type]

    # -- the DKS -----------------------------------------------------------------------------------------------------

    def _arrive(self, datagram: Datagram | None) -> None:
        if self._dks.core is None:
            return  # nobody listens on that port yet
        room = self.queue.offer(datagram)
        self.tally.arrived(self.now, len(self.queue.waiting), room)
        self._work()

    def _work(self) -> None:
        core = self._dks.core
        while self.queue.ready and core is not None:
            datagram = self.queue.waiting.popleft()
            if datagram is None:
                self.tally.keep_alive(self.now)
                took_s, late = self.service.informational_ms / 1000, []
            else:
                core.receive(datagram, self.now)
                effects = core.take()
                took_s = self.service.of(effects)
                late = [each for each in effects if isinstance(each, Send)]
                for effect in effects:
                    if not isinstance(effect, Send):
                        self._do(self._dks, effect)
            if not took_s:
                self._sent(late)
                continue
            self.queue.busy += 1
            self.at(self.now + took_s, lambda late=late: self._finish(late))  # type: ignore[misc]
        self._after(self._dks)

    def _finish(self, late: list[Send]) -> None:
        self.queue.busy -= 1
        self._sent(late)
        self._work()

    def _sent(self, sends: list[Send]) -> None:
        for each in sends:
            self._send(self._dks, each)

    # -- rest --------------------------------------------------------------------------------------------------------

    def _look_whether_to_rest(self, node: Node) -> None:
        """Whoever has all it wants of the DKS, no neighbours that count on it, and nothing but keep-alives to send."""
        assert self.rest_s is not None
        satisfied = node.name in self.apart or (self.central and node.name in self.tally.keyed)
        if satisfied and node.core is not None and self.now - self._busy_at[node.name] >= self.rest_s:
            node.core = None
            self.resting += 1
            self.at(self._sent_at[node.name] + LIVENESS_S, self._keep_alive)
        else:
            self.at(self.now + self.rest_s, lambda: self._look_whether_to_rest(node))

    def _keep_alive(self) -> None:
        self._after_delay(lambda: self._arrive(None))
        self.at(self.now + LIVENESS_S, self._keep_alive)


def without_neighbors(places: Collection[Place], full_rings: int) -> frozenset[str]:
    """The routers of all rings but the first so many."""
    return frozenset(each.name for each in places if each.ring >= full_rings)


def instant() -> Service:
    """A DKS that takes no time and loses nothing, as in the guest's virtual time."""
    return Service(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, document_ms=0.0, buffer=1 << 30)
