"""Faults of power and of disks: what a party finds when it starts again. Each takes a world, who and how much."""

from __future__ import annotations

import contextlib

from agents.lks.retained import COUNTERS, DOCUMENT
from agents.policy.errors import PolicyError
from agents.policy.revocation import FILE as REVOCATION
from agents.runtime.control import CommandRefused
from agents.runtime.storage import CorruptRecord
from testbed.soak.verdict import Violated
from testbed.soak.world import World

REFUSES = "refuses to start with older or torn files"


def crash(world: World, who: str, size: float) -> None:
    """The power goes at the effect of number `size` from now."""
    node = world.nodes[who]
    if node.core is not None:
        node.crash_at = node.effects + int(size)
        world.command(who, "status")
        for seconds in range(1, 15):
            world.later(who, 3.0 * seconds)


def lost_write(world: World, who: str, _size: float) -> None:
    """The power goes after a write and before fsync."""
    world.lose_write(who)
    if world.nodes[who].core is not None:
        rekey(world, who, 0)


def outage(world: World, _who: str, size: float) -> None:
    """The power goes everywhere, and comes back bit by bit."""
    for name in world.nodes:
        world.power_off(name)
        world.later(name, 1 + world.chance.uniform(0, size / 5))


def torn(world: World, who: str, size: float) -> None:
    """The counters are cut off, empty, half old and half new, or have bits turned over."""
    files = world.nodes[who].files
    if COUNTERS not in files:
        return  # its folder was lost, and it has not started since
    whole, kind = files[COUNTERS], int(size) % 3
    wrong = bytearray(whole)
    if kind == 0:
        del wrong[int(len(whole) * size / 26) :]
    elif kind == 1:
        copies = (each.get(COUNTERS, whole) for each in world.folders.get(who, ()))
        older = next((each for each in copies if each != whole), b"")
        wrong = bytearray(whole[:36] + older[36:])  # the checksum of the new one over the old one
    else:
        wrong[world.chance.randrange(36, len(wrong))] ^= 1 << world.chance.randrange(8)
    refuses(world, who, COUNTERS, bytes(wrong))


def old_files(world: World, who: str, _size: float) -> None:
    """Document or list are those of before, or the list is gone."""
    files, old = world.nodes[who].files, world.old_documents.get(who)
    if REVOCATION in files and world.chance.random() < 0.5:
        lists = [each for each in world.signed_lists if each != files[REVOCATION]]
        newest = world.signed_lists.index(files[REVOCATION])
        refuses(world, who, REVOCATION, lists[0] if newest and world.chance.random() < 0.5 else None)
    elif old is not None and old != files[DOCUMENT]:
        refuses(world, who, DOCUMENT, old)


def folder(world: World, who: str, size: float) -> None:
    """All of a router's files are those of before, or it is commissioned anew with its newest document."""
    copies = world.folders.get(who, [])
    world.power_off(who)
    world.judge.restored(who)
    older = copies and size > 8
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


def dks_crash(world: World, _who: str, size: float) -> None:
    """The DKS is away for `size` seconds."""
    world.power_off("dks")
    world.later("dks", size)


def old_ledger(world: World, _who: str, size: float) -> None:
    """The DKS starts with a ledger of before, in part."""
    world.power_off("dks")
    for name, (_version, generation) in world.ledger.entries().items():
        if world.chance.random() < 0.5:
            older = (max(1, generation - 2), name)
            world.ledger._connection.execute("UPDATE marks SET generation = ? WHERE name = ?", older)
    world.later("dks", size / 5)


def rekey(world: World, who: str, _size: float) -> None:
    """An administrator orders new keys."""
    if world.nodes[who].core is not None:
        with contextlib.suppress(CommandRefused):  # where the DKS makes its keys
            world.command(who, "rekey")
