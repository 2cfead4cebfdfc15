"""Faults of administration: new policy at bad times, removals, and false objects handed in. Each takes a world, who
and how much."""

from __future__ import annotations

import base64
import contextlib

from agents.gikev2 import notifies
from agents.ikev2 import Request
from agents.ikev2.registry import ExchangeType
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import edit
from agents.policy.document import Lifetimes, sign_document
from agents.policy.revocation import make_list, sign_list
from agents.runtime.control import CommandRefused
from testbed.simulation.parties import POLICY_SERVER, key
from testbed.soak import fault_power
from testbed.soak.faults import ISSUERS, PHANTOMS, with_issuer
from testbed.soak.verdict import Violated
from testbed.soak.world import World


def policy(world: World, _who: str, size: float) -> None:
    """Every router has a new document."""
    world.keep_documents()
    changed = world.domain.settings.model_copy(update={"lifetimes": Lifetimes(group_s=60, dtd_s=5 + int(size) % 3)})
    world.publish(edit.with_settings(world.domain, changed))


def hand(world: World, who: str, size: float) -> None:
    """Every router has a new document while the DKS is out of reach, and one router is handed them all."""
    world.isolate_dks(20 + 2 * size)
    policy(world, who, size + 1)
    if world.nodes[who].core is not None:
        texts = [base64.b64encode(world.signed[name]).decode() for name in sorted(world.signed)]
        with contextlib.suppress(CommandRefused):  # the same as the one before
            world.command(who, "accept", *texts)
        world.judge.checked["documents handed over"] += 1


def worst(world: World, who: str, size: float) -> None:
    """Rekey, new documents and a power failure within some effects of each other."""
    policy(world, who, size)
    fault_power.rekey(world, who, 0)
    at = world.now + 2 * world.chance.random()  # when the DKS looks
    world.at(at, lambda: fault_power.rekey(world, who, 0))
    world.at(at, lambda: fault_power.crash(world, who, size))


def deny(world: World, _who: str, size: float) -> None:
    """a and b are neighbours no more, for some time."""
    world.keep_documents()
    ends = ("a", "a-e0"), ("b", "b-e0")
    if {"a", "b"} in world.adjacencies():
        world.publish(edit.deny(world.domain, *ends))
        world.at(world.now + 2 + size, lambda: world.publish(edit.allow(world.domain, *ends)))


def mode(world: World, who: str, size: float) -> None:
    """All of a segment go down by some steps, one at a time, and up again: all protocols, or one of them."""
    world.keep_documents()
    down = [Mode.PERMISSIVE, Mode.LISTEN, Mode.CLEAR][: 1 + int(size) % 3]
    which = ((), (RoutingProtocol.OSPF,), (RoutingProtocol.PIM,))[int(size) // 3 % 3]
    for number, step in enumerate([*down, *reversed(down[:-1]), Mode.REQUIRED]):
        world.at(world.now + number * (3 + size / 5), lambda step=step: _set_mode(world, who, step, which))  # type: ignore[misc]


def _set_mode(world: World, segment: str, wanted: Mode, which: tuple[RoutingProtocol, ...]) -> None:
    domain = world.domain
    for node in world.nodes.values():
        for name, (_address, there) in node.interfaces.items():
            if there == segment and node.name in domain.routers:
                domain = edit.set_mode(domain, node.name, name, wanted, which)
    world.publish(domain)


def issuer(world: World, _who: str, size: float) -> None:
    """Somebody else makes the keys."""
    world.keep_documents()
    world.publish(edit.with_settings(world.domain, with_issuer(world.domain.settings, ISSUERS[int(size) % 3])))


def remove(world: World, who: str, size: float) -> None:
    """A router is removed; half of them will not have it."""
    world.keep_documents()
    world.before_removal = world.domain
    if int(size) % 2:
        world.deafen(who)
    world.remove(who)
    world.removed_at = world.now


def remove_by_hand(world: World, who: str, size: float) -> None:
    """The DKS is out of reach, and one router is handed the list: the others have it from each other."""
    world.isolate_dks(60 + 3 * size)
    remove(world, who, size)
    first = ("a", "b", "c")[int(size) % 3]
    if world.nodes[first].core is not None:
        world.hand_over(first, world.signed_lists[-1])


def revoke(world: World, _who: str, _size: float) -> None:
    """The key of a router that is nowhere is revoked: a longer list."""
    there = [each for each in PHANTOMS if each in world.domain.routers]
    if there:
        world.remove(there[0])


def false_list(world: World, who: str, size: float) -> None:
    """A router is handed a list that is altered, signed by somebody else, or not newer."""
    if world.nodes[who].core is None:
        return
    forged = make_list(world.domain.name, 1000, 0, world.domain.revoked_routers)
    wrong = sign_list(forged, key("dks"))
    if world.signed_lists and int(size) % 3:
        altered = bytearray(world.signed_lists[-1])
        altered[world.chance.randrange(len(altered))] ^= 1
        wrong = bytes(altered) if int(size) % 3 == 1 else world.signed_lists[0]
    before = world.judge.files.list_version(world.nodes[who])
    if wrong in world.signed_lists and before < 1:
        return
    try:
        world.hand_over(who, wrong)
    except CommandRefused:
        world.judge.checked["no false list is taken"] += 1
    else:
        if wrong not in world.signed_lists or before > 1:
            raise Violated("no false list is taken", world.now, f"{who} took a false revocation list")


def false_document(world: World, who: str, size: float) -> None:
    """The DKS gives a router it is connected to a document that is not the Policy Server's newest for it."""
    dks, document = world.dks(), world.documents.get(who)
    sa = dks._control.get(who) if dks is not None else None
    if dks is None or document is None or sa is None or not sa.established:
        return
    opened = document.model_copy(
        update={
            "version": document.version + 50,
            "interfaces": tuple(each.model_copy(update={"mode": Mode.CLEAR}) for each in document.interfaces),
        }
    )
    altered = bytearray(world.signed[who])
    altered[-1] ^= 1
    other = "b" if who != "b" else "c"
    own = sign_document(document.model_copy(update={"version": document.version + 1}), key(who))
    wrong = (
        sign_document(opened, key("dks")),
        bytes(altered),
        world.old_documents.get(who, world.signed[other]),
        world.signed[other],
        own,
        sign_document(opened.model_copy(update={"router": other}), POLICY_SERVER),
    )[int(size) % 6]
    dks._endpoint.request(sa, ExchangeType.GSA_INBAND_REKEY, Request([notifies.policy_document(wrong)]), world.now)
    dks.tick(world.now)
    world.after(world.nodes["dks"])
