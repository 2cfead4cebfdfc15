"""Faults of power and of disks: what a party finds when it starts again."""

from __future__ import annotations

import contextlib

from agents.lks.retained import COUNTERS, DOCUMENT
from agents.policy.errors import PolicyError
from agents.policy.names import DKS_NAME
from agents.policy.revocation import FILE as REVOCATION
from agents.runtime.control import CommandRefused
from agents.runtime.storage import CorruptRecord
from testbed.faults.simulated import CrashAtEffect, LoseWrite, OldFile, OldFolder, TornCounters
from testbed.soak.verdict import Violated
from testbed.soak.world import World

REFUSES = "refuses to start with older or damaged files"


def crash(world: World, step: CrashAtEffect) -> None:
    """It is asked something, so that there are effects."""
    node = world.nodes[step.router]
    if node.core is not None:
        node.crash_at = node.effects + step.effect
        world.command(step.router, "status")
        for seconds in range(1, 15):
            world.later(step.router, 3.0 * seconds)


def lose_write(world: World, step: LoseWrite) -> None:
    """The next one, which a rekey makes."""
    world.lose_write(step.router)
    rekey(world, step.router)


def torn(world: World, step: TornCounters) -> None:
    """A router whose folder was lost, and that has not started since, has none."""
    files = world.nodes[step.router].files
    if COUNTERS not in files:
        return
    whole = files[COUNTERS]
    wrong = bytearray(whole)
    if step.how == "cut":
        del wrong[int(len(whole) * step.part) :]
    elif step.how == "mixed":
        copies = (each.get(COUNTERS, whole) for each in world.folders.get(step.router, ()))
        older = next((each for each in copies if each != whole), b"")
        wrong = bytearray(whole[:36] + older[36:])  # the checksum of the new one over the old one
    else:
        wrong[world.chance.randrange(36, len(wrong))] ^= 1 << world.chance.randrange(8)
    refuses(world, step.router, COUNTERS, bytes(wrong))


def old_file(world: World, step: OldFile) -> None:
    """A list, where there is one, or a document."""
    files, old = world.nodes[step.router].files, world.old_documents.get(step.router)
    if REVOCATION in files and world.chance.random() < 0.5:
        lists = [each for each in world.signed_lists if each != files[REVOCATION]]
        newest = world.signed_lists.index(files[REVOCATION])
        wrong = lists[0] if newest and world.chance.random() < 0.5 else None
        refuses(world, step.router, REVOCATION, wrong)
    elif old is not None and old != files[DOCUMENT]:
        refuses(world, step.router, DOCUMENT, old)


def old_folder(world: World, step: OldFolder) -> None:
    """One of the copies, if there are any."""
    who, copies = step.router, world.folders.get(step.router, [])
    world.power_off(who)
    world.judge.restored(who)
    older = copies and step.older
    world.nodes[who].files = dict(world.chance.choice(copies)) if older else {DOCUMENT: world.signed[who]}
    world.later(who, 2.0)


def refuses(world: World, who: str, name: str, wrong: bytes | None) -> None:
    """A router with this in place of a file must not start; then the administrator puts the right one back."""
    files = world.nodes[who].files
    right = files[name]
    world.power_off(who)
    if wrong is None:
        del files[name]
    else:
        files[name] = wrong
    world.judge.checked[REFUSES] += 1
    try:
        world.power_on(who)
    except (CorruptRecord, PolicyError):
        world.nodes[who].core = None
    else:
        raise Violated(REFUSES, world.now, f"{who} started with another {name}")
    files[name] = right
    world.later(who, 2.0)


def old_ledger(world: World) -> None:
    """Half of its marks are two generations lower."""
    world.power_off(DKS_NAME)
    for name, (_version, generation) in world.ledger.entries().items():
        if world.chance.random() < 0.5:
            older = (max(1, generation - 2), name)
            world.ledger._connection.execute("UPDATE marks SET generation = ? WHERE name = ?", older)
            world.ledger._connection.execute("DELETE FROM set_aside WHERE name = ?", (name,))


def rekey(world: World, who: str) -> None:
    """Refused where the DKS makes its keys."""
    if world.nodes[who].core is not None:
        with contextlib.suppress(CommandRefused):
            world.command(who, "rekey")
