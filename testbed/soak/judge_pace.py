"""Judges whether routers that the DKS asked to stay away for some time do. Seen from the DKS. Times in seconds."""

from __future__ import annotations

from agents.runtime.effects import Event
from testbed.simulation.network import Network
from testbed.simulation.simulation import Node
from testbed.soak.verdict import Verdict

SLACK_S = 1.0


class Pace:
    """Who was asked to wait, until when. A router that did not hear it, or has failed since, need not; nor a liar."""

    def __init__(self, network: Network, verdict: Verdict, liars: set[str]) -> None:
        self._network, self._hold, self._liars = network, verdict.hold, liars
        self._until: dict[tuple[str, str], tuple[float, tuple[int, int]]] = {}

    def event(self, node: Node, event: Event) -> None:
        """Something that a party put on record."""
        if node.name != "dks" or event.kind not in ("paced", "registered", "issued"):
            return
        peer, group = str(event.fields["peer"]), str(event.fields["group"])
        boots = (node.boots, self._network.nodes[peer].boots)
        until, when = self._until.pop((peer, group), (0.0, boots))
        early = self._network.now < until - SLACK_S and when == boots
        self._hold("routers obey a wait hint", not early, (peer, group, self._network.now, until))
        if (
            event.kind == "paced"
            and peer not in self._liars
            and not self._network.wires.loss
            and not self._network.wires.parted(peer, node.name)
        ):
            self._until[peer, group] = self._network.now + float(event.fields["wait_s"]), boots
