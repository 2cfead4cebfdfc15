"""What a core asks of the world comes in one stated order."""

from __future__ import annotations

from agents.ikev2 import PeerAddress
from agents.lks.lease import LEASE
from agents.lks.retained import COUNTERS
from agents.runtime.effects import ORDER, Effect, Event, Kernel, KeyLines, Persist, Send, in_order
from testbed.simulation.network import Network

PEER = PeerAddress("192.0.2.1", 848)


def test_effects_come_as_disk_kernel_wire_and_record_and_those_of_a_kind_as_they_were_noted() -> None:
    noted: list[Effect] = [
        Event("first"), Send(b"1", PEER), Persist("a", b""), Kernel((), ()), KeyLines(("k",)), Persist("b", b""),
        Send(b"2", PEER), Event("second"),
    ]  # fmt: skip
    found = in_order(noted)
    assert [type(each) for each in found] == [Persist, Persist, Kernel, Send, Send, Event, Event, KeyLines]
    assert [each.name for each in found if isinstance(each, Persist)] == ["a", "b"]
    assert [each.data for each in found if isinstance(each, Send)] == [b"1", b"2"]
    assert len(ORDER) == len({*ORDER}) == 5


def test_a_router_that_begins_has_its_lease_on_the_disk_before_its_counters() -> None:
    """Counters without a lease are those of a router whose lease was taken away."""
    network = Network({"a--b": ("a", "b")})
    core = network.make_lks(network.nodes["a"])
    names = [each.name for each in core.take() if isinstance(each, Persist)]
    assert names[0] == LEASE and COUNTERS in names
