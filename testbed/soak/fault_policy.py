"""Faults of administration: new policy at bad times, and false objects handed in."""

from __future__ import annotations

import contextlib
from itertools import combinations

from agents.gikev2 import notifies
from agents.ikev2 import Request
from agents.ikev2.registry import ExchangeType
from agents.ipsec.protection import Mode
from agents.policy import edit
from agents.policy.document import Lifetimes, sign_document
from agents.policy.revocation import make_list, sign_list
from agents.runtime.control import CommandRefused
from testbed.faults.simulated import (
    FalseDocument,
    FalseList,
    HandDocuments,
    HandList,
    Issuer,
    LinkDeny,
    NewDocuments,
    SegmentMode,
)
from testbed.simulation.parties import POLICY_SERVER, key
from testbed.soak.faults import with_issuer
from testbed.soak.verdict import Violated
from testbed.soak.world import World


def new_documents(world: World, step: NewDocuments) -> None:
    """They differ in the deactivation delay."""
    world.keep_documents()
    changed = world.domain.settings.model_copy(update={"lifetimes": Lifetimes(group_s=60, dtd_s=step.dtd_s)})
    world.publish(edit.with_settings(world.domain, changed))


def hand_documents(world: World, step: HandDocuments) -> None:
    """A router refuses those that are the same as the ones before."""
    if world.nodes[step.router].core is not None:
        with contextlib.suppress(CommandRefused):
            world.hand_documents(step.router, sorted(world.signed))
        world.judge.checked["documents handed over"] += 1


def hand_list(world: World, step: HandList) -> None:
    """The newest, of routers that were removed."""
    if world.nodes[step.router].core is not None and world.signed_lists:
        world.hand_over(step.router, world.signed_lists[-1])


def deny(world: World, step: LinkDeny) -> None:
    """All that are allowed on it."""
    world.keep_documents()
    domain = world.domain
    for here, there in combinations(world.ends(step.segment), 2):
        if any(each.joins(here, there) for each in domain.adjacencies):
            domain = edit.deny(domain, here, there)
    if domain != world.domain:
        world.publish(domain)


def set_mode(world: World, step: SegmentMode) -> None:
    """At all ends at once."""
    world.keep_documents()
    domain = world.domain
    for router, name in world.ends(step.segment):
        domain = edit.set_mode(domain, router, name, step.mode, step.protocols)
    world.publish(domain)


def set_issuer(world: World, step: Issuer) -> None:
    """For all routers."""
    world.keep_documents()
    world.publish(edit.with_settings(world.domain, with_issuer(world.domain.settings, step.issuer)))


def false_list(world: World, step: FalseList) -> None:
    """Where no list was signed yet, a forged one."""
    who = step.router
    if world.nodes[who].core is None:
        return
    forged = make_list(world.domain.name, 1000, 0, world.domain.revoked_routers)
    wrong = sign_list(forged, key("dks"))
    if world.signed_lists and step.how == "altered":
        altered = bytearray(world.signed_lists[-1])
        altered[world.chance.randrange(len(altered))] ^= 1
        wrong = bytes(altered)
    elif world.signed_lists and step.how == "older":
        wrong = world.signed_lists[0]
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


def false_document(world: World, step: FalseDocument) -> None:
    """On the IKE SA that it has with it."""
    dks, who = world.dks(), step.router
    document, sa = world.documents.get(who), dks._control.get(who) if dks is not None else None
    if dks is None or document is None or sa is None or not sa.established:
        return
    opened = document.model_copy(
        update={
            "version": document.version + 50,
            "interfaces": tuple(each.model_copy(update={"mode": Mode.CLEAR}) for each in document.interfaces),
        }
    )
    other = "b" if who != "b" else "c"
    match step.how:
        case "of the DKS":
            wrong = sign_document(opened, key("dks"))
        case "altered":
            wrong = world.signed[who][:-1] + bytes([world.signed[who][-1] ^ 1])
        case "older":
            wrong = world.old_documents.get(who, world.signed[other])
        case "another router's":
            wrong = world.signed[other]
        case "its own":
            wrong = sign_document(document.model_copy(update={"version": document.version + 1}), key(who))
        case "for another router":
            wrong = sign_document(opened.model_copy(update={"router": other}), POLICY_SERVER)
    dks._endpoint.request(sa, ExchangeType.GSA_INBAND_REKEY, Request([notifies.policy_document(wrong)]), world.now)
    dks.tick(world.now)
    world.after(world.nodes["dks"])
