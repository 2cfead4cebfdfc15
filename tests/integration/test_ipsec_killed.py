"""A process killed between any two netlink messages: the one after it makes the kernel hold exactly what is wanted.

Each cut is a process of its own that ends by SIGKILL, and another process that does what a restarted agent does. What
leaks meanwhile is the affair of test_no_cleartext_attacks.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from agents.ipsec.model import Wanted
from agents.ipsec.plan import wanted_state
from agents.ipsec.protection import GroupSa, Mode, ProtectedInterface, RoutingProtocol, Suite
from agents.ipsec.reconciler import Reconciler
from agents.ipsec.xfrm import Request, Xfrm

pytestmark = pytest.mark.guest

NAMESPACE = "killed-test"
PLACE = f"/run/netns/{NAMESPACE}"
ALL = (RoutingProtocol.OSPF, RoutingProtocol.OSPF6, RoutingProtocol.PIM)
SENT = 4711


def interfaces(mode: Mode, neighbors: int) -> list[ProtectedInterface]:
    found = []
    for protocol in ALL:
        four = protocol is not RoutingProtocol.OSPF6
        subnet = ip_network("10.0.0.0/24") if four else ip_network("fe80::/10")
        others = tuple(ip_address(f"10.0.0.{n + 1}" if four else f"fe80::{n + 1}") for n in range(1, neighbors + 1))
        local = ip_address("10.0.0.1" if four else "fe80::1")
        found.append(ProtectedInterface("eth0", protocol, mode, "lan", local, subnet, others))
    return found


def keys(generation: int, neighbors: int, *, active: bool = True) -> list[GroupSa]:
    """Of our own groups and those of the neighbours, pair SAs included."""
    found = []
    for number, (place, protocol) in enumerate(enumerate(ALL)):
        own, *others = (
            interfaces(Mode.REQUIRED, neighbors)[place].local,
            *interfaces(Mode.REQUIRED, neighbors)[place].neighbors,
        )
        for speaker_number, speaker in enumerate((own, *others)):
            outbound = speaker == own
            to = list(protocol.multicast_destinations("lan"))
            if protocol.unicast_on("lan"):
                to += others if outbound else [own]
            for index, destination in enumerate(to):
                spi = 0x10000 + 0x1000 * generation + 0x100 * number + 0x10 * speaker_number + index
                found.append(
                    GroupSa(
                        spi=spi,
                        suite=Suite.default(),
                        keymat=spi.to_bytes(4, "big") * 12,
                        speaker=speaker,
                        destination=destination,
                        protocol=protocol,
                        interface="eth0",
                        outbound=outbound,
                        generation=generation,
                        active=active or not outbound,
                    )
                )
    return found


def required(neighbors: int, *sas: GroupSa) -> Wanted:
    return wanted_state(interfaces(Mode.REQUIRED, neighbors), sas)


CHANGES = {
    "start": (Wanted(), required(2, *keys(1, 2))),
    "rekey, heard": (required(2, *keys(1, 2)), required(2, *keys(1, 2), *keys(2, 2, active=False))),
    "rekey, sent with": (
        required(2, *keys(1, 2), *keys(2, 2, active=False)), required(2, *keys(2, 2), *keys(1, 2, active=False)),
    ),
    "rekey, old gone": (required(2, *keys(2, 2), *keys(1, 2, active=False)), required(2, *keys(2, 2))),
    "a neighbour comes": (required(1, *keys(1, 1)), required(2, *keys(2, 2))),
    "a neighbour goes": (required(2, *keys(1, 2)), required(1, *keys(2, 1))),
    "mode": (wanted_state(interfaces(Mode.PERMISSIVE, 2), keys(1, 2)), required(2, *keys(1, 2))),
    "stop": (required(2, *keys(1, 2)), Wanted()),
}  # fmt: skip


class OneByOne(Xfrm):
    """Every change is a message of its own, and the process kills itself before the one after `last`."""

    def __init__(self, last: int) -> None:
        super().__init__(PLACE)
        self._left = last

    def submit(self, requests: Iterable[Request]) -> None:
        for request in requests:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
            super().submit([request])


def process(job: Callable[[], object]) -> int:
    """The status of a process that did this: 0, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            job()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def apply(wanted: Wanted) -> None:
    with Xfrm(PLACE) as xfrm:
        Reconciler(xfrm).apply(wanted)


@pytest.fixture
def xfrm() -> Iterator[Xfrm]:
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "link", "add", "eth0", "type", "dummy"], check=True)
        with Xfrm(PLACE) as opened:
            yield opened
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


@pytest.mark.parametrize("change", CHANGES)
def test_a_process_killed_after_any_netlink_message_is_made_good_by_the_next(xfrm: Xfrm, change: str) -> None:
    before, after = CHANGES[change]
    cuts = 0
    while True:
        xfrm.flush_sas()
        xfrm.flush_policies()
        assert process(lambda: apply(before)) == 0
        status = process(lambda: Reconciler(OneByOne(cuts)).apply(after))  # noqa: B023
        assert status in (0, -signal.SIGKILL)
        assert process(lambda: apply(after)) == 0
        assert sorted(map(repr, xfrm.dump_policies())) == sorted(map(repr, after.policies))
        assert sorted(map(repr, xfrm.dump_sas())) == sorted(map(repr, after.associations))
        assert Reconciler(xfrm).apply(after) == []
        if status == 0:
            break
        cuts += 1
    # As many messages as there are differences: a policy that changes is replaced by one.
    differences = {policy.identity for policy in set(before.policies) ^ set(after.policies)}
    assert cuts == len(differences) + len(set(before.associations) ^ set(after.associations))


def test_a_restarted_process_keeps_the_count_of_an_sa_that_stays(xfrm: Xfrm) -> None:
    before, after = CHANGES["rekey, heard"]
    sending = next(sa for sa in before.associations if str(sa.source) == "10.0.0.1")
    for cut in range(3):
        xfrm.flush_sas()
        xfrm.flush_policies()
        apply(before)
        xfrm.delete_sa(sending)
        xfrm.add_sa(replace(sending, sequence=SENT))
        assert process(lambda: Reconciler(OneByOne(cut)).apply(after)) == -signal.SIGKILL  # noqa: B023
        assert process(lambda: apply(after)) == 0
        assert xfrm.sequence(sending.spi, sending.destination) == SENT
