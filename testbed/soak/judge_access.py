"""Judges who is heard: only whom the files allow, in the modes that they say, nothing in clear where that is forbidden,
and a revocation list goes from neighbour to neighbour. Knows nothing of keys.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from agents.ipsec.model import Wanted
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.lks.retained import COUNTERS, DOCUMENT
from agents.policy.revocation import FILE as REVOCATION
from agents.runtime.effects import Event, Kernel
from testbed.simulation.network import Network
from testbed.simulation.simulation import Node
from testbed.soak.judge_files import Files
from testbed.soak.spd import heard_in_clear, sent_in_clear
from testbed.soak.verdict import Verdict

SPREAD_S = 60.0
"""Neighbours that nothing has been between for so long have one revocation list: an IKE SA that died unnoticed is
found dead within some 30 s."""
STRANGER, ELSEWHERE = 250, IPv4Address("10.99.99.99")


class Access:
    """Who is heard in one domain."""

    def __init__(self, network: Network, verdict: Verdict, files: Files, liars: set[str]) -> None:
        self._network, self._hold, self._files, self._liars = network, verdict.hold, files, liars
        self._clear: dict[str, object] = {}
        self._looked: dict[str, tuple[object, ...]] = {}
        self._calm: dict[tuple[str, str], tuple[object, float]] = {}

    def enforced(self, node: Node, kernel: Kernel) -> None:
        """After a router's kernel was changed."""
        policy = self._files.policy(node)
        self._speakers(node, kernel)
        for each in kernel.interfaces:
            right = each.mode.value == policy.modes.get((each.name, each.protocol.value))
            self._hold("mode as signed", right, f"{node.name} {each.name} {each.protocol.value}: {each.mode}")
        strict = {key for key, mode in policy.modes.items() if mode == Mode.REQUIRED.value}
        there = {(each.name, each.protocol.value) for each in kernel.interfaces}
        self._hold("mode as signed", strict <= there, (node.name, strict))
        # Policies follow from interfaces and from what is sent with, and nothing else.
        active = [sa for sa in kernel.sas if sa.outbound and sa.active]
        sending = {(sa.interface, sa.protocol, sa.destination, sa.spi) for sa in active}
        state = (kernel.interfaces, sending, strict)
        if self._clear.get(node.name) != state:
            wanted = kernel.wanted()
            for name, protocol in strict:
                self._nothing_in_clear(node, wanted, name, RoutingProtocol(protocol))
            self._clear[node.name] = state
        self._on_the_disk(node, kernel)

    def event(self, node: Node, event: Event) -> None:
        """Somebody was given keys, by a neighbour (`member`) or by the DKS (`registered`)."""
        group = str(event.fields.get("group"))
        if node.name == "dks" and event.kind == "registered" and not group.endswith("/-/policy"):
            _domain, speaker, interface, _protocol = group.split("/")
            peer, network = str(event.fields["peer"]), self._network
            # The DKS looks every two seconds, so that the documents before the newest count as well for a moment.
            documents = [each for each in network.recent(3.0) if each.router == speaker]
            may = {
                near.router
                for each in documents
                for known in each.interfaces
                if known.name == interface
                for near in known.neighbors
            }
            self._hold("keys for members only", peer == speaker or peer in may, f"the DKS gives {peer} keys of {group}")
        elif node.name != "dks" and event.kind == "member":
            interface, peer = group.split("/")[2], str(event.fields["peer"])
            may = {each.group.split("/")[1] for each in self._files.policy(node).heard if each.interface == interface}
            self._hold("keys for members only", peer in may, f"{node.name} gives {peer} keys of {group}")

    def _speakers(self, node: Node, kernel: Kernel) -> None:
        allowed = {(each.interface, each.speaker) for each in self._files.policy(node).heard}
        for sa in kernel.sas:
            heard = sa.outbound or (sa.interface, sa.speaker) in allowed
            self._hold("no unauthorised speaker", heard, f"{node.name} hears {sa.speaker} on {sa.interface}")

    def _nothing_in_clear(self, node: Node, wanted: Wanted, name: str, protocol: RoutingProtocol) -> None:
        """Neighbours, a stranger on the link and one from elsewhere say something there, and our daemons do."""
        own = IPv4Address(node.interfaces[name][0])
        others = (IPv4Address(address) for address, _segment in node.interfaces.values())
        sources = {IPv4Address(int(own) - int(own) % 256 + each) for each in (1, 2, 3, STRANGER)} | {ELSEWHERE, *others}
        groups = [each for each in protocol.reserved_groups if isinstance(each, IPv4Address)]
        for to in [*groups, own] if protocol.ip_protocol == 89 else groups:
            for source in sources:
                heard = heard_in_clear(wanted, name, protocol.ip_protocol, source, to)
                self._hold("no cleartext", not heard, f"{node.name} hears {source} to {to} in clear on {name}")
        for to in groups:
            self._hold("no cleartext", not sent_in_clear(wanted, name, to), f"{node.name} sends to {to} on {name}")

    def _on_the_disk(self, node: Node, kernel: Kernel) -> None:
        """What is heard has its floor on the disk, before anything follows from it."""
        policy, counters = self._files.policy(node), self._files.counters(node.name)
        if not policy.local_key_server:
            return
        groups = {(each.interface, each.speaker, each.protocol): each.group for each in policy.heard}
        for sa in kernel.sas:
            if not sa.outbound and sa.destination.is_multicast:
                group = groups[sa.interface, sa.speaker, sa.protocol.value]
                floor = (0, 0) if counters is None else counters.floors.get(group, (0, 0))
                right = floor[1] >= sa.generation or floor[0] > 1
                self._hold("floor on the disk", right, (node.name, group, sa.generation, floor))

    def second(self) -> None:
        """Each second: what is in kernels is still what the files allow; lists have spread."""
        for node in self._network.nodes.values():
            if node.kernel is not None and COUNTERS in node.files:
                state = (node.kernel, node.files.get(DOCUMENT), node.files.get(REVOCATION))
                known = self._looked.get(node.name)
                if known is None or any(one is not other for one, other in zip(known, state, strict=True)):
                    self._speakers(node, node.kernel)
                    self._looked[node.name] = state
        for pair in self._network.adjacencies():
            a, b = sorted(pair)
            nodes = [self._network.nodes[name] for name in (a, b)]
            talk = all(each.core is not None and self._files.policy(each).local_key_server for each in nodes)
            if pair & self._liars or not talk:
                self._calm.pop((a, b), None)
                continue
            self._lists_agree(self._network.nodes[a], self._network.nodes[b])

    def _lists_agree(self, a: Node, b: Node) -> None:
        network, pair = self._network, (a.name, b.name)
        shared = {there for _a, there in a.interfaces.values()} & {there for _b, there in b.interfaces.values()}
        wires = network.wires
        cut = bool(shared & wires.cut) or wires.parted(a.name, b.name)
        disturbed = cut or bool(wires.loss) or not network.hears(a.name, b.name)
        state = (a.boots, b.boots)
        since = self._calm.get(pair)
        if disturbed or not network.hears(b.name, a.name):
            self._calm.pop(pair, None)
        elif since is None or since[0] != state:
            self._calm[pair] = state, network.now
        elif network.now - since[1] >= SPREAD_S:
            lists = self._files.list_version(a), self._files.list_version(b)
            # What came a moment ago may still be on its way.
            settled = all(network.now - network.listed.get(each.name, 0.0) > 5 for each in (a, b))
            self._hold("neighbours have one list", not settled or lists[0] == lists[1], (*pair, lists))
            for one, other in ((a, b), (b, a)):
                has, own = self._files.carried(one).get(other.name), self._files.policy(other).version
                right = has == own or not settled or not self._wrote_before(5, a.name, b.name)
                what = (one.name, "has", has, "of", other.name, own)
                self._hold("neighbours have each other's documents", right, what)

    def _wrote_before(self, seconds: float, *names: str) -> bool:
        """Whether none of these has written a document since."""
        return all(self._network.now - self._files.written.get(each, 0.0) > seconds for each in names)
