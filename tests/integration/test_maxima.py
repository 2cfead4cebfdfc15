"""Limits fit each other down to the kernel: the most that a domain may have goes by document, messages and fragments
into this machine's kernel, and is there.

Whole cores in the simulation, whose datagrams are those of the wire; what they want of the kernel is asked of the real
one, by what a daemon asks it with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from agents.ipsec.guard import NftGuard
from agents.ipsec.model import SaDirection
from agents.ipsec.protection import RoutingProtocol
from agents.ipsec.reconciler import Reconciler
from agents.ipsec.xfrm import Xfrm
from agents.lks.retained import DOCUMENT
from agents.policy import edit
from agents.policy.carriage import check_carried
from agents.policy.document import MAX_INTERFACES, MAX_NEIGHBORS, PolicyDocument, Reconnect, sign_document
from agents.policy.domain import Settings
from agents.policy.errors import PolicyError
from agents.policy.keys import spki
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import Revoked, key_hash, make_list, sign_list
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER, key
from tests.integration.ipsec_lab import inside, run

pytestmark = pytest.mark.guest

SPACE, HUB = "maxima", "hub"
QUICK = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=1, first_max_s=2, max_s=2))


class Space:
    """A network namespace with the interfaces of one router of a simulation, and what keeps its kernel."""

    def __init__(self, folder: Path, interfaces: Sequence[str]) -> None:
        batch = folder / "links"
        batch.write_text("".join(f"link add {each} type dummy\nlink set {each} up\n" for each in interfaces))
        run("ip", "-n", SPACE, "-batch", str(batch))
        self._xfrm = Xfrm(f"/run/netns/{SPACE}")
        self._reconciler = Reconciler(self._xfrm)

    def put(self, network: Network, name: str) -> Counter[SaDirection | None]:
        """Have the kernel hold what this router wants now; how many SAs it has, by direction."""
        kernel = network.nodes[name].kernel
        assert kernel is not None
        wanted = kernel.wanted()
        assert self._reconciler.apply(wanted)
        assert self._reconciler.apply(wanted) == [], "all of it is there, and as it was asked for"
        assert {each.identity for each in self._xfrm.dump_policies()} == {each.identity for each in wanted.policies}
        inside(SPACE, lambda: NftGuard().apply(wanted.guards))
        assert not inside(SPACE, lambda: NftGuard().apply(wanted.guards)), "the table is as it was asked for"
        there = list(self._xfrm.dump_sas())
        assert {each.identity for each in there} == {each.identity for each in wanted.associations}
        return Counter(each.direction for each in there)


@pytest.fixture
def space(tmp_path: Path) -> Iterator[type[Space]]:
    run("ip", "netns", "add", SPACE)
    yield Space
    run("ip", "netns", "del", SPACE)


def longest_list() -> tuple[int, bytes]:
    """A signed list with as many entries as there is room for, and how many these are."""
    entries = [Revoked(name=f"gone-{number:05}", key=key_hash(b"%d" % number)) for number in range(2000)]
    least, most = 0, len(entries)
    while most - least > 1:
        count = (least + most) // 2
        try:
            sign_list(make_list("example", count, 0, entries[:count]), POLICY_SERVER)
        except PolicyError:
            most = count
        else:
            least = count
    return least, sign_list(make_list("example", least, 0, entries[:least]), POLICY_SERVER)


def test_a_router_of_256_interfaces_with_all_protocols_has_them_protected_and_the_longest_list(
    tmp_path: Path, space: type[Space]
) -> None:
    network = Network(
        {f"l{number}": (HUB, f"r{number:03}") for number in range(MAX_INTERFACES)},
        settings=QUICK, dks=True, protocols=list(RoutingProtocol), room=MAX_INTERFACES,
    )  # fmt: skip
    version, network.revocation = longest_list()
    small = network.documents[HUB].model_copy(update={"interfaces": network.documents[HUB].interfaces[:1]})
    network.nodes[HUB].files[DOCUMENT] = sign_document(small, POLICY_SERVER)
    network.documents[HUB] = network.documents[HUB].model_copy(update={"version": 2})
    network.signed[HUB] = sign_document(network.documents[HUB], POLICY_SERVER)
    neighbors, groups = ("r000", "r255"), MAX_INTERFACES * len(RoutingProtocol)
    for name in ("dks", HUB, *neighbors):
        network.power_on(name)
    assert network.run(30, lambda: len(network.lks(HUB).link) == MAX_INTERFACES), "the DKS has brought the document"
    assert network.run(90, lambda: all(network.hears(HUB, each) and network.hears(each, HUB) for each in neighbors))
    assert network.run(120, lambda: bool(network.seen("confirmed", "dks", peer=HUB)))
    assert network.nodes[HUB].files[REVOCATION] == network.revocation
    assert network.lks(HUB).command(["status"], network.now)["revocation_version"] == version
    assert not network.seen("error", HUB)
    place = space(tmp_path, list(network.nodes[HUB].interfaces))
    there = place.put(network, HUB)
    assert there[SaDirection.OUT] >= groups and there[SaDirection.IN] >= len(neighbors) * len(RoutingProtocol)
    network.command(HUB, "rekey", "hub-e0", "hub-e255")
    network.run(network.now + 1)
    place.put(network, HUB)


def test_a_lan_of_31_has_every_pair_s_key_in_each_kernel(tmp_path: Path, space: type[Space]) -> None:
    names = tuple(f"r{number:02}" for number in range(MAX_NEIGHBORS + 1))
    network = Network({"lan": names}, settings=QUICK, protocols=[RoutingProtocol.OSPF], room=MAX_INTERFACES)
    for name in names:
        network.power_on(name)
    assert network.run(30, lambda: all(network.hears(each, "r00") and network.hears("r00", each) for each in names[1:]))
    there = space(tmp_path, list(network.nodes["r00"].interfaces)).put(network, "r00")
    # To 224.0.0.5 and 6 and each neighbour; from each neighbour to these two and us.
    assert there[SaDirection.OUT] >= 2 + MAX_NEIGHBORS and there[SaDirection.IN] >= 3 * MAX_NEIGHBORS


def most_pairs(document: PolicyDocument) -> PolicyDocument:
    """The document with as many pairs as it can be carried with. Names and addresses are as long as they may be."""
    (pair,) = document.pairs

    def with_pairs(count: int) -> PolicyDocument:
        pairs = tuple(
            pair.model_copy(
                update={
                    "router": f"first-hop-{number:05}",
                    "key": spki(key(f"pair {number}")),
                    "index": 1000 + number,
                    "remote": (IPv4Address(f"10.{100 + (number >> 8)}.{number & 255}.1"),),
                }
            )
            for number in range(count)
        )
        return document.model_copy(update={"pairs": (pair, *pairs[1:]), "version": 2})

    least, most = 1, 5000
    while most - least > 1:
        count = (least + most) // 2
        found = with_pairs(count)
        try:
            check_carried(found, sign_document(found, POLICY_SERVER))
        except PolicyError:
            most = count
        else:
            least = count
    return with_pairs(least)


def test_a_rendezvous_point_has_as_many_pairs_as_its_document_carries(tmp_path: Path, space: type[Space]) -> None:
    point, source = "10.99.0.3", "10.99.0.1"
    network = Network({"one": ("a", "c")}, settings=QUICK, dks=True)
    network.domain = edit.set_point(network.domain, "c", IPv4Address(point))
    network.domain = edit.set_sources(network.domain, "a", [IPv4Address(source)])
    network.compile()
    network.wires.routed = {point: "c", source: "a"}
    for name in network.routers:
        network.nodes[name].files[DOCUMENT] = network.signed[name]
    network.documents["c"] = most_pairs(network.documents["c"]).model_copy(update={"version": network.version + 1})
    network.signed["c"] = sign_document(network.documents["c"], POLICY_SERVER)
    count = len(network.documents["c"].pairs)
    assert count > 500
    network.power_on_all()
    assert network.run(60, lambda: network.lks("c").document == network.documents["c"]), "the DKS has brought it"
    assert network.run(120, lambda: network.lks("c").command(["status"], network.now)["pairs"][0]["keyed"])
    kernel = network.nodes["c"].kernel
    assert kernel is not None and len(kernel.unicast.peers) == count
    # One first hop is there. The others' keys are as its own, under their addresses and other SPIs.
    model = [each for each in kernel.unicast.sas if each.active or not each.outbound]
    sas = tuple(
        replace(
            each,
            spi=0x20000 + number,
            index=peer.index,
            **{"destination" if each.outbound else "source": peer.remote[0]},
        )
        for number, peer in enumerate(kernel.unicast.peers)
        for each in model
    )
    network.nodes["c"].kernel = replace(kernel, unicast=replace(kernel.unicast, sas=sas))
    there = space(tmp_path, list(network.nodes["c"].interfaces)).put(network, "c")
    assert there[SaDirection.OUT] >= count and there[SaDirection.IN] >= count
